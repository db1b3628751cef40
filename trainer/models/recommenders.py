"""Starts, saves and loads recommenders: a causal LM with its tokenizer and the format of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from recpolicy.dataset.rows import Dataset, Split
from recpolicy.trainer.config import Config, Llm
from recpolicy.trainer.decoding.answer_format import AnswerFormat
from recpolicy.trainer.decoding.prefix_sharing import unwrapped
from recpolicy.trainer.distributed import sharding
from recpolicy.trainer.models import embeddings, pretrained, tiny
from recpolicy.trainer.prompting.prompts import TAGS, PromptStyle

TINY = "tiny"
NAMES = (TINY, pretrained.SMOLLM2)
"""Models with a name of their own; it has priority over a folder of the same name."""


@dataclass(frozen=True)
class Recommender:
    """A language model that recommends: weights, tokenizer, and the format of its completions."""

    model: PreTrainedModel
    """The plain model of transformers; adapters are inside its layers."""
    tokenizer: PreTrainedTokenizerFast
    form: AnswerFormat
    adapters: PeftModel | None = None
    """The same model in its peft wrapper, if it has adapters."""

    @property
    def trained(self) -> PreTrainedModel | PeftModel:
        """The model for a trainer: with its wrapper, if it has adapters."""
        return self.model if self.adapters is None else self.adapters

    def size(self) -> str:
        """Returns in words how many weights the model has, how many of them are trained, and where."""
        weights = list(self.trained.parameters())
        trained = sum(p.numel() for p in weights if p.requires_grad) / 1e6
        frozen = {str(p.dtype).removeprefix("torch.") for p in weights if not p.requires_grad}
        others = f", the others kept in {' and '.join(sorted(frozen))}" if frozen else ""
        whole = sum(p.numel() for p in weights) / 1e6
        return f"{trained:,.1f} of {whole:,.1f} million weights are trained on {self.model.device}{others}"

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text."""
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return ids

    def save(self, folder: Path, whole: dict[str, Any] | None = None) -> None:
        """Writes config, tokenizer and weights (safetensors); with adapters, only their weights.

        `whole`: a sharded model's weights, as `sharding.whole` collects them.
        """
        if self.adapters is not None:
            self.adapters.save_pretrained(str(folder), save_embedding_layers=False)  # the added tokens are adapted, too
        else:
            self.model.save_pretrained(folder, state_dict=whole)
        self.tokenizer.save_pretrained(folder)


def prompt_style(name: str) -> PromptStyle:
    """Returns the prompt style of this model. Raises UsageError for a pretrained model that cannot be read."""
    return tiny.PROMPT_STYLE if name == TINY else pretrained.prompt_style(name)


def version(name: str) -> str:
    """Returns the model's name or, for a folder, a hash of its files, as these may change."""
    return name if name in NAMES or not Path(name).is_dir() else pretrained.content(Path(name))


def init_recommender(
    name: str,
    config: Config,
    dataset: Dataset,
    split: Split,
    k: int,
    *,
    texts: Sequence[str],
    shown: Sequence[str],
    about: Sequence[str],
) -> Recommender:
    """Builds the recommender that SFT starts from.

    `texts` are the prompts and completions that SFT trains on, `shown` prompts without completions, `about` the words
    of each item. Raises UsageError for a pretrained model that cannot be used.
    """
    items, think = dataset.items.rows, config.prompt.longest_reasoning
    model: PreTrainedModel | PeftModel
    if name == TINY:
        tokenizer = tiny.tokenizer(texts, items)
        form = answer_format(tokenizer, items, k, think)
        # prompts without completions may show more of a history than any of the texts
        longest = _longest(tokenizer, texts) + config.prompt.history + form.longest
        model = tiny.decoder(config.tiny, tokenizer, longest, config.seed)
        tiny.start_items(model, form, embeddings.initial_item_embeddings(dataset, split, config.tiny.width))
    else:
        tokenizer = pretrained.tokenizer(name, items)
        form = answer_format(tokenizer, items, k, think)
        longest = max(_longest(tokenizer, texts), _longest(tokenizer, shown) + form.longest)
        model = pretrained.decoder(
            name, tokenizer, about, partial(embeddings.collaborative, dataset, split), longest, config.llm, config.seed
        )
    return _recommender(model, tokenizer, form)


def _longest(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> int:
    return max(map(len, tokenizer(list(texts), add_special_tokens=False)["input_ids"]))


def load(folder: Path, name: str, items: int, slate: int, max_think: int, settings: Llm) -> Recommender:
    """Loads a recommender that `Recommender.save` wrote; `name` is that of the model it started from."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
    form = answer_format(tokenizer, items, slate, max_think)
    if (folder / "adapter_config.json").is_file():
        return _recommender(pretrained.adapted(folder, name, tokenizer, settings), tokenizer, form)
    model = AutoModelForCausalLM.from_pretrained(folder)
    return _recommender(model if name == TINY else pretrained.checkpointed(model, settings), tokenizer, form)


def _recommender(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerFast, form: AnswerFormat
) -> Recommender:
    sharding.placed(model)
    adapters = model if isinstance(model, PeftModel) else None
    return Recommender(unwrapped(model), tokenizer, form, adapters)


def answer_format(tokenizer: PreTrainedTokenizerFast, items: int, slate: int, max_think: int) -> AnswerFormat:
    """Builds the format of completions in the tokens of `tokenizer`, whose last `items` tokens are the items."""
    base = len(tokenizer) - items
    vocabulary = tokenizer.get_vocab()
    think_open, think_close, answer_open, answer_close = tags = [vocabulary[tag] for tag in TAGS]
    others = {*tokenizer.all_special_ids, *tags}
    assert tokenizer.eos_token_id is not None
    return AnswerFormat(
        think_open,
        think_close,
        answer_open,
        answer_close,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        word_ids=tuple(sorted(i for i in vocabulary.values() if i < base and i not in others)),
        item_base=base,
        items=items,
        slate=slate,
        max_think=max_think,
    )
