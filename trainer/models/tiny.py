"""Words of prompts and settings in, a small decoder with fresh weights and its word-level tokenizer out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from torch.nn.functional import dropout
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP

from recpolicy.dataset.slates import item_token
from recpolicy.trainer.config import Tiny
from recpolicy.trainer.decoding.answer_format import AnswerFormat
from recpolicy.trainer.prompting.prompts import TAGS, Speech

PAD, END, UNKNOWN = "<pad>", "<end>", "<unk>"
SPEECH = Speech(reserved=(PAD, END, UNKNOWN))


def tokenizer(texts: Iterable[str], items: int) -> PreTrainedTokenizerFast:
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


def decoder(settings: Tiny, tokenizer: PreTrainedTokenizerFast, longest: int, seed: int) -> PreTrainedModel:
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


def start_items(model: PreTrainedModel, form: AnswerFormat, known: Tensor) -> None:
    """Set the item embeddings to what is `known` [items, width], scaled like the others."""
    embeddings = model.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    with torch.no_grad():
        embeddings.weight[form.item_columns] = known * model.config.initializer_range
