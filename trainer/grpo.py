"""A fine-tuned recommender and a compiled policy in, the recommender moved by the policy's rewards out.

TRL's GRPOTrainer with three methods overridden (and a fourth timed): completions are sampled under the mask of legal
items and scored under the same mask and temperature, each prompt run once for all its completions; and every item is
credited with what it and the places after it added to the reward.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as PromptDataset
from torch import Tensor
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from recpolicy.rewards import Judge, rewards
from recpolicy.trainer.config import Config
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.rollout import decode, evaluating, positions, run_prompts
from recpolicy.trainer.sft import BestOnValidation


class PolicyGRPOTrainer(GRPOTrainer):
    """GRPO over slates. The training data has the columns `prompt` and `row`; rewards are those of `judge`.

    `legal` maps training-row numbers [B] to the items each may be shown, [B, items] bool.
    """

    def __init__(
        self, recommender: Recommender, judge: Judge, legal: Callable[[Tensor], Tensor], *, seed: int, **settings: Any
    ) -> None:
        self._recommender = recommender
        self._judge = judge
        self._legal = legal
        self._copies: int = settings["args"].num_generations
        self._rows = torch.zeros(0, dtype=torch.long)  # [B] rows of the batch in hand
        functions: list[str | PreTrainedModel | Callable[..., list[float | None]]] = [*rewards(judge)]
        super().__init__(
            model=recommender.model,
            processing_class=recommender.tokenizer,
            reward_funcs=functions,
            rollout_func=self._sample,
            **settings,
        )
        self._sampler = torch.Generator(self.accelerator.device).manual_seed(seed)

    def _sample(self, prompts: list[str], _: GRPOTrainer) -> dict[str, Any]:
        """Completions for prompts that stand G times in a row each."""
        copies = self._copies
        rows = self._rows.view(-1, copies)
        if not bool((rows == rows[:, :1]).all()):
            raise RuntimeError("the completions of one prompt are expected next to each other")
        model = self.accelerator.unwrap_model(self.model)
        ids = self._recommender.encode(prompts[::copies])
        with self._timed("sampling"), evaluating(model):
            completion = decode(
                model,
                self._recommender.form,
                ids,
                self._legal(rows[:, 0]).to(self.accelerator.device),
                copies=copies,
                temperature=self.temperature,
                generator=self._sampler,
            )
        pad = self._recommender.form.pad
        return {
            "prompt_ids": [row for row in ids for _ in range(copies)],
            "completion_ids": [[t for t in row if t != pad] for row in completion.tolist()],
            "logprobs": None,
        }

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        """Log the seconds that a part of the step takes as `time/PART`; TRL logs the whole as `step_time`."""
        began = time.perf_counter()
        yield
        self._metrics["train"][f"time/{part}"].append(time.perf_counter() - began)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        with self._timed("rewards"):
            found: Tensor = super()._calculate_rewards(*args, **kwargs)
        return found

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._rows = torch.tensor([example["row"] for example in inputs])
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        completion = output["completion_ids"]
        slates = self._recommender.form.slates(completion)
        with self._timed("ledger"):
            ledger = self._judge.verdict(slates.cpu().numpy(), self._rows.tolist()).ledger
        credit = rank_advantages(torch.from_numpy(ledger).float().to(completion.device), self._copies)
        return output | {
            "advantages": self._recommender.form.spread(credit, completion),
            "row": self._rows.to(completion.device),
        }

    def _compute_loss(self, model: PreTrainedModel, inputs: dict[str, Any]) -> Tensor:
        self._rows = inputs["row"].cpu()  # TRL has permuted the rows since they were sampled
        loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **_: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities [B, T] of the completions under the mask they were sampled with, and entropies [B, T]."""
        completion = input_ids[:, -logits_to_keep:]
        mask = attention_mask[:, -logits_to_keep:]
        logits = completion_logits(model, input_ids, attention_mask, logits_to_keep).float() / self.temperature
        form = self._recommender.form
        told = torch.where(mask.bool(), completion, form.pad)
        legal = self._legal(self._rows).to(logits.device)
        logits = logits.masked_fill(~form.allowed(told, legal, logits.shape[-1]), -torch.inf)
        logp = logits.log_softmax(-1)
        chosen = logp.gather(-1, told[..., None])[..., 0]
        entropy = None
        if compute_entropy:
            finite = logp.masked_fill(logp == -torch.inf, 0.0)
            entropy = -(finite.exp() * finite).masked_fill(logp == -torch.inf, 0.0).sum(-1).detach()
        return chosen, entropy, None


def rank_advantages(ledger: Tensor, copies: int) -> Tensor:
    """What the choice at each place was worth beside the other completions of its prompt, [B, K].

    `ledger` [B, K]: what each place added to the whole reward; `copies` completions of a prompt are adjacent. A place
    is credited with itself and all that followed, less the group's mean of the same, over the group's deviation of the
    whole reward, to which 1e-4 is added as in TRL. The first place thus has GRPO's usual advantage (Shao et al. 2024).
    """
    to_go = ledger.flip(1).cumsum(1).flip(1).view(-1, copies, ledger.shape[1])  # [prompts, G, K]
    deviation = to_go[:, :, :1].std(1, keepdim=True)
    return ((to_go - to_go.mean(1, keepdim=True)) / (deviation + 1e-4)).view(ledger.shape)


def completion_logits(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor, keep: int) -> Tensor:
    """Logits of the last `keep` tokens of each row, [B, keep, V], every different prompt run only once.

    `input_ids`, `attention_mask` [B, P + keep]: prompts padded on the left, completions on the right. Gradients flow
    through the expanded key/value cache, so the result is that of running every row whole.
    """
    prompt, mask = input_ids[:, :-keep], attention_mask[:, :-keep]
    both, place = torch.unique(torch.cat([prompt, mask], 1), dim=0, return_inverse=True)  # [U, 2P], [B]
    width = prompt.shape[1]
    last, cache = run_prompts(model, both[:, :width], both[:, width:])
    cache.batch_select_indices(place)
    out = model(
        input_ids=input_ids[:, -keep:-1],
        attention_mask=attention_mask[:, :-1],
        position_ids=positions(attention_mask)[:, -keep:-1],
        past_key_values=cache,
        use_cache=True,
    )
    return torch.cat([last[place][:, None], out.logits], 1)


class Metrics(TrainerCallback):
    """Hands what TRL logs at every step on, numbers only."""

    def __init__(self, report: Callable[[int, Mapping[str, float]], None]) -> None:
        self.report = report

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """TRL's log of one step, or its summary at the end, which is left out."""
        logs = kwargs["logs"]
        if "reward" in logs:
            self.report(state.global_step, {k: float(v) for k, v in logs.items()})


def train(
    recommender: Recommender,
    prompts: Sequence[str],
    judge: Judge,
    legal: Callable[[Tensor], Tensor],
    config: Config,
    folder: Path,
    score: Callable[[], float],
    validated: Callable[[int, float], None],
    stepped: Callable[[int, Mapping[str, float]], None],
) -> float:
    """Move the recommender in place by the rewards of `judge`, ending with the weights that scored best on validation.

    `prompts` are those of the training rows, `legal` as in PolicyGRPOTrainer. `score` measures the model as it stands;
    `validated` is told each measurement, `stepped` TRL's log of each step. Returns the best score. The model it starts
    from is measured too, as step 0.
    """
    settings = config.grpo
    best = BestOnValidation(score, settings.averaging, settings.evaluate_every, settings.steps, validated)
    best.measure(recommender.model, 0)
    trainer = PolicyGRPOTrainer(
        recommender,
        judge,
        legal,
        seed=config.seed,
        args=GRPOConfig(
            output_dir=str(folder),
            max_steps=settings.steps,
            per_device_train_batch_size=settings.prompts * settings.generations,
            num_generations=settings.generations,
            max_completion_length=recommender.form.longest,
            temperature=settings.temperature,
            beta=settings.beta,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=10,
            weight_decay=0.0,
            loss_type="dr_grpo",
            disable_dropout=True,
            seed=config.seed,
            bf16=False,
            gradient_checkpointing=False,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=PromptDataset.from_dict({"prompt": list(prompts), "row": list(range(len(prompts)))}),
        callbacks=[best, Metrics(stepped)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return best.restore(recommender.model)
