"""Masked decoding: only well-formed slates of legal items come out, and scoring sees the mask sampling used."""

from __future__ import annotations

import torch
from torch import Tensor

from recpolicy.trainer.answer import AnswerFormat
from recpolicy.trainer.models import Recommender
from recpolicy.trainer.rollout import decode, first_items


def _legal(rows: int, form: AnswerFormat, seed: int = 0) -> Tensor:
    legal = torch.rand(rows, form.items, generator=torch.Generator().manual_seed(seed)) < 0.7
    legal[0] = False
    legal[0, :2] = True  # fewer than K
    legal[1] = False  # none at all
    return legal


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


def test_every_sampled_completion_is_well_formed_and_legal(recommender: Recommender, prompts: list[list[int]]) -> None:
    form, legal = recommender.form, _legal(len(prompts), recommender.form)
    generator = torch.Generator().manual_seed(1)
    told = decode(recommender.model, form, prompts, legal, copies=8, temperature=2.0, generator=generator)
    assert len(told) == 8 * len(prompts)
    for row, completion in enumerate(told.tolist()):
        allowed = legal[row // 8].nonzero()[:, 0].tolist()
        for at, token in enumerate(completion):
            assert token in _next(form, completion[:at], allowed)
        assert form.end in completion
    slates = form.slates(told)
    assert (slates[:8] >= 0).sum(1).tolist() == [2] * 8
    assert (slates[8:16] == -1).all()
    assert (slates[16:] >= 0).all()


def test_scoring_allows_at_every_place_what_sampling_allowed(
    recommender: Recommender, prompts: list[list[int]]
) -> None:
    form, legal = recommender.form, _legal(len(prompts), recommender.form, seed=5)
    generator = torch.Generator().manual_seed(2)
    told = decode(recommender.model, form, prompts, legal, temperature=2.0, generator=generator)
    mask = form.allowed(told, legal, len(recommender.tokenizer))
    for row, completion in enumerate(told.tolist()):
        allowed = legal[row].nonzero()[:, 0].tolist()
        for at in range(len(completion)):
            assert set(mask[row, at].nonzero()[:, 0].tolist()) == _next(form, completion[:at], allowed)


def test_greedy_decoding_takes_the_likeliest_allowed_token_of_an_uncached_model(
    recommender: Recommender, prompts: list[list[int]]
) -> None:
    form, model = recommender.form, recommender.model
    legal = torch.ones(len(prompts), form.items, dtype=torch.bool)
    told = decode(model, form, prompts, legal)
    for prompt, completion in zip(prompts, told.tolist(), strict=True):
        said: list[int] = []
        while not said or said[-1] != form.end:
            logits = model(input_ids=torch.tensor([prompt + said])).logits[0, -1]
            said.append(max(_next(form, said, list(range(form.items))), key=lambda t: logits[t].item()))
        assert completion[: len(said)] == said


def test_without_reasoning_the_answer_comes_first(recommender: Recommender, prompts: list[list[int]]) -> None:
    from dataclasses import replace

    form = replace(recommender.form, max_think=0)
    legal = torch.ones(len(prompts), form.items, dtype=torch.bool)
    told = decode(recommender.model, form, prompts, legal)
    assert told.shape[1] == form.longest
    assert (told[:, 0] == form.answer_open).all()
    assert not torch.isin(told, torch.tensor([form.think_open, form.think_close])).any()


def test_the_first_place_is_a_distribution_over_legal_items(recommender: Recommender, prompts: list[list[int]]) -> None:
    form = recommender.form
    legal = torch.ones(len(prompts), form.items, dtype=torch.bool)
    legal[:, 3] = False
    logp = first_items(recommender.model, form, prompts, legal)
    assert torch.allclose(logp.exp().sum(1), torch.ones(len(prompts)))
    assert (logp[:, 3] == -torch.inf).all()
    greedy = form.slates(decode(recommender.model, form, prompts, legal))
    assert logp.argmax(1).tolist() == greedy[:, 0].tolist()
