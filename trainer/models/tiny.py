"""Builds a small decoder with random weights and its word-level tokenizer."""

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
from recpolicy.trainer.prompting.prompts import TAGS, PromptStyle

PAD, END, UNKNOWN = "<pad>", "<end>", "<unk>"
MEAN = 0.1
"""What the mean of the tokens before counts at first, where an embedding has a deviation of 0.02."""
PROMPT_STYLE = PromptStyle(reserved=(PAD, END, UNKNOWN))


def tokenizer(texts: Iterable[str], items: int) -> PreTrainedTokenizerFast:
    """Builds a word-level tokenizer over the words of `texts`, with one token per item at the end of the vocabulary.

    Items and tags are ordinary tokens: TRL removes special ones when it decodes.
    """
    words = sorted({word for text in texts for word in text.split() if not word.startswith("<item_")} - set(TAGS))
    vocabulary = [PAD, END, UNKNOWN, *TAGS, *words, *map(item_token, range(items))]
    core = Tokenizer(WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token=UNKNOWN))
    core.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, padding_side="left"
    )


def decoder(settings: Tiny, tokenizer: PreTrainedTokenizerFast, longest: int, seed: int) -> PreTrainedModel:
    """Builds a small Llama-type decoder with random weights; `longest` is the most tokens of prompt and completion.

    `settings.dropout` acts in training on the embeddings and on the output of every block; a model that was saved and
    loaded has none.
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
    start_attention(model)
    if settings.dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding | LlamaMLP):
                module.register_forward_hook(lambda m, _, out: dropout(out, settings.dropout, m.training))
            elif isinstance(module, LlamaAttention):  # returns its output and its weights
                module.register_forward_hook(
                    lambda m, _, out: (dropout(out[0], settings.dropout, m.training), *out[1:])
                )
    return model


def start_attention(model: LlamaForCausalLM) -> None:
    """Sets the first layer's attention such that it adds MEAN times the mean of what stands before each token.

    Its values are the (normalised) embeddings themselves, and queries and keys are small, so that all tokens count
    nearly alike. With item embeddings from a factorisation of who took what (`embeddings.collaborative`), each token
    then holds what PureSVD knows of a user (Cremonesi et al., RecSys 2010): the sum of the vectors of the items taken.
    At random the answer's first token would have to learn from few examples to look at the history at all.
    """
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        attention.v_proj.weight.copy_(torch.eye(model.config.hidden_size))
        attention.o_proj.weight.copy_(MEAN * torch.eye(model.config.hidden_size))


def start_items(model: PreTrainedModel, form: AnswerFormat, known: Tensor) -> None:
    """Sets the item embeddings to those `known` [items, width], scaled as the others are."""
    embeddings = model.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    with torch.no_grad():
        embeddings.weight[form.item_columns] = known * model.config.initializer_range
