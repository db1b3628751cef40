"""TRL's trainer, as it is and with the shared prefix; run as a module, one of two processes that take a step."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as PromptDataset
from torch import Tensor, nn
from transformers import PreTrainedModel
from trl import GRPOConfig, GRPOTrainer

from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.models import tiny
from tests.trainer.small import SHARING, VOCABULARY, Model, lora, make

LONGEST = 5  # tokens of a completion


class SharingTrainer(GRPOTrainer):
    """TRL's trainer, only its scoring replaced by that with the shared prefix."""

    def _get_per_token_logps_and_entropies(
        self, model: nn.Module, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor, None]:
        def score(bare: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
            return prefix_sharing.logits(
                bare, prefix_sharing.completion_states(bare, ids, mask, logits_to_keep)
            ).log_softmax(-1)

        with self.accelerator.autocast():
            logp = prefix_sharing.inside(model, input_ids, attention_mask, score)
        chosen = logp.gather(-1, input_ids[:, -logits_to_keep:, None])[..., 0]
        return chosen, -(logp.exp() * logp).sum(-1).detach(), None


def rewards(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
    return [float(sum(c) % 7) for c in completion_ids]


def trainer(kind: type[GRPOTrainer], model: Model, folder: Path, **settings: Any) -> GRPOTrainer:
    """A trainer as the recommender's is set up, dropout off, temperature 1; three prompts of unequal length."""
    tokenizer = tiny.tokenizer([" ".join(f"w{i}" for i in range(VOCABULARY - 7))], 0)
    told = [" ".join(f"w{i}" for i in range(k)) for k in (6, 2, 9)]
    options: dict[str, Any] = {
        "per_device_train_batch_size": 12,
        "num_generations": 4,
        "max_completion_length": LONGEST,
        "loss_type": "dr_grpo",
        "temperature": 1.0,
        "disable_dropout": True,
        "gradient_checkpointing": False,
        "shuffle_dataset": False,
        "bf16": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    return kind(
        model=model,
        processing_class=tokenizer,
        reward_funcs=rewards,
        rollout_func=invented,
        args=GRPOConfig(output_dir=str(folder), **(options | settings)),
        train_dataset=PromptDataset.from_dict({"prompt": told}),
    )


def invented(prompts: list[str], caller: GRPOTrainer) -> dict[str, Any]:
    """A completion for every row that depends on its number among the rows of all processes."""
    first = caller.accelerator.process_index * len(prompts)
    said = [
        [2 + (7 * row + 5 * t * t) % (VOCABULARY - 2) for t in range(2 + row % (LONGEST - 1))]
        for row in range(first, first + len(prompts))
    ]
    tokenizer: Any = caller.processing_class
    return {
        "prompt_ids": tokenizer(prompts, add_special_tokens=False)["input_ids"],
        "completion_ids": said,
        "logprobs": None,
    }


def beginners() -> list[Model]:
    return [make(SHARING["rope"]), lora(SHARING["rope, tied head"])]


def one_step(kind: type[GRPOTrainer], rows: int, folder: Path) -> Iterator[dict[str, Tensor]]:
    """The weights of two models after TRL's loop took one step of plain gradient descent, `rows` in this process."""
    for model in beginners():
        steps = {"max_steps": 1, "optim": "sgd", "learning_rate": 1.0, "lr_scheduler_type": "constant"}
        judge = trainer(kind, model, folder, per_device_train_batch_size=rows, max_grad_norm=0.0, **steps)
        judge.train()
        yield {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = list(one_step(SharingTrainer, 6, folder))
    torch.save(found, folder / f"{os.environ['RANK']}.pt")
