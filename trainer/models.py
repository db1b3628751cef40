"""A model's name and the words of its prompts in, a causal LM with its tokenizer and answer format out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from recpolicy.slate import item_token
from recpolicy.trainer.answer import AnswerFormat
from recpolicy.trainer.config import Tiny

PAD, END, UNKNOWN = "<pad>", "<end>", "<unk>"
FORM = ("<think>", "</think>", "<answer>", "</answer>")


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
    words = sorted({word for text in texts for word in text.split()} - set(FORM))
    words = [w for w in words if not w.startswith("<item_")]
    vocabulary = [PAD, END, UNKNOWN, *FORM, *words, *map(item_token, range(items))]
    core = Tokenizer(WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token=UNKNOWN))
    core.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, padding_side="left"
    )


def answer_format(tokenizer: PreTrainedTokenizerFast, items: int, slate: int, max_think: int) -> AnswerFormat:
    """The form of completions in the tokens of `tokenizer`, whose last `items` tokens are the items."""
    base = len(tokenizer) - items
    form = tokenizer.convert_tokens_to_ids(list(FORM))
    others = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, *form}
    return AnswerFormat(
        *form,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        word_ids=tuple(i for i in range(base) if i not in others),
        item_base=base,
        items=items,
        slate=slate,
        max_think=max_think,
    )


def tiny(settings: Tiny, tokenizer: PreTrainedTokenizerFast, longest: int, seed: int) -> PreTrainedModel:
    """A small Llama-type decoder with fresh weights; `longest` is the most tokens of prompt and completion."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=4 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=longest,
        attention_dropout=settings.dropout,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def load(folder: Path, slate: int, max_think: int, items: int) -> Recommender:
    """A recommender that was saved by `Recommender.save`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return Recommender(model, tokenizer, answer_format(tokenizer, items, slate, max_think))
