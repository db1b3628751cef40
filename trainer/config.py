"""Reads the settings of a run from a TOML file and the command line, and checks them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recpolicy.errors import UsageError
from recpolicy.errors.near import nearest
from recpolicy.runs import Run

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Prompt(_Settings):
    """How a user is put into words."""

    template: str = ""
    """Jinja; empty for the model's own, which are in prompts.py."""
    history: Count = 100
    """Most recent items shown."""
    min_history_fraction: Share = 0.5
    """Least share of a history that a training prompt shows; which part is drawn at random."""
    think: Annotated[int, Field(ge=0)] | None = None
    """Longest reasoning in tokens; 0 leaves `<think>` out. None: 12 for a pretrained language model, 0 for `tiny`."""
    policy: bool = False
    """Whether prompts may say what the policy asks: one model can then follow several."""
    pool: Annotated[int, Field(ge=0)] = 0
    """N, items that each slate is chosen from; 0 is the whole catalog."""
    random_fraction: Share = 0.2
    """Share of a pool that is drawn at random instead of being a retriever's best."""

    @property
    def longest_reasoning(self) -> int:
        """`think` as a number, for complete settings."""
        return self.think or 0


class Tiny(_Settings):
    """The decoder that is trained from scratch."""

    layers: Count = 2
    width: Count = 64
    heads: Count = 2
    dropout: Share = 0.2

    @model_validator(mode="after")
    def _check_width(self) -> Tiny:
        if self.width % (2 * self.heads):  # positions turn pairs of a head's numbers
            raise ValueError(f"a width of {self.width} is no multiple of twice the {self.heads} heads")
        return self


class Llm(_Settings):
    """How a pretrained language model is trained."""

    lora_rank: Annotated[int, Field(ge=0)] = 16
    """Of the LoRA adapters; 0 trains all weights."""
    lora_alpha: Count = 32
    """The adapters' scale times their rank."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the weights that are not trained; auto is bfloat16 where the processor computes in it."""
    gradient_checkpointing: bool = False
    """Computes activations twice to hold fewer of them; prompts are then read anew for every completion."""


class Sft(_Settings):
    """Supervised training on what users really took."""

    steps: Count = 2000
    """At most; validation stops it earlier."""
    batch: Count = 32
    learning_rate: Rate = 2e-3
    warmup: Annotated[int, Field(ge=0)] = 50
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    ema_decay: Share = 0.99
    """Decay of the running average of the weights, which is what is measured and kept."""
    evaluate_every: Count = 100
    patience: Count = 4
    """Evaluations without likelier next items of validation users before it stops."""


class Grpo(_Settings):
    """Reinforcement learning with the policy's rewards."""

    steps: Count = 400
    prompts_per_step: Count = 16
    """Different prompts a step."""
    generations: Annotated[int, Field(ge=2)] = 8
    """Completions a prompt (G)."""
    labels: Literal["expected", "real"] = "expected"
    """What rules on next items are valued by: the user model's chances, or what training users really took next."""
    learning_rate: Rate = 1.5e-3
    """At first; it falls evenly to 0."""
    ema_decay: Share = 0.99
    """Decay of the running average of the weights, as in `sft`."""
    temperature: Rate = 0.6
    beta: Annotated[float, Field(ge=0)] = 0.015
    """Weight of the KL divergence of each choice of an item from that of the user model's prior alone."""
    credit: Literal["place", "slate"] = "place"
    """Whether a place is credited with what its item changed, the other places kept, or with the whole slate."""
    steer_every: Count = 20
    """Steps between two measurements of the policy's targets, after which their multipliers move."""
    evaluate_every: Count = 50


class Config(_Settings):
    """All settings of a run; what a file leaves out has the default."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    holdout: Count = 10
    """H, held-out events a user."""
    prompt: Prompt = Prompt()
    tiny: Tiny = Tiny()
    llm: Llm = Llm()
    validation_users: Count = 1000
    """At most so many users measure a model in training."""
    report_to: list[Literal["tensorboard", "wandb", "mlflow"]] = []
    """Where training is shown beside the run folder; no result depends on it."""
    test_users: Count = 10_000
    """At most so many users are tested in the end."""
    sft: Sft = Sft()
    grpo: Grpo = Grpo()

    def of_model(self, pretrained: bool) -> Config:
        """Returns the settings with the defaults that depend on the model."""
        if self.prompt.think is not None:
            return self
        return self.model_copy(update={"prompt": self.prompt.model_copy(update={"think": THINK if pretrained else 0})})


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
