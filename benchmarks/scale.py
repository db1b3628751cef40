"""Nothing in, a section of BENCHMARKS.md out: what training costs for catalogs of 2,000, 20,000 and 200,000 items.

`python -m benchmarks.scale --runs runs/scale` writes the data, trains `tiny` on each size with the same few steps and
checks a million items. What is complete in the folder is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import long_tail, page
from recpolicy.dataset.candidates import LARGE, is_large
from recpolicy.trainer.config import Tiny
from recpolicy.trainer.decoding import prefix_sharing
from recpolicy.trainer.models import recommenders, tiny
from recpolicy.trainer.stages import sft

SIZES = (2_000, 20_000, 200_000)
ITEMS_OF_A_USER, EVENTS_OF_AN_ITEM = 4, 10
MILLION = 1_000_000
SETTINGS = """validation_users = 300
test_users = 500
[sft]
steps = {steps}
evaluate_every = 50
[grpo]
steps = 10
prompts_per_step = 8
evaluate_every = 10
"""
STEPS = 100
"""Steps of SFT."""
POLICY = """policy "shelf" {
  language = 1
  data     = "long tail"
  slate    = 10
}

reward relevance weight 0.6 = ndcg(next_items)
reward variety   weight 0.2 = distance(item.genres)
reward surprise  weight 0.1 = novelty(item.popularity)
quota  one_voice weight 0.1 = at most 2 per item.creator
block  dear = item.price > 60
"""
SYSTEMS = ("popularity", "itemknn", "ease", "user_model", "sft", "grpo")
BATCH, TOKENS, REPEATS = 32, 48, 5
"""Rows and tokens of a measured step, and how often it is measured."""
FEW = 1000
"""Items of a catalog beside which a step's time is compared."""


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    seconds: float
    processor: float
    """Seconds of processor time: the same also where other programs run."""
    peak: float
    """Most memory, GiB."""


def program(*arguments: str, cache: Path, log: Path) -> Cost:
    """Runs the program on one core, its output in `log`; returns what it took. Where it fails, so do we."""
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "recpolicy", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RECPOLICY_CACHE": str(cache.resolve())},
        )
        _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        sys.exit(log.read_text("utf-8")[-2000:])
    return Cost(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def measured(path: Path, *arguments: str, cache: Path) -> Cost:
    """Returns what the program took; the file `path` keeps it, and it is run only where there is none."""
    if not path.is_file():
        cost = program(*arguments, cache=cache, log=path.with_suffix(".log"))
        path.write_text(json.dumps(asdict(cost)), encoding="utf-8")
    return Cost(**json.loads(path.read_text("utf-8")))


def sft_step(items: int) -> tuple[float, float]:
    """Measures a step of SFT on a catalog of so many items: loss, gradients, AdamW and the running average.

    Returns the seconds of all, and of AdamW and the running average alone.
    """
    tokenizer = tiny.tokenizer(["a user"], items)
    form = recommenders.answer_format(tokenizer, items, 10, 0)
    model = tiny.decoder(Tiny(), tokenizer, TOKENS, 0)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    average = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    ids = torch.randint(form.item_base, form.item_base + items, (BATCH, TOKENS))
    whole, update = [], []
    for _ in range(REPEATS):
        began = time.perf_counter()
        states, _ = prefix_sharing.read(model, ids, torch.ones_like(ids), use_cache=False)
        states, tokens = states[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        if is_large(items):
            loss = sft.sampled_cross_entropy(model, form, states, tokens)
        else:
            loss = prefix_sharing.mean_cross_entropy(model, states, tokens)
        loss.backward()
        updating = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        for name, weight in model.named_parameters():
            average[name].lerp_(weight.detach(), 0.01)
        whole.append(time.perf_counter() - began)
        update.append(time.perf_counter() - updating)
    return median(whole[1:]), median(update[1:])


def train(folder: Path, items: int, cache: Path) -> tuple[Cost, dict[str, Any], float]:
    """Trains on a catalog of so many items: returns the cost, `eval.json` and the median seconds of a GRPO step."""
    policy, settings, run = folder / "shelf.policy", folder / "scale.toml", folder / f"run-{items}"
    policy.write_text(POLICY, encoding="utf-8")
    settings.write_text(SETTINGS.format(steps=STEPS), encoding="utf-8")
    source = long_tail.write(folder / f"data-{items}", items, items // ITEMS_OF_A_USER, items * EVENTS_OF_AN_ITEM)
    arguments = ("train", str(policy), "--data", str(source), "--model", "tiny", "--config", str(settings))
    cost = measured(folder / f"train-{items}.json", *arguments, "--out", str(run), cache=cache)
    log = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    step = median(line["step_time"] for line in log if "step_time" in line)
    return cost, json.loads((run / "eval.json").read_text("utf-8")), step


def section(folder: Path) -> str:
    """Measures all sizes and returns the section's text."""
    rows, cache, (few, _) = [], folder / "cache", sft_step(FEW)
    for items in SIZES:
        cost, evaluation, grpo = train(folder, items, cache)
        systems, (step, update) = evaluation["systems"], sft_step(items)
        ndcg = [f"{systems[name]['metrics']['ndcg']['mean']:.3f}" if name in systems else "-" for name in SYSTEMS]
        share = f"{update / step if is_large(items) else max(0.0, 1 - few / step):.0%}"
        rows.append(
            [
                f"{items:,}",
                f"{cost.seconds:.0f} s",
                f"{cost.processor:.0f} s",
                f"{cost.peak:.1f} GiB",
                *ndcg,
                f"{step:.2f} s",
                share,
                f"{grpo:.2f} s",
            ]
        )
    head = ["items", "time", "of a core", "peak memory", *SYSTEMS, "SFT step", "of it by catalog", "GRPO step"]
    return f"""
`tiny` with {STEPS} steps of SFT and 10 of GRPO on made-up data with a long tail
([long_tail.py](benchmarks/long_tail.py)): {EVENTS_OF_AN_ITEM} events an item, {ITEMS_OF_A_USER} items a user. Time and
memory are those of the whole `recpolicy train`, evaluation included; "of a core" is processor time, which other
programs on the machine do not change. NDCG@10 is over the whole catalog.

{page.table(head, rows)}
"Of it by catalog" is the share of an SFT step ({BATCH} rows of {TOKENS} tokens) that grows with the catalog. Up to
{LARGE:,} items that is the softmax over all items: what the step takes longer than on {FEW:,}. Beyond, the softmax is
over a sample, and it is AdamW and the running average of the item embeddings, which have a row for every item.

{checks(folder, cache)}
{page.machine()}
"""


def checks(folder: Path, cache: Path) -> str:
    """Checks a million items and ten million events: a table of what that takes."""
    source = str(long_tail.write(folder / f"data-{MILLION}", MILLION, MILLION // 4, MILLION * EVENTS_OF_AN_ITEM))
    data = measured(folder / "data-check.json", "data", "check", source, cache=cache)
    policy = str(folder / "shelf.policy")
    policies = measured(folder / "policy-check.json", "check", policy, "--data", source, cache=cache)
    rows = [
        [
            f"`{name}`",
            f"{cost.seconds:.0f} s",
            f"{cost.processor:.0f} s",
            f"{cost.peak:.1f} GiB",
            page.holds(cost.processor < 60 and cost.peak < 4),
        ]
        for name, cost in (("recpolicy data check", data), ("recpolicy check --data", policies))
    ]
    head = [
        f"{MILLION:,} items, {MILLION * EVENTS_OF_AN_ITEM:,} events",
        "time",
        "of a core",
        "peak memory",
        "within 60 s of a core and 4 GiB",
    ]
    return page.table(head, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=Path("runs/scale"), help="the folder for data and runs")
    folder = parser.parse_args(arguments).runs
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    page.write("Scale", section(folder))


if __name__ == "__main__":
    main()
