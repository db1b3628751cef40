"""Ten steps of GRPO and what each was made of; run as a module, one of two processes that take them together."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import PreTrainedModel

from recpolicy.trainer.config import Config, Llm
from recpolicy.trainer.distributed import processes, sharding
from recpolicy.trainer.models.pretrained import checkpointed, tables
from recpolicy.trainer.models.recommenders import Recommender
from recpolicy.trainer.stages import grpo
from recpolicy.trainer.stages.grpo_trainer import PolicyGRPOTrainer
from tests.trainer.quiet import quiet
from tests.trainer.stages.test_grpo import SHORT, Told, course, with_prior

RULES = (
    "reward relevance weight 0.6 = ndcg(next_items)\nreward variety weight 0.4 = distance(item.genres)\n"
    "quota voices hard = at most 1 per item.creator\ntarget ads = share(item.is_ad) >= 60%\n"
    "when user.age < 20 { boost local weight 0.2 = item.language is user.language }\n"  # about none of some steps' rows
)
SETTINGS = SHORT.model_copy(
    update={
        "steps": 10,
        "prompts_per_step": 3,
        "generations": 4,
        "learning_rate": 1e-3,
        "steer_every": 2,
        "evaluate_every": 5,
    }
)
Step = dict[str, Tensor]


class Recording(PolicyGRPOTrainer):
    """Keeps this process's part of every step."""

    steps: list[Step]

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        found = super()._calculate_rewards(*args, **kwargs)
        self.steps.append({"rewards": found.clone()})
        return found

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        self.steps[-1] |= {"tokens": output["completion_ids"], "advantages": output["advantages"]}
        return output


def adapted(recommender: Recommender) -> Recommender:
    """The same with LoRA and trained vectors of the items, as pretrained models have them."""
    form = recommender.form
    items = list(range(form.item_base, form.item_base + form.items))
    torch.manual_seed(3)
    lora = LoraConfig(r=4, target_modules="all-linear", trainable_token_indices=items)
    adapters = get_peft_model(recommender.model, lora)
    assert isinstance(adapters, PeftModel)
    return replace(recommender, adapters=adapters)


def untied(model: PreTrainedModel) -> None:
    """Give the model a head of its own, which begins as the embeddings."""
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False


def ten_steps(folder: Path, how: Collection[str] = ()) -> list[Step]:
    """This process's rollouts and advantages at each step, and what all know: rewards, gradient norm, multipliers.

    `how` may hold `lora`, `untied` (a head of its own), and `checkpointing`, with which prompts are not shared.
    """
    steps: list[Step] = []
    Recording.steps = steps
    folder.mkdir(exist_ok=True)
    made, told = with_prior(course(RULES, folder), 1.0), Told()
    if "untied" in how:
        untied(made.recommender.model)
    recommender = adapted(made.recommender) if "lora" in how else made.recommender
    checkpointed(recommender.model, Llm(gradient_checkpointing="checkpointing" in how))
    sharding.placed(recommender.model)
    grpo.PolicyGRPOTrainer = Recording  # type: ignore[attr-defined]
    config = Config(grpo=SETTINGS)
    training = quiet(folder / "checkpoints")
    grpo.train(recommender, made.contexts, made.computer, made.validation, config, training, told)
    of_targets: list[Mapping[str, float]] = [multipliers for _, multipliers in told.results]
    assert "untied" not in how or len(tables(recommender.model)) == 2, "it was tied again"
    for step, logged in zip(steps, told.steps, strict=True):
        step["gradient"] = torch.tensor(logged["grad_norm"])
    steps[-1]["multipliers"] = torch.tensor([m["ads"] for m in of_targets])
    steps[-1]["validation"] = torch.tensor([score.value for score in told.scores])
    return steps


def own_part(into: Path, how: Collection[str] = ()) -> None:
    """Take the steps in one of two processes, and keep its part of them in `into/RANK.pt`."""
    rank = os.environ["RANK"]
    into.mkdir(exist_ok=True)
    found = ten_steps(into / rank, how)
    assert processes.count() == 2
    torch.save(found, into / f"{rank}.pt")


def own_parts(into: Path, variants: Collection[str]) -> None:
    """Take the steps in each of these ways, such as `lora checkpointing`, one after another; into a folder of it."""
    for how in variants:
        own_part(into / how, how.split())


if __name__ == "__main__":
    own_parts(Path(sys.argv[1]), sys.argv[2:])
