"""Nothing in, a section of BENCHMARKS.md out: a step of our GRPO beside one of TRL's own GRPOTrainer.

Both get the same weights, prompts, rewards, optimizer and settings, and as many new tokens a completion: ours by the
form of an answer, TRL's by `min_new_tokens`. In a round each takes a whole step (completions, rewards, loss, gradients,
optimizer) and a loss step (loss and gradients on one batch, the same for both), one after the other. Measuring on
validation and averaging the weights, which `recpolicy train` adds, are in neither. roofline.py says how operations and
bytes are counted.

On a CPU, TRL runs the output layer at the tokens of the prompt too, which it does not on a GPU. Its loss is also timed
without them, so that nobody takes an accident of the device for a merit of ours.
"""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import trl.trainer.utils
from datasets import Dataset as PromptDataset
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from transformers.utils import logging
from trl import GRPOConfig, GRPOTrainer

from benchmarks import page, roofline
from benchmarks.roofline import Machine, Step, Work
from recpolicy.dataset.rows import Rows
from recpolicy.language import checker
from recpolicy.rewards import RewardComputer, reward_functions
from recpolicy.trainer.config import Config, Grpo
from recpolicy.trainer.decoding.answer_format import AnswerFormat
from recpolicy.trainer.models import recommenders, tiny
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.pipeline import prepare
from recpolicy.trainer.prompting.prompts import TAGS
from recpolicy.trainer.run_context import RunContext
from recpolicy.trainer.stages import grpo, sft
from recpolicy.trainer.stages.checkpoints import Checkpoints
from recpolicy.trainer.stages.grpo_trainer import PolicyGRPOTrainer
from recpolicy.trainer.stages.objectives import Objectives
from recpolicy.trainer.stages.reporting import Reporting
from recpolicy.trainer.stages.training import Training

THREADS = 2
POLICY, DATA = "balanced", "ml-100k"

LARGE = "SmolLM2-135M"
VOCABULARY = 49_152
"""Its tokens; the items come on top."""
NEW = 32
"""Tokens of a completion."""
LARGE_ROUNDS, SMALL_ROUNDS = 3, 9
SPEEDS = 5
"""How often the machine's speeds are measured in a round; the best counts."""


@dataclass(frozen=True)
class Bars:
    """How many times as fast as TRL's a step should be."""

    loss: float | None
    step: float


SETTINGS = ((256, 8, Bars(4.0, 2.5)), (512, 16, Bars(8.0, 4.0)))
"""Tokens of a prompt and completions a prompt for the large model."""
SMALL = Bars(None, 3.0)


@dataclass(frozen=True)
class Scene:
    """A model, the prompts of training rows and what judges their completions."""

    name: str
    recommender: Recommender
    prompts: list[str]
    rows: Rows
    context: RunContext
    settings: Grpo
    bars: Bars
    rounds: int

    def step(self) -> Step:
        """What one step goes through."""
        model, form = self.recommender.model, self.recommender.form
        assert isinstance(model.config, LlamaConfig)
        told = np.mean([len(ids) for ids in self.recommender.encode(self.prompts)])
        size = next(model.parameters()).element_size()
        return Step(
            model.config, size, self.settings.prompts_per_step, self.settings.generations, float(told), columns(form)
        )


def columns(form: AnswerFormat) -> tuple[int, ...]:
    """Tokens that may stand at each place of the longest completion; 0 where only one may."""
    reasoning = [0, *[len(form.word_ids) + 1] * form.max_think, 0] if form.max_think else []
    return tuple([*reasoning, 0, *[form.items] * form.slate, 0, 0])


def large(context: RunContext, prompt: int, copies: int, bars: Bars) -> Scene:
    """The architecture of SmolLM2-135M with random weights in bfloat16, one prompt of random words a step."""
    k, items = context.k, context.view.items.rows
    words = [f"w{i}" for i in range(VOCABULARY - 3 - len(TAGS))]
    tokenizer = tiny.tokenizer([" ".join(words)], items)
    assert len(tokenizer) == VOCABULARY + items
    form = recommenders.answer_format(tokenizer, items, k, NEW - k - 5)
    assert form.longest == NEW
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).bfloat16()
    rng = np.random.default_rng(0)
    rows = sft.training_rows(context.view, context.split, k, 4, 0)
    prompts = [" ".join(words[i] for i in rng.integers(0, len(words), prompt)) for _ in range(len(rows))]
    settings = Grpo(prompts_per_step=1, generations=copies)
    recommender = Recommender(model, tokenizer, form)
    return Scene(LARGE, recommender, prompts, rows, context, settings, bars, LARGE_ROUNDS)


def small(context: RunContext) -> Scene:
    """`tiny` as it is by default, with random weights."""
    config, k, items = context.config, context.k, context.view.items.rows
    rows = sft.training_rows(context.view, context.split, k, 4 * config.grpo.prompts_per_step, 0)
    prompts = context.prompter.prompts(sft.subsampled_history(rows, config.prompt.min_history_fraction, 0))
    tokenizer = tiny.tokenizer(prompts + context.prompter.completions(rows), items)
    form = recommenders.answer_format(tokenizer, items, k, config.prompt.longest_reasoning)
    longest = max(len(p.split()) for p in prompts) + form.longest
    settings = config.tiny.model_copy(update={"dropout": 0.0})  # a model that was fine-tuned and loaded has none
    recommender = Recommender(tiny.decoder(settings, tokenizer, longest, 0), tokenizer, form)
    return Scene("tiny", recommender, prompts, rows, context, config.grpo, SMALL, SMALL_ROUNDS)


def arguments(scene: Scene, folder: str) -> GRPOConfig:
    """The settings of both sides, those that `recpolicy train` has; one step at a time."""
    settings = scene.settings.model_copy(update={"steps": 1})
    training = Training(Checkpoints.found(Path(folder)), Reporting((), Path(folder), "grpo"), 0, print)
    found = grpo.arguments(settings, scene.recommender.form.longest, training)
    found.logging_strategy = IntervalStrategy.NO
    found.save_strategy = SaveStrategy.NO
    return found


def ours(scene: Scene, folder: str) -> GRPOTrainer:
    """Our trainer on a copy of the scene's model."""
    compiled, view = scene.context.compiled, scene.context.view
    recommender = scene.recommender
    return PolicyGRPOTrainer(
        Recommender(copy.deepcopy(recommender.model), recommender.tokenizer, recommender.form),
        RewardComputer(compiled, scene.rows, view.items.rows),
        Objectives(compiled, np.ones(len(compiled.rules) + len(compiled.targets))),
        np.zeros((len(scene.rows), view.items.rows), np.float32),  # a prior, on whose size no time depends
        scene.settings.beta,
        args=arguments(scene, folder),
        train_dataset=examples(scene),
    )


def theirs(scene: Scene, folder: str) -> GRPOTrainer:
    """TRL's trainer as it is on a copy of the scene's model."""
    computer = RewardComputer(scene.context.compiled, scene.rows, scene.context.view.items.rows)
    settings = arguments(scene, folder)
    settings.generation_kwargs = {"min_new_tokens": scene.recommender.form.longest}
    return GRPOTrainer(
        model=copy.deepcopy(scene.recommender.model),
        processing_class=scene.recommender.tokenizer,
        reward_funcs=[*reward_functions(computer)],
        args=settings,
        train_dataset=examples(scene),
    )


def examples(scene: Scene) -> PromptDataset:
    """The training data of both sides."""
    return PromptDataset.from_dict({"prompt": scene.prompts, "row": list(range(len(scene.prompts)))})


class Stopwatch(TrainerCallback):
    """Times the last step that was taken, from its batch in hand to its weights updated."""

    began = 0.0
    seconds = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The batch is there."""
        self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The weights are updated."""
        self.seconds = time.perf_counter() - self.began


def whole_step(trainer: GRPOTrainer) -> Callable[[], float]:
    """Takes a training step, and says how long it took."""
    watch = Stopwatch()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watch)

    def take() -> float:
        trainer.train()
        return watch.seconds

    return take


def loss_step(trainer: GRPOTrainer, batch: dict[str, Any]) -> Callable[[], float]:
    """Computes loss and gradients on the batch, and says how long it took."""

    model = trainer.model_wrapped

    def take() -> float:
        model.train()
        began = time.perf_counter()
        trainer.accelerator.backward(trainer.compute_loss(model, batch))
        seconds = time.perf_counter() - began
        model.zero_grad()
        return seconds

    return take


@dataclass(frozen=True)
class Round:
    """The machine and the seconds of every contender, one after the other."""

    machine: Machine
    loss: dict[str, float]
    step: dict[str, float]


def measure(scene: Scene, step: Step) -> list[Round]:
    """Both trainers in turn; the medians over rounds leave out a first one that is slow."""
    with TemporaryDirectory() as folder:
        mine, other = ours(scene, folder), theirs(scene, folder)
        steps = {"ours": whole_step(mine), "theirs": whole_step(other)}
        tokens = int(step.prompts * (step.told + step.copies * len(step.columns)))
        found = []
        for _ in range(scene.rounds):
            gc.collect()
            machine = Machine.best([roofline.machine(scene.recommender.model, tokens) for _ in range(SPEEDS)])
            taken = {name: take() for name, take in steps.items()}
            batch = mine._generate_and_score_completions(next(iter(mine.get_train_dataloader())))
            assert batch["completion_ids"].shape[1] == len(step.columns)
            losses = {"ours": loss_step(mine, batch), "theirs": loss_step(other, batch)}
            as_on_gpu = patch.object(trl.trainer.utils, "_use_triton", lambda device: True)
            losses["completions"] = as_on_gpu(losses["theirs"])
            found.append(Round(machine, {name: take() for name, take in losses.items()}, taken))
            print(scene.name, found[-1], flush=True)
    return found


def rows(scene: Scene, step: Step, found: list[Round]) -> list[list[str]]:
    """The loss step and the whole step as rows of the table."""
    name = f"{scene.name}, {step.prompts} x {step.copies}, {step.told:.0f} + {len(step.columns)}"
    on = Machine.best([r.machine for r in found])
    loss = figures([r.loss for r in found], on, step.shared_loss(), step.whole_loss(), scene.bars.loss)
    whole = figures([r.step for r in found], on, step.shared_step(), step.whole_step(), scene.bars.step)
    return [[name, "loss", *loss], [name, "whole step", *whole]]


def figures(
    found: list[dict[str, float]], on: Machine, shared: list[Work], whole: list[Work], bar: float | None
) -> list[str]:
    """One row's numbers; ratios are those within a round."""

    def seconds(name: str, parts: list[Work]) -> list[str]:
        least, bound = roofline.least(parts, on)
        middle = median(taken[name] for taken in found)
        return [f"{middle:.3g} s", f"{least / middle:.0%} ({bound})"]

    def times(name: str) -> str:
        return f"{median(taken[name] / taken['ours'] for taken in found):.1f}" if name in found[0] else ""

    asked = "" if bar is None else f"{bar:g}"
    return [*seconds("ours", shared), *seconds("theirs", whole), times("theirs"), asked, times("completions")]


HEAD = ["", "", "recpolicy", "roofline", "TRL", "roofline", "times as fast", "bar", "TRL's head as on a GPU"]

TEXT = """\
One step of GRPO as `recpolicy train` takes it and as TRL's unmodified GRPOTrainer does, on {threads} cores: the same
weights, prompts, rewards (policy `{policy}`, data {data}), settings and number of new tokens. The loss is that of one
batch, with its gradients; the whole step has the completions, the rewards and the optimizer as well. {large} is its
architecture in bfloat16 with {items:,} items on top of its vocabulary and random weights, on which no time depends;
`tiny` is as it is by default (float32), with random weights too. A batch is prompts x completions of each, tokens of a
prompt + of a completion. Medians of {large_rounds} rounds, of {small_rounds} for `tiny`, in which each takes its turn;
where two are compared the median of the rounds' ratios.

{table}
The share of the roofline is the least time that the operations (or the bytes, where those take longer) need at the
best speeds measured between the rounds, over the time it took. For recpolicy that is with every prompt run once and
only tokens scored that the form of an answer allows, for TRL with every completion run behind its own prompt. Measured:
{speeds}.
The last column is TRL's loss with an output layer that leaves out the tokens of the prompt, as on a GPU but not here.

{machine}"""


def main() -> None:
    """Measure, and write the section."""
    torch.set_num_threads(THREADS)
    logging.set_verbosity_error()
    context = prepare(checker.read(POLICY), DATA, "tiny", Config())
    table: list[list[str]] = []
    speeds: dict[str, str] = {}
    scenes = [small(context), *(large(context, *setting) for setting in SETTINGS)]
    for scene in scenes:
        step = scene.step()
        found = measure(scene, step)
        table += rows(scene, step, found)
        on = Machine.best([r.machine for r in found])
        told = f"{on.operations / 1e9:.0f} billion operations and {on.bytes / 1e9:.0f} GB a second"
        speeds[scene.name] = f"{told} for {scene.name}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl"))
    text = TEXT.format(
        threads=THREADS,
        policy=POLICY,
        data=DATA,
        large=LARGE,
        items=context.view.items.rows,
        large_rounds=LARGE_ROUNDS,
        small_rounds=SMALL_ROUNDS,
        table=page.table(HEAD, table),
        speeds=", ".join(speeds.values()),
        machine=f"{page.machine()[:-1]}, {versions}.",
    )
    page.write("GRPO beside TRL", text)


if __name__ == "__main__":
    main()
