"""Checks shared prompts: log-probabilities and gradients equal TRL's and those of rows run alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    BertConfig,
    Lfm2Config,
    LlamaConfig,
    MambaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)
from trl import GRPOTrainer

from recpolicy.trainer.decoding import prefix_sharing
from tests.trainer.decoding.step import LONGEST, SharingTrainer, beginners, one_step, trainer
from tests.trainer.small import GPT2, LEARNED, SHARING, SIZES, VOCABULARY, Model, lora, make

COPIES = 3
BERT = {k: v for k, v in SIZES.items() if k != "bos_token_id"}
REFUSED: dict[str, tuple[PreTrainedConfig, str]] = {
    "state space": (MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=2, state_size=4), "keeps"),
    "convolutions between": (
        Lfm2Config(**SIZES, num_key_value_heads=1, layer_types=["conv", "full_attention"]),
        "keeps something else of its prompt",
    ),
    "no cache": (BertConfig(**BERT), "keeps something else of its prompt"),
    "sees what follows": (LlamaConfig(**(SIZES | {"is_causal": False})), "does not go on from its key/value cache"),
}
UNEQUAL = [[5, 6, 7, 8, 9, 10, 11], [12, 13], [5, 6], [14, 6, 7, 8, 9, 10, 11]]
EQUAL = [[5, 6, 7, 8, 9], [12, 13, 14, 15, 16], [5, 6, 7, 8, 10]]


@dataclass(frozen=True)
class Batch:
    """Completions of several prompts, the rows in any order."""

    prompts: list[list[int]]  # one a row
    ids: Tensor  # [B, P + LONGEST]
    mask: Tensor
    advantages: Tensor  # [B, LONGEST]

    @property
    def told(self) -> Tensor:
        """Which tokens of the completions are real, [B, LONGEST]."""
        return self.mask[:, -LONGEST:].bool()


def batch(prompts: list[list[int]]) -> Batch:
    """COPIES completions for each prompt, some shorter than others."""
    torch.manual_seed(1)
    order = torch.randperm(COPIES * len(prompts)).tolist()
    rows = [[p for p in prompts for _ in range(COPIES)][i] for i in order]
    ids, mask = prefix_sharing.left_pad(rows, 0)
    completion = torch.randint(2, VOCABULARY, (len(rows), LONGEST))
    told = torch.ones_like(completion)
    told[::2, -2:] = 0
    completion[told == 0] = 0
    return Batch(
        rows,
        torch.cat([ids, completion], 1),
        torch.cat([mask, told], 1),
        torch.randn(len(rows), LONGEST).round(decimals=2),
    )


def run_shared(model: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    return prefix_sharing.logits(model, prefix_sharing.completion_states(model, ids, mask, LONGEST))


def run_alone(model: nn.Module, given: Batch) -> Tensor:
    """Logits [B, LONGEST, V] of every row run alone and without padding; zero behind its end."""
    found = torch.zeros(*given.told.shape, VOCABULARY)
    for i, prompt in enumerate(given.prompts):
        length = int(given.told[i].sum())
        row = torch.tensor([prompt + given.ids[i, -LONGEST:][:length].tolist()])
        found[i, :length] = model(input_ids=row).logits[0, len(prompt) - 1 : -1]
    return found


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    whole = torch.cat([g.flatten() for g in theirs.values()]).norm()
    assert whole > 1e-3
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6 * whole, name


def assert_as_alone(model: nn.Module, given: Batch) -> None:
    """Logits and gradients through `inside` are those of rows run alone."""
    weights = torch.randn(*given.told.shape, VOCABULARY)
    found = prefix_sharing.inside(model, given.ids, given.mask, run_shared)
    ours = gradients(model, (found * weights)[given.told].sum())
    alone = run_alone(model, given)
    theirs = gradients(model, (alone * weights)[given.told].sum())
    assert torch.allclose(found[given.told], alone[given.told], atol=1e-4)
    assert_same_gradients(ours, theirs)


def scored(judge: GRPOTrainer, given: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """A trainer's log-probabilities of the real tokens, and the gradients of its loss."""
    logps, *_ = judge._get_per_token_logps_and_entropies(judge.model, given.ids, given.mask, LONGEST)
    judge.current_gradient_accumulation_steps = 1
    parts = {"prompt": slice(None, -LONGEST), "completion": slice(-LONGEST, None)}
    inputs = {f"{n}_ids": given.ids[:, s] for n, s in parts.items()}
    inputs |= {f"{n}_mask": given.mask[:, s] for n, s in parts.items()}
    model: Any = judge.model
    loss = judge._compute_loss(model.train(), inputs | {"advantages": given.advantages})
    return logps[given.told].detach(), gradients(model, loss)


def assert_as_trl(build: Callable[[], Model], given: Batch, folder: Path) -> None:
    """Log-probabilities and the loss's gradients are those of TRL's own trainer."""
    (ours, our_gradients), (theirs, their_gradients) = (
        scored(trainer(kind, build(), folder), given) for kind in (SharingTrainer, GRPOTrainer)
    )
    assert torch.allclose(ours, theirs, atol=1e-4)
    assert_same_gradients(our_gradients, their_gradients)


@pytest.mark.parametrize("kind", SHARING)
def test_scores_and_gradients_equal_trl(kind: str, tmp_path: Path) -> None:
    assert prefix_sharing.why_not(make(SHARING[kind])) is None
    assert_as_trl(lambda: make(SHARING[kind]), batch(UNEQUAL), tmp_path)


def test_learned_positions_equal_trl_without_padding(tmp_path: Path) -> None:
    assert_as_trl(lambda: make(GPT2), batch(EQUAL), tmp_path)


def test_learned_positions_ignore_padding_unlike_trl(tmp_path: Path) -> None:
    given = batch(UNEQUAL)
    alone = (
        run_alone(make(GPT2).eval(), given)
        .log_softmax(-1)
        .gather(-1, given.ids[:, -LONGEST:, None])[..., 0][given.told]
    )
    ours, theirs = (scored(trainer(k, make(GPT2), tmp_path), given)[0] for k in (SharingTrainer, GRPOTrainer))
    assert torch.allclose(ours, alone, atol=1e-4)
    assert (theirs - alone).abs().max() > 0.1


@pytest.mark.parametrize("kind", SHARING | LEARNED)
def test_scores_and_gradients_equal_rows_alone(kind: str) -> None:
    model = make((SHARING | LEARNED)[kind]).eval()
    assert prefix_sharing.why_not(model) is None
    assert_as_alone(model, batch(UNEQUAL))


@pytest.mark.parametrize("saved", [None, ["lm_head", "embed_tokens"]])
def test_lora_scores_equal_trl(saved: list[str] | None, tmp_path: Path) -> None:
    assert_as_trl(lambda: lora(SHARING["rope"], modules_to_save=saved), batch(UNEQUAL), tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("rope", {"target_modules": ["q_proj", "lm_head"]}),
        ("rope", {"trainable_token_indices": [5, 6, 20, 21]}),
        ("rope, tied head", {"trainable_token_indices": [5, 6, 20, 21]}),
        ("capped logits", {"target_modules": ["q_proj", "lm_head"]}),
    ],
)
def test_adapted_heads_and_embeddings_are_used(kind: str, settings: dict[str, Any]) -> None:
    config = next(c for name, c in SHARING.items() if name.endswith(kind))
    model = lora(config, **settings).eval()
    assert prefix_sharing.why_not(model) is None
    assert_as_alone(model, batch(UNEQUAL))


@pytest.mark.parametrize("kind", SHARING | LEARNED)
def test_column_slice_of_logits_equals_full_logits(kind: str) -> None:
    model, given = make((SHARING | LEARNED)[kind]).eval(), batch(UNEQUAL)
    states = prefix_sharing.completion_states(model, given.ids, given.mask, LONGEST)
    wanted = slice(3, 30)
    every = run_shared(model, given.ids, given.mask)
    assert torch.allclose(prefix_sharing.logits(model, states, wanted), every[..., wanted], atol=1e-5)
    tokens = given.ids[:, -1]
    loss = prefix_sharing.mean_cross_entropy(model, states[:, 0], tokens)
    assert loss.item() == pytest.approx(cross_entropy(every[:, 0], tokens).item(), rel=1e-5)


def test_each_unique_prompt_is_read_once() -> None:
    model, given, read = make(SHARING["rope"]), batch(UNEQUAL), []
    embeddings = model.get_input_embeddings()
    prefix_sharing.why_not(model)
    embeddings.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    prefix_sharing.completion_states(model, given.ids, given.mask, LONGEST)
    width = given.ids.shape[1] - LONGEST
    assert read == [len(UNEQUAL) * width, len(given.ids) * (LONGEST - 1)]


def test_equal_ids_with_different_padding_are_two_prompts() -> None:
    model = make(SHARING["rope"]).eval()
    ids = torch.tensor([[0, 5, 9, 9], [0, 5, 9, 9]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])  # the token that pads is a word in the second row
    found = prefix_sharing.completion_states(model, ids, mask, 2)
    whole = model.model(
        input_ids=ids, attention_mask=mask, position_ids=prefix_sharing.positions(mask)
    ).last_hidden_state
    assert torch.allclose(found, whole[:, 1:-1], atol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-2)


def test_one_token_completions_need_only_prompts() -> None:
    model, given = make(SHARING["rope"]).eval(), batch(UNEQUAL)
    short, mask = given.ids[:, : 1 - LONGEST], given.mask[:, : 1 - LONGEST]
    first = prefix_sharing.completion_states(model, given.ids, given.mask, LONGEST)[:, :1]
    assert torch.allclose(prefix_sharing.completion_states(model, short, mask, 1), first, atol=1e-5)


@pytest.mark.parametrize("kind", REFUSED)
def test_model_without_plain_cache_runs_whole_rows(kind: str) -> None:
    config, reason = REFUSED[kind]
    model, given = make(config).eval(), batch(UNEQUAL)
    assert reason in (prefix_sharing.why_not(model) or "")
    whole = model(
        input_ids=given.ids, attention_mask=given.mask, position_ids=prefix_sharing.positions(given.mask)
    ).logits
    assert torch.allclose(run_shared(model, given.ids, given.mask), whole[:, -LONGEST - 1 : -1], atol=1e-4)


def test_encoder_decoder_model_is_not_shared() -> None:
    config = T5Config(vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    assert "encoder" in (prefix_sharing.why_not(T5ForConditionalGeneration(config)) or "")


@pytest.mark.parametrize("config", [SHARING["rope"], GPT2])
def test_gradient_checkpointing_runs_whole_rows_in_training(config: PreTrainedConfig) -> None:
    model, given = make(config), batch(UNEQUAL)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.activation_checkpointing_enable()
    assert prefix_sharing.why_not(model.eval()) is None
    assert "gradient checkpointing" in (prefix_sharing.why_not(model.train()) or "")
    assert_as_alone(model, given)


@pytest.mark.parametrize("kind", ["rope", "window shorter than prompts"])
def test_bfloat16_shares_prompts(kind: str) -> None:
    model, given = make(SHARING[kind]).eval().bfloat16(), batch(UNEQUAL)
    assert prefix_sharing.why_not(model) is None
    whole = model(
        input_ids=given.ids, attention_mask=given.mask, position_ids=prefix_sharing.positions(given.mask)
    ).logits
    ours = run_shared(model, given.ids, given.mask)
    assert torch.allclose(ours[given.told], whole[:, -LONGEST - 1 : -1][given.told], atol=0.1)


def test_support_check_leaves_model_unchanged() -> None:
    model = make(GPT2).train()
    state = torch.random.get_rng_state()
    prefix_sharing.why_not(model)
    prefix_sharing.logits(model, torch.zeros(1, 1, 16))
    assert model.training and all(m.training for m in model.modules())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert "forward" not in model.__dict__


@pytest.mark.slow
def test_two_process_step_equals_one_process_trl_step(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*launch, "-m", "tests.trainer.decoding.step", str(tmp_path)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        timeout=120,
    )
    alone = list(one_step(GRPOTrainer, 12, tmp_path))
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt")
        for model, ours, theirs in zip(beginners(), together, alone, strict=True):
            before = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
            assert_same_gradients(
                {n: ours[n] - p for n, p in before.items()}, {n: theirs[n] - p for n, p in before.items()}
            )
