"""Nothing in, the section "Scoring" of BENCHMARKS.md out: slates a second of `recpolicy score` on one core, and memory.

`python -m benchmarks.scoring 500000` takes 500,000 slates instead of 5,000,000.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import feed, page

SLATES = 5_000_000
STEP = 250_000
USERS, ITEMS, CREATORS, EVENTS, K, NEXT = 20_000, 10_000, 4_000, 1_000_000, 10, 3
DAY = 86_400
BEGIN = 1_672_531_200

COMMAND = """
import os, re, sys, time
began = time.perf_counter()
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
from recpolicy.cli import main
code = main(sys.argv[1:])
wall, busy = time.perf_counter() - began, time.process_time()
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]  # ru_maxrss begins at the parent's
print(wall, busy, peak, file=sys.stderr)
sys.exit(code)
"""


def shop(folder: Path) -> None:
    """A platform with the columns of the simulated one, which has too few users and items for this."""
    rng = np.random.default_rng(0)
    topics = [f"topic {i}" for i in range(18)]
    items: dict[str, Any] = {
        "item_id": ids("p", ITEMS),
        "title": ids("post ", ITEMS),
        "topics": [[topics[t] for t in rng.permutation(18)[: rng.integers(1, 4)]] for _ in range(ITEMS)],
        "creator_id": ids("c", CREATORS).take(pa.array(rng.integers(0, CREATORS, ITEMS))),
        "published": BEGIN + np.floor(rng.uniform(0, 720, ITEMS)) * DAY,
        "length_s": np.round(rng.lognormal(3.5, 0.7, ITEMS)),
        "language": rng.choice(["en", "es", "de", "pt"], ITEMS),
        "is_ad": rng.random(ITEMS) < 0.1,
        "report_rate": np.round(rng.beta(1, 60, ITEMS), 4),
        "age_rating": rng.choice([0, 12, 16, 18], ITEMS, p=[0.9, 0.05, 0.03, 0.02]),
    }
    users: dict[str, Any] = {
        "user_id": ids("u", USERS),
        "age": rng.integers(13, 71, USERS),
        "country": rng.choice(["Chile", "Germany", "Ghana", "Portugal"], USERS),
        "language": rng.choice(["en", "es", "de", "pt"], USERS),
        "last_seen": np.floor(BEGIN + 720 * DAY - rng.exponential(30 * DAY, USERS)),
    }
    events: dict[str, Any] = {
        "user_id": users["user_id"].take(pa.array(rng.integers(0, USERS, EVENTS))),
        "item_id": items["item_id"].take(pa.array(popular(rng, EVENTS))),
        "timestamp": np.floor(BEGIN + rng.uniform(600, 720, EVENTS) * DAY),
    }
    folder.mkdir()
    for name, table in (("items", items), ("users", users), ("interactions", events)):
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    (folder / "schema.toml").write_text(files("recpolicy.data").joinpath("simulator.toml").read_text("utf-8"), "utf-8")


def ids(prefix: str, count: int) -> pa.Array:
    """As many ids."""
    return pa.array([f"{prefix}{i:06}" for i in range(count)])


def popular(rng: np.random.Generator, count: int) -> Any:
    """Items by row, a few of them taken by many."""
    return np.minimum(ITEMS - 1, rng.exponential(ITEMS / 5, count).astype(np.int64))


def slates(count: int) -> Iterator[pa.Table]:
    """Served slates, `STEP` at a time: 1 of 500 places repeats an item, 1 of 1,000 is unknown."""
    rng = np.random.default_rng(1)
    users, items = ids("u", USERS), pa.array([*ids("p", ITEMS).to_pylist(), "gone"])
    for first in range(0, count, STEP):
        b = min(STEP, count - first)
        served = popular(rng, b * K)
        served[rng.random(b * K) < 0.001] = ITEMS
        taken = served.reshape(b, K)[:, rng.permutation(K)[:NEXT]].ravel()
        yield pa.table(
            {
                "user_id": users.take(pa.array(rng.integers(0, USERS, b))),
                "items": pa.ListArray.from_arrays(
                    np.arange(0, b * K + 1, K, dtype=np.int32), items.take(pa.array(served))
                ),
                "next_items": pa.ListArray.from_arrays(
                    np.arange(0, b * NEXT + 1, NEXT, dtype=np.int32), items.take(pa.array(taken))
                ),
            }
        )


def write(path: Path, count: int) -> None:
    """A file of slates, never held as a whole."""
    if path.suffix == ".jsonl":
        with path.open("w", encoding="utf-8") as file:
            for table in slates(count):
                rows = zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True)
                file.writelines(
                    f'{{"user_id": "{user}", "items": {quoted(served)}, "next_items": {quoted(taken)}}}\n'
                    for user, served, taken in rows
                )
        return
    parts = slates(count)
    first = next(parts)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in parts:
            writer.write_table(table)


def quoted(names: list[str]) -> str:
    """A JSON list of ids."""
    return '["' + '", "'.join(names) + '"]'


def measured(*arguments: str) -> tuple[float, float, float]:
    """Wall-clock and processor seconds and peak memory in MiB of one run of `recpolicy score`, on one core."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMMAND, "score", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(done.stderr)
    wall, busy, peak = map(float, done.stderr.split()[-3:])
    return wall, busy, peak / 1024


def main() -> None:
    """Measure each kind of run once, after one that fills the file cache, and write the section."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else SLATES
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        shop(folder / "shop")
        (folder / "feed.policy").write_text(feed.POLICY.replace('"simulator"', '"shop"'), "utf-8")
        for file, factor, out in (
            ("warm.parquet", 0.01, None),
            ("once.parquet", 1, None),
            ("twice.parquet", 2, None),
            ("once.parquet", 1, "scores.parquet"),
            ("tenth.jsonl", 0.1, None),
        ):
            path, slates = folder / file, max(1, int(count * factor))
            if not path.exists():
                write(path, slates)
            written = ["--out", str(folder / out)] if out else []
            wall, busy, peak = measured(str(folder / "feed.policy"), "--slates", str(path), *written)
            kind = f"{path.suffix[1:]}, scores written" if out else path.suffix[1:]
            speed = [f"{slates / wall:,.0f}", f"{slates / busy:,.0f}"]
            rows.append([kind, f"{slates:,}", f"{wall:.1f} s", *speed, f"{peak:,.0f} MiB"])
            print(*rows[-1], flush=True)
            if factor == 2:
                path.unlink()
    head = ["slates in", "slates", "time", "slates a second", "slates a second of processor time", "peak memory"]
    told = (
        f"`recpolicy score` on files of slates with {K} items and {NEXT} next items each, by the ten rules of the\n"
        f"section Rewards; {ITEMS:,} items, {USERS:,} users, {EVENTS:,} events; one core, the whole command with\n"
        "start-up and reading the data."
    )
    place = f"{page.machine()[:-1]}, pyarrow {version('pyarrow')}."
    page.write("Scoring", f"{told}\n\n{page.table(head, rows[1:])}\n{place}")


if __name__ == "__main__":
    main()
