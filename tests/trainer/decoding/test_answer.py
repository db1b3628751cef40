"""Checks masked decoding: well-formed slates of legal items, and scores equal to sampling."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recpolicy.trainer.decoding.answer_format import AnswerFormat
from recpolicy.trainer.decoding.item_mask import ItemMask
from recpolicy.trainer.decoding.log_probs import log_probabilities
from recpolicy.trainer.decoding.rollout import decode, first_items, sample_columns, slates_until, uniforms
from recpolicy.trainer.models.recommenders import Recommender


def _legal(rows: int, form: AnswerFormat, seed: int = 0) -> Tensor:
    legal = torch.rand(rows, form.items, generator=torch.Generator().manual_seed(seed)) < 0.7
    legal[0] = False
    legal[0, :2] = True  # fewer than K
    legal[1] = False  # none at all
    return legal


def _prior(rows: int, form: AnswerFormat, size: float) -> Tensor | None:
    """A random prior of standard deviation `size`; none for 0."""
    return size * torch.randn(rows, form.items, generator=torch.Generator().manual_seed(7)) if size else None


def _with_prior(logits: Tensor, form: AnswerFormat, prior: Tensor | None) -> Tensor:
    """Logits [B, T, V] of whole texts, the prior [B, items] added to those of items."""
    if prior is None:
        return logits
    return logits + torch.nn.functional.pad(prior, (form.item_base, logits.shape[2] - form.item_columns.stop))[:, None]


def _next(form: AnswerFormat, said: list[int], legal: list[int]) -> set[int]:
    """What may follow `said`, written down case by case."""
    if not said:
        return {form.think_open}
    last, items = said[-1], [t for t in said if form.item_base <= t < form.item_base + form.items]
    if last == form.end or last == form.pad:
        return {form.pad}
    if last == form.answer_close:
        return {form.end}
    if form.answer_open in said:
        left = {form.item_base + i for i in legal} - set(items)
        return left if left and len(items) < form.slate else {form.answer_close}
    if form.think_close in said:
        return {form.answer_open}
    words = len(said) - 1
    return {form.think_close} if words >= form.max_think else {form.think_close, *form.word_ids}


def test_sampled_completions_are_well_formed_and_legal(recommender: Recommender, prompts: list[list[int]]) -> None:
    form, legal = recommender.form, _legal(len(prompts), recommender.form)
    prompts, item_mask = [p for p in prompts for _ in range(8)], ItemMask(legal.repeat_interleave(8, 0))
    draws = uniforms(1, 0, 0, len(prompts), form.longest)
    told = decode(recommender.model, form, prompts, item_mask, temperature=2.0, draws=draws)
    assert len(told) == len(prompts)
    for row, completion in enumerate(told.tolist()):
        allowed = legal[row // 8].nonzero()[:, 0].tolist()
        for at, token in enumerate(completion):
            assert token in _next(form, completion[:at], allowed)
        assert form.end in completion
    slates = form.slates(told)
    assert (slates[:8] >= 0).sum(1).tolist() == [2] * 8
    assert (slates[8:16] == -1).all()
    assert (slates[16:] >= 0).all()


@pytest.mark.parametrize("size", [0.0, 5.0], ids=["no prior", "a prior"])
def test_log_probabilities_and_gradients_equal_naive_scoring(
    size: float, recommender: Recommender, prompts: list[list[int]]
) -> None:
    form, model, temperature = recommender.form, recommender.model, 0.7
    legal, prior = _legal(len(prompts), form, seed=5), _prior(len(prompts), form, size)
    item_mask, draws = ItemMask(legal, record=form.slate, prior=prior), uniforms(2, 0, 0, len(prompts), form.longest)
    told = decode(model, form, prompts, item_mask, temperature=2.0, draws=draws)
    both = zip(prompts, told.tolist(), strict=True)
    said = [model(input_ids=torch.tensor([p + c])).logits[0, len(p) - 1 : -1] for p, c in both]
    logits, weights, others = torch.stack(said).detach().requires_grad_(), *torch.randn(2, *told.shape)
    found, entropy, divergence = log_probabilities(
        lambda row, at, among: logits[row, at, among], form, told, item_mask.history, temperature, prior
    )
    whole, alone = (_with_prior(own, form, prior) for own in (logits, torch.zeros_like(logits)))
    wanted = torch.zeros(())
    for row, completion in enumerate(told.tolist()):
        allowed = legal[row].nonzero()[:, 0].tolist()
        for at, token in enumerate(completion):
            choices = sorted(_next(form, completion[:at], allowed))
            logp = (whole[row][at, choices] / temperature).log_softmax(0)
            assert abs(found[row, at] - logp[choices.index(token)]) < 1e-5
            assert abs(entropy[row, at] + (logp.exp() * logp).sum()) < 1e-5
            wanted = wanted + weights[row, at] * logp[choices.index(token)]
            if size and token >= form.item_base:
                apart = logp.exp() @ (logp - (alone[row][at, choices] / temperature).log_softmax(0))
                assert abs(divergence[row, at] - apart) < 1e-4
                wanted = wanted + others[row, at] * apart
            else:
                assert divergence[row, at] == 0
    total = (weights * found + others * divergence).sum()
    ours, theirs = (torch.autograd.grad(of, logits)[0] for of in (total, wanted))
    assert torch.allclose(ours, theirs, atol=1e-5) and theirs.norm() > 1


def test_scored_columns_cover_all_choices(recommender: Recommender, prompts: list[list[int]]) -> None:
    form = recommender.form
    for legal in (_legal(len(prompts), form)[1:], _legal(len(prompts), form)[:2]):
        item_mask = ItemMask(legal)
        draws = uniforms(3, 0, 0, len(legal), form.longest)
        told = decode(recommender.model, form, prompts[: len(legal)], item_mask, temperature=2.0, draws=draws)
        columns = torch.cat([form.chosen_items(told)[1], form.chosen_words(told)[1]])
        chosen = form.chosen(told)
        assert chosen.start <= columns.min() and columns.max() < chosen.stop < told.shape[1]


def test_draws_follow_probabilities_and_skip_zero() -> None:
    probabilities = torch.tensor([[0.0, 0.5, 0.0, 0.3, 0.2, 0.0]]).expand(100_000, -1)
    found = torch.bincount(sample_columns(probabilities, uniforms(0, 0, 0, 100_000, 1)[:, 0]), minlength=6) / 100_000
    assert found[[0, 2, 5]].tolist() == [0.0, 0.0, 0.0]
    assert torch.allclose(found, probabilities[0], atol=0.01)


def test_uniforms_depend_only_on_seed_step_and_row() -> None:
    whole = uniforms(5, 3, 0, 8, 30)
    assert torch.equal(torch.cat([uniforms(5, 3, at, 2, 30) for at in (0, 2, 4, 6)]), whole)
    for other in (uniforms(6, 3, 0, 8, 30), uniforms(5, 4, 0, 8, 30), uniforms(5, 3, 8, 8, 30)):
        assert not (other == whole).any()
    assert torch.equal(uniforms(-1, 0, 0, 2, 3), uniforms(-1, 0, 0, 2, 3))
    many = uniforms(0, 1, 0, 10_000, 30)
    assert many.min() > 0 and many.max() <= 1
    assert torch.allclose(torch.corrcoef(many[:, :5].T), torch.eye(5), atol=0.05)


def test_completion_is_independent_of_other_rows(recommender: Recommender, prompts: list[list[int]]) -> None:
    form, model = recommender.form, recommender.model
    legal = torch.ones(2 * len(prompts), form.items, dtype=torch.bool)
    draws = uniforms(4, 1, 0, 2 * len(prompts), form.longest)
    whole = decode(model, form, prompts * 2, ItemMask(legal), temperature=2.0, draws=draws)
    order = torch.tensor([5, 0, 3])
    some = [(prompts * 2)[i] for i in order]
    found = decode(model, form, some, ItemMask(legal[order]), temperature=2.0, draws=draws[order])
    assert torch.equal(found, whole[order, : found.shape[1]])


@pytest.mark.parametrize("size", [0.0, 5.0], ids=["no prior", "a prior"])
def test_greedy_decoding_equals_uncached_model(size: float, recommender: Recommender, prompts: list[list[int]]) -> None:
    form, model, prior = recommender.form, recommender.model, _prior(len(prompts), recommender.form, size)
    legal = torch.ones(len(prompts), form.items, dtype=torch.bool)
    told = decode(model, form, prompts, ItemMask(legal, prior=prior))
    for row, (prompt, completion) in enumerate(zip(prompts, told.tolist(), strict=True)):
        said: list[int] = []
        while not said or said[-1] != form.end:
            logits = model(input_ids=torch.tensor([prompt + said])).logits[:, -1:]
            logits = _with_prior(logits, form, None if prior is None else prior[[row]])[0, -1]
            said.append(max(_next(form, said, list(range(form.items))), key=lambda t: logits[t].item()))
        assert completion[: len(said)] == said


def test_answer_comes_first_without_reasoning(recommender: Recommender, prompts: list[list[int]]) -> None:
    from dataclasses import replace

    form = replace(recommender.form, max_think=0)
    legal = torch.ones(len(prompts), form.items, dtype=torch.bool)
    told = decode(recommender.model, form, prompts, ItemMask(legal))
    assert told.shape[1] == form.longest
    assert (told[:, 0] == form.answer_open).all()
    assert not torch.isin(told, torch.tensor([form.think_open, form.think_close])).any()


@pytest.mark.parametrize("size", [0.0, 5.0], ids=["no prior", "a prior"])
def test_first_place_is_distribution_over_legal_items(
    size: float, recommender: Recommender, prompts: list[list[int]]
) -> None:
    form, prior = recommender.form, _prior(len(prompts), recommender.form, size)
    legal = torch.ones(len(prompts), form.items, dtype=torch.bool)
    legal[:, 3] = False
    logp = first_items(recommender.model, form, prompts, legal, prior)
    assert torch.allclose(logp.exp().sum(1), torch.ones(len(prompts)))
    assert (logp[:, 3] == -torch.inf).all()
    greedy = form.slates(decode(recommender.model, form, prompts, ItemMask(legal, prior=prior)))
    assert logp.argmax(1).tolist() == greedy[:, 0].tolist()


@pytest.mark.parametrize("size", [0.0, 5.0], ids=["no prior", "a prior"])
def test_slates_until_place_match_states_of_whole_text(
    size: float, recommender: Recommender, prompts: list[list[int]]
) -> None:
    model, form, prior = recommender.model, recommender.form, _prior(len(prompts), recommender.form, size)
    legal = _legal(len(prompts), form)  # row 0 has two items, row 1 none
    place = torch.arange(len(prompts)) % form.slate
    place[0] = form.slate - 1
    said = decode(model, form, prompts, ItemMask(legal, prior=prior))
    whole = [[item for item in slate if item >= 0] for slate in form.slates(said).tolist()]
    slates, states, logits = slates_until(model, form, prompts, legal, place, prior)
    assert slates[0] == whole[0][:1], "its last place is the second"
    assert slates[1] == [] and slates[2:] == [s[:at] for s, at in zip(whole[2:], place.tolist()[2:], strict=True)]
    for row, slate in enumerate(slates):
        text = said[row].tolist()
        allowed = text.index(form.answer_open) if row != 1 else 0  # where nothing may be shown, the text has just begun
        end = allowed + len(slate) + 1
        out = model(input_ids=torch.tensor([prompts[row] + text[:end]]), output_hidden_states=True)
        torch.testing.assert_close(states[row], out.hidden_states[-1][0, -1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits[row], out.logits[0, -1, form.item_columns], rtol=1e-4, atol=1e-5)
    nothing, _, logits = slates_until(model, form, prompts, torch.zeros_like(legal), place)
    assert nothing == [[]] * len(prompts) and logits.isfinite().all()
