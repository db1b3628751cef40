"""Lets models decode by a policy that they were not trained for, and writes "Decoding by another policy".

`python -m benchmarks.decoding --runs runs/learning` takes the runs of `benchmarks.learning` for the policies
`relevance` and `balanced` on ML-100K. The lists of the first, improved by `balanced` as `recpolicy recommend --policy
balanced` improves them, are compared on the test events with those of the models that were trained for it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean

from benchmarks import page
from recpolicy.evaluation import metrics
from recpolicy.language import checker
from recpolicy.runs import Run
from recpolicy.search import expected
from recpolicy.search.expected import Objective
from recpolicy.trainer import pipeline
from recpolicy.trainer.config import recorded
from recpolicy.trainer.evaluation import rerank_control
from recpolicy.trainer.evaluation.evaluator import Evaluator
from recpolicy.trainer.models import user_model

TRAINED_FOR, ASKED_FOR = "relevance", "balanced"
LEAST = 0.98
"""Of the reward of training for the policy that is asked for."""


def borrowed(run: Run, strength: float) -> tuple[float, float]:
    """Returns NDCG and whole reward by the policy asked for, of a model trained for another."""
    config = recorded(run)
    context = pipeline.prepare(checker.read(ASKED_FOR), run.read()["source"], "tiny", config)
    compiled, rows = context.compiled, context.tested()
    users = user_model.load(run.folder, context.load(run.folder / "sft"), context.prompter)
    shares, trained = users.next_item_log_probs(rows), context.load(run.folder / "model")
    prior = user_model.prior(shares, context.k)
    evaluator = Evaluator.of(trained, context.prompter, compiled, rows, prior)
    likely = user_model.with_label_probabilities(
        rows, shares, context.expected_events(rows), order=compiled.needs_order
    )
    objective = Objective(compiled, strength, rerank_control.target_multipliers(compiled, strength))
    slates = expected.slates(likely, evaluator.legal, objective, start=evaluator.greedy(trained))
    real = replace(rows, label_probabilities=None)
    return metrics.mean(metrics.accuracy("ndcg", real, slates)), metrics.mean(compiled.total(real, slates))


def main() -> None:
    """Measures every seed that has both runs, then writes the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, metavar="FOLDER", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    arguments = parser.parse_args()
    rows, shares = [], []
    for seed in arguments.seeds:
        other, own = (arguments.runs / f"{policy}-{seed}" / "run" for policy in (TRAINED_FOR, ASKED_FOR))
        if not ((other / "eval.json").is_file() and (own / "eval.json").is_file()):
            continue
        systems = json.loads((own / "eval.json").read_text("utf-8"))["systems"]
        strength = systems["rerank"]["settings"]["strength"]
        ndcg, reward = borrowed(Run(other), strength)
        trained = {name: systems["grpo"]["metrics"][name]["mean"] for name in ("ndcg", "reward")}
        shares.append(reward / trained["reward"])
        means = (ndcg, reward, trained["ndcg"], trained["reward"])
        rows.append([str(seed), f"{strength:g}", *(f"{value:.3f}" for value in means), f"{shares[-1]:.3f}"])
    if not rows:
        sys.exit(f"{arguments.runs} holds no seed with complete runs of both policies")
    head = ["seed", "strength", "NDCG@10", "reward", "NDCG@10, trained for it", "reward, trained for it", "share"]
    told = (
        f"Models trained for `{TRAINED_FOR}` on ML-100K, their lists improved by `{ASKED_FOR}` at the strength that\n"
        f"its control was given on validation users, beside models trained for `{ASKED_FOR}`; test events.\n"
    )
    share = f"Share of the reward: {mean(shares):.3f}, asked >= {LEAST}: {page.holds(mean(shares) >= LEAST)}.\n"
    page.write("Decoding by another policy", "\n".join([told, page.table(head, rows), share, page.machine()]))


if __name__ == "__main__":
    main()
