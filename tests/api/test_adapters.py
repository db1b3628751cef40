"""Checks that the reward functions of other trainers give the numbers of `LoadedPolicy.score`."""

from __future__ import annotations

import json
import math
import pickle
from typing import Any, TypeAlias

import numpy as np
import pytest

import recpolicy
from recpolicy import data
from recpolicy.adapters import openrlhf, trl, verl
from recpolicy.api import LoadedPolicy, Scored, parsers
from recpolicy.errors import UsageError
from tests.scoring.logs import simulator

Batch: TypeAlias = tuple[list[str], dict[str, list[Any]], Scored]
"""Answers, the columns of their rows, and their scores."""

PARSE = parsers.tagged(parsers.lines)


@pytest.fixture(scope="module")
def policy() -> LoadedPolicy:
    return recpolicy.load("balanced", "simulator")


@pytest.fixture(scope="module")
def batch(policy: LoadedPolicy) -> Batch:
    """Answers of which some are no lists, the columns of their rows, and their scores."""
    dataset, rng = simulator(), np.random.default_rng(0)
    users = rng.choice(np.flatnonzero(np.diff(dataset.start) > 12), 12)
    rows = data.rows_at(dataset, users, dataset.start[users] + 6, 4, dataset.start[users + 1])
    lists = [[dataset.item_ids[i] for i in rng.permutation(dataset.items.rows)[:10]] for _ in users]
    lists[3] = []
    answers = ["<answer>" + "\n".join(ids) + "</answer>" for ids in lists]
    answers[3] = "I cannot say."
    columns: dict[str, list[Any]] = {
        "user_id": [dataset.user_ids[u] for u in users],
        "history": [[dataset.item_ids[i] for i in rows.history.row(n)] for n in range(len(users))],
        "next_items": [
            [dataset.item_ids[i] for i in rows.next_items.row(n)] if n % 3 else [] for n in range(len(users))
        ],
        "now": [float(now) for now in rows.now],
    }
    known = {"history": columns["history"], "next_items": columns["next_items"], "now": columns["now"]}
    return answers, columns, policy.score(lists, user=columns["user_id"], **known)


def contexts(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [{name: values[row] for name, values in columns.items()} for row in range(len(columns["user_id"]))]


def test_trl_rules_add_up_to_the_reward(
    policy: LoadedPolicy, batch: tuple[list[str], dict[str, list[Any]], Scored]
) -> None:
    answers, columns, expected = batch
    extra = {"prompts": ["?"] * len(answers), "completion_ids": [[1]] * len(answers), "trainer_state": None}
    functions = pickle.loads(pickle.dumps(trl.reward_functions(policy, parsers.lines)))
    assert [function.__name__ for function in functions] == list(policy.rules)
    completions = [[{"role": "assistant", "content": "\n".join(PARSE(text))}] for text in answers]
    parts = [function(completions=completions, **extra, **columns) for function in functions]
    for rule, values in zip(policy.rules, parts, strict=True):
        found = [math.nan if value is None else value for value in values]
        np.testing.assert_allclose(found, expected.parts[rule], atol=1e-9)
    whole = np.array(trl.reward_function(policy, PARSE)(completions=answers, **extra, **columns), np.float64)
    np.testing.assert_allclose(np.nansum(np.array(parts, float), 0), whole, atol=1e-9)
    np.testing.assert_allclose(whole, expected.reward, atol=1e-9)


def test_verl_has_every_rule_as_a_key_and_no_nan(policy: LoadedPolicy, batch: Batch) -> None:
    answers, columns, expected = batch
    infos = [{key: value for key, value in c.items() if key != "next_items"} for c in contexts(columns)]
    sources = ["catalog"] * len(answers)
    together = verl.compute_scores(policy, PARSE)(
        data_sources=sources, solution_strs=answers, ground_truths=columns["next_items"], extra_infos=infos
    )
    alone = [
        verl.compute_score(policy, PARSE)(
            data_source="catalog", solution_str=text, ground_truth=truth, extra_info={**info, "num_turns": None}
        )
        for text, truth, info in zip(answers, columns["next_items"], infos, strict=True)
    ]
    for row, one in zip(together, alone, strict=True):
        assert row == pytest.approx(one, abs=1e-9)
    assert all(set(row) == {"score", *policy.rules} for row in together)
    assert all(math.isfinite(value) for row in together for value in row.values())
    np.testing.assert_allclose([row["score"] for row in together], np.nan_to_num(expected.reward), atol=1e-9)
    np.testing.assert_allclose(
        [row["relevance"] for row in together], np.nan_to_num(expected.parts["relevance"]), atol=1e-9
    )


def test_openrlhf_reads_contexts_from_labels(policy: LoadedPolicy, batch: Batch) -> None:
    answers, columns, expected = batch
    prompts = [f"Prompt {n}: " for n in range(len(answers))]
    queries = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    labels = [json.dumps(context) for context in contexts(columns)]
    function = openrlhf.reward_func(policy, PARSE)
    found = json.loads(json.dumps(function(queries, prompts, labels), allow_nan=False))  # as HTTP would send it
    np.testing.assert_allclose(found["rewards"], np.nan_to_num(expected.reward), atol=1e-9)
    assert set(found["extra_logs"]) == set(policy.rules)
    one = function(queries[:1], prompts[:1], labels[:1])
    assert one["rewards"] == pytest.approx(found["rewards"][0]) and isinstance(one["extra_logs"]["variety"], float)
    with pytest.raises(UsageError, match="is no JSON object"):
        function(queries[:1], prompts[:1], ["u1"])


def test_context_without_history_has_that_of_the_data(policy: LoadedPolicy) -> None:
    ids = list(simulator().item_ids[:5])
    whole = policy.score([ids, ids], user=["u0001", "u0001"], history=[None, []])
    assert whole.rules["relevance"].shape == (2,)
    of_data = policy.score([ids], user="u0001")
    assert whole.reward[0] == of_data.reward[0]
