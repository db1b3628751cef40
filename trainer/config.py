"""Reads the settings of a run from a TOML file and the command line, and checks them."""

from __future__ import annotations

import datetime
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from recpolicy.data.split import FORMS, why_not
from recpolicy.errors import UsageError
from recpolicy.errors.near import nearest
from recpolicy.runs import Run

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
S = TypeVar("S", bound=BaseModel)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prompt(_Settings):
    """The prompt that describes a user to the model."""

    template: str = ""
    """Jinja template of the prompt. Empty: the built-in template of the model, from trainer/prompting/prompts.py."""
    history: Count = 100
    """Largest number of items of the user's history in a prompt, the most recent ones."""
    min_history_fraction: Share = 0.5
    """Smallest share of the history in a training prompt. Each prompt shows a random part of at least this size."""
    think: Annotated[int, Field(ge=0)] | None = None
    """Largest number of reasoning tokens before the answer. 0: no reasoning, and no `<think>` in the answer.
    Not set: 12 for a pretrained language model, 0 for `tiny`."""
    policy: bool = False
    """If true, prompts contain the policy in plain English. One model can then learn to follow several policies."""
    pool: Annotated[int, Field(ge=0)] = 0
    """Number of candidate items that each slate is chosen from. 0: the whole catalog."""
    random_fraction: Share = 0.2
    """Share of the candidates that are random items. The others are the best items of a retriever."""

    @property
    def longest_reasoning(self) -> int:
        """`think` as a number, for complete settings."""
        return self.think or 0


class Tiny(_Settings):
    """The model `tiny`: a small transformer decoder that is trained from scratch."""

    layers: Count = 2
    """Number of transformer layers."""
    width: Count = 64
    """Size of the embeddings and hidden states. A multiple of twice the number of heads."""
    heads: Count = 2
    """Number of attention heads in each layer."""
    dropout: Share = 0.2
    """Dropout probability during training."""

    @model_validator(mode="after")
    def _check_width(self) -> Tiny:
        if self.width % (2 * self.heads):  # positions turn pairs of a head's numbers
            raise ValueError(f"a width of {self.width} is no multiple of twice the {self.heads} heads")
        return self


class Llm(_Settings):
    """How a pretrained language model is trained."""

    lora_rank: Annotated[int, Field(ge=0)] = 16
    """Rank of the LoRA adapters. 0: no adapters, all weights are trained."""
    lora_alpha: Count = 32
    """Scale of the LoRA adapters: their output is multiplied by `lora_alpha / lora_rank`."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Number format of weights that are not trained. "auto" is bfloat16 if the hardware supports it, else float32."""
    gradient_checkpointing: bool = False
    """If true, training needs less memory and more time: activations are computed again in the backward pass, and the
    prompt is read again for every completion."""


class Sft(_Settings):
    """Supervised fine-tuning (SFT) on the items that users really took next."""

    steps: Count = 2000
    """Largest number of training steps. Early stopping may end the training before (`patience`)."""
    batch: Count = 32
    """Number of examples in each step, over all processes."""
    learning_rate: Rate = 2e-3
    """Learning rate after the warm-up. It stays constant."""
    warmup: Annotated[int, Field(ge=0)] = 50
    """Number of steps in which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of the AdamW optimizer."""
    ema_decay: Share = 0.99
    """Decay of the exponential moving average (EMA) of the weights. The average is what is evaluated and saved."""
    evaluate_every: Count = 100
    """Number of steps between two evaluations on the validation users."""
    patience: Count = 4
    """Early stopping: number of evaluations in a row without a higher likelihood of validation users' next items."""


class Grpo(_Settings):
    """Reinforcement learning (GRPO) with the rewards of the policy."""

    steps: Count = 400
    """Number of training steps."""
    prompts_per_step: Count = 16
    """Number of prompts in each step."""
    generations: Annotated[int, Field(ge=2)] = 8
    """Number of completions that are sampled for each prompt: the group size G of GRPO."""
    labels: Literal["expected", "real"] = "expected"
    """Labels for rules on next items. "expected": the user model's probability that an item is taken next. "real": the
    items that training users really took next."""
    learning_rate: Rate = 1.5e-3
    """Learning rate at the first step. It falls linearly to 0."""
    ema_decay: Share = 0.99
    """Decay of the exponential moving average (EMA) of the weights, as in `sft`."""
    temperature: Rate = 0.6
    """Sampling temperature of the completions."""
    beta: Annotated[float, Field(ge=0)] = 0.015
    """Weight of the KL divergence between the model's distribution over items and that of the user model's prior."""
    credit: Literal["place", "slate"] = "place"
    """Credit assignment. "place": each place of a slate has its own advantage, from what its item changes in the reward
    while the other places stay. "slate": all places have the advantage of the whole slate."""
    steer_every: Count = 20
    """Number of steps between two updates of the targets' multipliers. Each update measures the targets first."""
    evaluate_every: Count = 50
    """Number of steps between two evaluations on the validation users."""


class Config(_Settings):
    """All settings of a run. A setting that a file does not name has its default."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of all random numbers."""
    split: str = "user"
    """What is held out for the test: "user", the last H events of each user; "leave-one-out", the last one of each; or,
    by time for all users, the events from a date or time on, such as "2024-05-01", or a share of them, "last 10%"."""
    holdout: Count = 10
    """H, held-out events a user; in a split by time, the most of a user's events in a part that count. "leave-one-out"
    does not read it."""
    prompt: Prompt = Prompt()
    tiny: Tiny = Tiny()
    llm: Llm = Llm()
    validation_users: Count = 1000
    """Largest number of validation users. Training is evaluated on them."""
    report_to: list[Literal["tensorboard", "wandb", "mlflow"]] = []
    """Tools that also receive the training metrics. The results do not depend on them."""
    test_users: Count = 10_000
    """Largest number of test users. The final evaluation is on them."""
    sft: Sft = Sft()
    grpo: Grpo = Grpo()

    @field_validator("split", mode="before")
    @classmethod
    def _check_split(cls, by: object) -> object:
        if isinstance(by, datetime.date):  # TOML has dates without quotes, too
            by = by.isoformat()
        if reason := why_not(by) if isinstance(by, str) else f"write {FORMS}":
            raise ValueError(reason)
        return by

    def of_model(self, pretrained: bool) -> Config:
        """Returns the settings with the defaults that depend on the model."""
        if self.prompt.think is not None:
            return self
        return self.model_copy(update={"prompt": self.prompt.model_copy(update={"think": THINK if pretrained else 0})})

    def shortened(self, new_events: float, *, grpo: bool) -> Config:
        """Returns the settings of a run that goes on from an earlier one, with a part of the steps of SFT and of GRPO.

        The part is the share of `new_events` among the training events, or LEAST_STEPS if that is more. All that is
        counted in steps becomes shorter. Without `grpo`, that stage stays as it is.
        """
        part = max(new_events, LEAST_STEPS)

        def fewer(stage: S, *names: str) -> S:
            return stage.model_copy(update={name: math.ceil(part * getattr(stage, name)) for name in names})

        shorter: dict[str, Sft | Grpo] = {"sft": fewer(self.sft, "steps", "warmup", "evaluate_every")}
        if grpo:
            shorter["grpo"] = fewer(self.grpo, "steps", "steer_every", "evaluate_every")
        return self.model_copy(update=shorter)


LEAST_STEPS = 0.1
"""Least part of the steps that a run takes which goes on from an earlier one."""

THINK = 12
"""Default of `prompt.think` for a pretrained language model."""


def load(path: Path | None, changes: Mapping[str, object]) -> Config:
    """Reads the settings of a TOML file, if any, and applies `changes`, whose keys are like `seed` and `grpo.credit`.

    Raises UsageError with file and key for an unreadable file, an unknown key or a value out of range.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            message = f"the settings file cannot be read: {error.strerror}"
            raise UsageError(message, where=str(path), help="give --config a TOML file") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            help = "docs/settings.md shows how settings are written"
            raise UsageError(f"the settings file is not TOML: {error}", where=str(path), help=help) from error
    _validated(settings, str(path))
    for key, value in changes.items():
        *sections, name = key.split(".")
        within = settings
        for section in sections:
            within = within.setdefault(section, {})
        within[name] = value
    return _validated(settings, "the command line")


def _validated(settings: Mapping[str, Any], where: str) -> Config:
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise UsageError(f"no setting `{key}`", where=where, help=_suggestion(key)) from error
        value = "" if isinstance(first["input"], dict) else f", it is {first['input']!r}"
        text = first["msg"].removeprefix("Value error, ")
        message = f"setting `{key}`: {text[:1].lower()}{text[1:]}{value}"
        raise UsageError(message, where=where, help="docs/settings.md lists all settings") from error


def _suggestion(key: str) -> str:
    """Returns the help for an unknown setting: those of this name in other sections, or one of a similar name."""
    sections = [(name, section) for name, section in Config() if isinstance(section, _Settings)]
    known = [*Config.model_fields, *(f"{name}.{own}" for name, section in sections for own, _ in section)]
    elsewhere = [other for other in known if other.rpartition(".")[2] == key.rpartition(".")[2]]
    similar = " or ".join(f"`{other}`" for other in elsewhere or nearest(key, known)[:1])
    return (f"did you mean {similar}? " if similar else "") + "docs/settings.md lists all settings"


def recorded(run: Run) -> Config:
    """Reads the settings that a run was started with. Raises UsageError if this version does not know them."""
    try:
        return Config.model_validate(run.read()["identity"]["config"])
    except ValidationError as error:
        raise UsageError(
            "the settings of this run are those of another version of recpolicy",
            where=str(run.about),
            help=f"train again with this version; it does not know {error.errors()[0]['loc']}",
        ) from error
