"""Recommenders over the platform's earlier items that nobody has trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recpolicy import data
from recpolicy.trainer.config import Config, Llm, Prompt, Tiny
from recpolicy.trainer.models import recommenders
from recpolicy.trainer.models.recommenders import Recommender


def language_model(folder: Path, *, scaled: bool = False) -> Path:
    """A byte-level model with random weights, a head of its own and some rows to spare.

    A `scaled` one divides its logits.
    """
    alphabet = sorted(ByteLevel.alphabet())
    core = Tokenizer(BPE({text: i for i, text in enumerate(["</s>", *alphabet])}, []))
    core.pre_tokenizer = ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(2)
    shape: dict[str, Any] = {
        "vocab_size": 260,
        "tie_word_embeddings": False,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = (
        GraniteForCausalLM(GraniteConfig(**shape, logits_scaling=4.0))
        if scaled
        else LlamaForCausalLM(LlamaConfig(**shape))
    )
    model.save_pretrained(folder)
    return folder


def begun(home: Path, model: str, settings: Llm) -> Recommender:
    """A recommender over the earlier items, before training."""
    dataset = data.open(home / "before")
    config = Config(prompt=Prompt(think=2), tiny=Tiny(width=16, layers=1), llm=settings)
    texts = ["history likes jazz chess <think> likes jazz </think>"]
    about = [f"a post {row}" for row in range(dataset.items.rows)]
    parts = data.split(dataset, holdout=2)
    return recommenders.init_recommender(model, config, dataset, parts, 3, texts=texts, shown=texts, about=about)
