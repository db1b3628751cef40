"""A model's name and the words of its prompts in, a causal LM with its tokenizer and answer format out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch.nn.functional import dropout
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP

from recpolicy.baselines import taken
from recpolicy.dataset import Dataset, Split
from recpolicy.slate import item_token
from recpolicy.trainer.answer import AnswerFormat
from recpolicy.trainer.config import Tiny
from recpolicy.trainer.prompts import TAGS, Speech

PAD, END, UNKNOWN = "<pad>", "<end>", "<unk>"
TINY = Speech(reserved=(PAD, END, UNKNOWN))


@dataclass(frozen=True)
class Recommender:
    """A language model that recommends: weights, tokenizer, and the form of its completions."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    form: AnswerFormat

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text."""
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), config and tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def word_tokenizer(texts: Iterable[str], items: int) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the words of `texts`, with one token per item at the end of the vocabulary.

    Items and the form's tags are ordinary tokens: TRL strips special ones when it decodes.
    """
    words = sorted({word for text in texts for word in text.split()} - set(TAGS))
    words = [w for w in words if not w.startswith("<item_")]
    vocabulary = [PAD, END, UNKNOWN, *TAGS, *words, *map(item_token, range(items))]
    core = Tokenizer(WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token=UNKNOWN))
    core.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, padding_side="left"
    )


def answer_format(tokenizer: PreTrainedTokenizerFast, items: int, slate: int, max_think: int) -> AnswerFormat:
    """The form of completions in the tokens of `tokenizer`, whose last `items` tokens are the items."""
    base = len(tokenizer) - items
    think_open, think_close, answer_open, answer_close = form = [tokenizer.vocab[tag] for tag in TAGS]
    pad, end, unknown = (tokenizer.vocab[token] for token in (PAD, END, UNKNOWN))
    others = {pad, end, unknown, *form}
    return AnswerFormat(
        think_open=think_open,
        think_close=think_close,
        answer_open=answer_open,
        answer_close=answer_close,
        end=end,
        pad=pad,
        word_ids=tuple(i for i in range(base) if i not in others),
        item_base=base,
        items=items,
        slate=slate,
        max_think=max_think,
    )


def tiny(settings: Tiny, tokenizer: PreTrainedTokenizerFast, longest: int, seed: int) -> PreTrainedModel:
    """A small Llama-type decoder with fresh weights; `longest` is the most tokens of prompt and completion.

    `settings.dropout` acts on the embeddings and on what every block adds, while the object that is returned trains;
    a saved and loaded model has none.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=longest,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    if settings.dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding | LlamaMLP):
                module.register_forward_hook(lambda m, _, out: dropout(out, settings.dropout, m.training))
            elif isinstance(module, LlamaAttention):  # returns its output and its weights
                module.register_forward_hook(
                    lambda m, _, out: (dropout(out[0], settings.dropout, m.training), *out[1:])
                )
    return model


def start_from_tastes(model: PreTrainedModel, form: AnswerFormat, dataset: Dataset, split: Split) -> None:
    """Set the item embeddings to the leading directions of which items the training users took together.

    These are the item factors of PureSVD (Cremonesi et al., RecSys 2010) with users scaled to unit length, turned by a
    random rotation and scaled like the other embeddings. Training goes on from there instead of from noise.
    """
    embeddings = model.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    width = embeddings.embedding_dim
    matrix = taken(dataset, split)
    matrix /= np.sqrt(np.maximum(matrix.sum(1, keepdims=True), 1.0))
    matrix /= np.maximum(matrix.sum(0), 1.0) ** 0.25  # the best-known items would take every direction
    _, strength, directions = torch.svd_lowrank(torch.from_numpy(matrix), q=width, niter=4)
    rotation, _ = torch.linalg.qr(torch.randn(width, width))
    factors = directions * strength @ rotation
    scale = model.config.initializer_range
    with torch.no_grad():
        rest = torch.randn_like(factors) * scale / 10  # items nobody took are not all alike
        embeddings.weight[form.item_base : form.item_base + form.items] = factors / factors.std() * scale + rest


def load(folder: Path, slate: int, max_think: int, items: int) -> Recommender:
    """A recommender that was saved by `Recommender.save`."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return Recommender(model, tokenizer, answer_format(tokenizer, items, slate, max_think))
