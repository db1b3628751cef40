"""Checks reward functions: any text is scored, none raises, and broken slates never beat whole ones."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recpolicy import compiler, data
from recpolicy.dataset.columns import Codes, Floats
from recpolicy.dataset.rows import Dataset, Rows
from recpolicy.dataset.slates import item_token, parse
from recpolicy.language import checker
from recpolicy.rewards import BatchRewards, RewardComputer, RuleReward, reward_functions

POLICY = """
policy "all kinds" { language = 1  data = "simulator"  slate = 5 }
reward relevance weight 0.5 = ndcg(next_items)
reward order     weight 0.2 = lcs(next_items)
reward variety   weight 0.2 = distance(item.genres)
reward surprise  weight 0.1 = novelty(item.popularity)
boost  popular   weight 0.1 = item.popularity > 5 limit 2
quota  voices    weight 0.2 = at most 1 per item.creator
quota  spread    weight 0.2 = at least 2 distinct item.genres
"""


Platform: TypeAlias = tuple[Dataset, Rows, list[RuleReward], RewardComputer]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    path = tmp_path_factory.mktemp("policy") / "all.policy"
    path.write_text(POLICY)
    dataset = data.simulate(users=40, items=120, creators=12).dataset
    split = data.split(dataset, holdout=5)
    view = data.training_view(dataset, split)
    compiled = compiler.compile(checker.load(str(path)), view)
    computer = RewardComputer(compiled, split.test, dataset.items.rows)
    return dataset, split.test, reward_functions(computer), computer


def _say(items: list[int], think: str = "") -> str:
    return f"<think> {think} </think> <answer> {' '.join(map(item_token, items))} </answer>"


def _total(functions: list[RuleReward], completions: list[str], row: list[int]) -> Floats:
    parts = [function(completions=completions, row=row) for function in functions]
    total: Floats = np.nansum(np.array(parts, np.float64), 0)
    return total


def _fresh(rows: Rows, row: int, items: int) -> list[int]:
    return [i for i in range(items) if i not in set(rows.history.row(row).tolist())]


@given(st.lists(st.one_of(st.text(max_size=40), st.just("<answer>"), st.just("<item_3>")), max_size=8).map(" ".join))
@settings(max_examples=100, deadline=None)
def test_random_text_scores_between_0_and_1(platform: Platform, text: str) -> None:
    _, _, functions, _ = platform
    for function in functions:
        (value,) = function(completions=[text], row=[0])
        assert value is not None and 0.0 <= value <= 1.0


@pytest.mark.parametrize(
    "text", ["", "sorry", "<answer>", "<answer></answer>", "<item_1> <item_2>", "</answer><answer>"]
)
def test_completion_without_answer_scores_zero(platform: Platform, text: str) -> None:
    assert _total(platform[2], [text], [0]).tolist() == [0.0]


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_broken_slate_never_beats_whole_slate(platform: Platform, draw: st.DataObject) -> None:
    dataset, rows, functions, _ = platform
    row = draw.draw(st.integers(0, len(rows) - 1))
    fresh = _fresh(rows, row, dataset.items.rows)
    whole = draw.draw(st.permutations(fresh))[:5]
    broken: list[int] = list(whole)
    kinds = ["repeated", "unknown", "seen"]
    for place in draw.draw(st.sets(st.integers(0, 4), min_size=1)):
        match draw.draw(st.sampled_from(kinds if place else kinds[1:])):
            case "repeated":
                broken[place] = broken[0]
            case "unknown":
                broken[place] = dataset.items.rows + place
            case _:
                broken[place] = int(rows.history.row(row)[0])
    better, worse = (
        [function(completions=[_say(slate)], row=[row])[0] for function in functions] for slate in (whole, broken)
    )
    for function, a, b in zip(functions, better, worse, strict=True):
        if function.__name__ != "popular":  # a boost's limit counts places in order: filling one may only move it
            assert a is not None and b is not None and a >= b - 1e-12, function.__name__


def test_unknown_or_repeated_item_id_leaves_a_hole() -> None:
    told = ["<answer> <item_2> <item_99> and <item_2>, <item_4><item_5>  <item_6> </answer> <item_7>"]
    assert parse(told, k=5, items=10).tolist() == [[2, -1, -1, 4, 5]]


def test_completion_is_scored_for_its_own_user(platform: Platform) -> None:
    _, rows, functions, _ = platform
    relevance = functions[0]
    told = [_say(rows.next_items.row(i)[:5].tolist()) for i in range(4)]
    right = relevance(completions=told, row=[0, 1, 2, 3])
    turned = relevance(completions=told, row=[1, 2, 3, 0])
    assert all(v is not None and v > 0.3 for v in right)
    assert sum(v or 0.0 for v in turned) < sum(v or 0.0 for v in right)


def test_reward_functions_survive_pickling(platform: Platform) -> None:
    _, rows, functions, _ = platform
    told = [_say(_fresh(rows, i, 120)[:5]) for i in range(3)]
    copies = pickle.loads(pickle.dumps(functions))
    for function, copy in zip(functions, copies, strict=True):
        assert function(completions=told, row=[0, 1, 2]) == copy(completions=told, row=[0, 1, 2])


def test_place_rewards_sum_to_rule_parts(platform: Platform) -> None:
    _, rows, _, computer = platform
    texts = [_say(_fresh(rows, i, 120)[i : i + 5]) for i in range(4)]
    rewards = computer.of_texts(texts, [0, 1, 2, 3])
    for i, rule in enumerate(computer.compiled.rules):
        share = rule.sign * rewards.weights[:, i] / rewards.weights.sum(1)
        places = rewards.marginals[rule.name].sum(1) * share
        np.testing.assert_allclose(np.nan_to_num(places), np.nan_to_num(rewards.parts[:, i]), atol=1e-12)
    turned = computer.of_texts(texts, [1, 0, 2, 3])
    np.testing.assert_array_equal(turned.values[2:], rewards.values[2:])
    slates = computer.of_slates(parse(texts, k=5, items=120), [0, 1, 2, 3])
    np.testing.assert_array_equal(slates.parts, rewards.parts)


def test_rule_rewards_share_one_batch_evaluation(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    _, rows, functions, _ = platform
    calls: list[list[int]] = []
    of_slates = RewardComputer.of_slates

    def counted(self: RewardComputer, slates: Codes, row: Sequence[int], progress: float = 1.0) -> BatchRewards:
        calls.append(list(row))
        return of_slates(self, slates, row, progress)

    monkeypatch.setattr(RewardComputer, "of_slates", counted)
    texts = [_say(_fresh(rows, i, 120)[:5]) for i in range(3)]
    for _ in range(2):
        _total(functions, texts, [0, 1, 2])
    assert calls == [[0, 1, 2]]
    _total(functions, texts, [1, 0, 2])
    _total(functions, list(texts), [1, 0, 2])
    assert calls == [[0, 1, 2], [1, 0, 2], [1, 0, 2]]


def test_chat_completion_equals_text_completion(platform: Platform) -> None:
    _, rows, functions, _ = platform
    text = _say(_fresh(rows, 0, 120)[:5])
    talk = [[{"role": "assistant", "content": text}]]
    assert functions[2](completions=talk, row=[0]) == functions[2](completions=[text], row=[0])
