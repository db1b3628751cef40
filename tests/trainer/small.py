"""Causal LMs of many kinds, each with two small layers of random weights."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

Model = PreTrainedModel | PeftModel
M = TypeVar("M", bound=nn.Module)

VOCABULARY = 40
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
GPT2 = GPT2Config(
    vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=None, eos_token_id=1
)
SHARING: dict[str, PreTrainedConfig] = {
    "rope": LlamaConfig(**SIZES),
    "rope, tied head": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "grouped keys and biases": Qwen2Config(**SIZES, num_key_value_heads=1),
    "window shorter than prompts": MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=3),
    "window ending in completions": MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=9),
    "window longer than all": MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=64),
    "window in every other layer, capped logits": Gemma2Config(
        **SIZES, num_key_value_heads=1, head_dim=8, sliding_window=4, final_logit_softcapping=2.0
    ),
    "scaled logits": GraniteConfig(**SIZES, num_key_value_heads=1, logits_scaling=4.0),
}
LEARNED: dict[str, PreTrainedConfig] = {
    "learned positions": GPT2,
    "learned positions, narrow head": OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        ffn_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        word_embed_proj_dim=8,
    ),
    "positions as slopes": BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=2, n_head=2),
}


def make(config: PreTrainedConfig) -> PreTrainedModel:
    """A model with fixed random weights, wide enough for probabilities to differ."""
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
    return widened(model)


def widened(model: M) -> M:
    """The model with larger matrices; those of adapters that start at zero are random."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    return model


def lora(config: PreTrainedConfig, **settings: Any) -> Model:
    """A model with LoRA, its adapters as if they had been trained."""
    wanted = {"target_modules": ["q_proj", "v_proj"]} | settings
    return widened(get_peft_model(make(config), LoraConfig(r=2, task_type="CAUSAL_LM", **wanted)))
