"""Nothing in, a section of BENCHMARKS.md out: how long `recpolicy check` takes to answer, beside importing NumPy."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import page

REPEATS = 15
LINES = 200

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import numpy'": ["-c", "import numpy"],
    "recpolicy check balanced": ["-m", "recpolicy", "check", "balanced"],
    f"recpolicy check long.policy, {LINES} lines with every construct": ["-m", "recpolicy", "check", "long.policy"],
}

HEADER = """policy "long" {
  language = 1
  version  = 1
  owner    = "growth-team"
  data     = "ml-100k"
  slate    = 10
}
"""

HOUSE = """let recent = item.age < 2 years
quota one_voice hard = at most 2 per item.creator
reward relevance weight 0.5 = ndcg(next_items)
"""

ONCE = """use "house.policy"
override reward relevance weight 0.7 = ndcg(next_items)
param start = 2020-01-01
reward order     weight 0.1  = lcs(next_items)
reward quality   weight 0.1  = mean(percentile(item.popularity)) on missing zero
reward found     weight 0.1  = serendipity(item.genres) from start because "found by luck"
reward variety   weight ramp 0 to 0.2 over 50% of training = distance(item.genres)
reward surprise  weight 0.1  = novelty(item.popularity)
reward taste     weight 0.1  = calibration(item.genres)
reward mix       weight 0.05 = entropy(item.genres)
reward depth     weight 0.05 = discounted(min(1, max(0, log(item.popularity + 1) / 10)))
quota  spread    weight 0.1  = at least 4 distinct item.genres
quota  rhythm    weight 0.1  = at most 1 where "Drama" in item.genres in any 3 places in a row
quota  top_spot  weight 0.1  = at most 1 where "War" in item.genres in top 3
quota  new_share weight 0.1  = between 10% and 40% where item.published within the last 2 years
target keep   = relevance >= 97% of baseline
target stars  = largest_share(item.creator) <= 50%
target growth = exposure(recent) >= 1%
"""

AGAIN = """
# Part {n}: rules for one taste.
let liked{n} = share("Drama" in item.genres) of history > {n}% and count() of history >= {n}
param size{n}  = 0.{n}
boost drama{n} weight size{n} = "War" in item.genres and not (item.age > {n}0 days or item.creator is missing) limit 3
bury  old{n}   weight 0.{n}   = item.published more than {n} years ago and item.creator in ["A", "B"]
block own{n}   = item.title is "Title {n}" and user.age < {n}
when user.age is {n} and user.gender is "F" {{
  reward surprise weight 0.{n}
  boost  young{n} weight 0.1 = abs(item.popularity - {n}) * 2 < 9 until 2999-12-31
}}
test "part {n}" {{
  user  {{age: {n}, gender: "F"}}
  slate [ {{title: "Title {n}"}}, {{genres: ["Drama"], age: {n} years}}, {{creator: "A"}}, hole ]
  case "older" {{
    user {{age: 9{n}}}
    expect own{n} is not blocked
    expect drama{n} = 0
  }}
}}
"""


def write(folder: Path) -> None:
    """The long policy and the one it uses; the branches differ in age, so that none overlaps another."""
    text = HEADER + ONCE
    n = 0
    while text.count("\n") < LINES:
        n += 1
        text += AGAIN.format(n=n)
    (folder / "long.policy").write_text(text, "utf-8")
    (folder / "house.policy").write_text(HOUSE, "utf-8")


def seconds(arguments: list[str], folder: str) -> float:
    """Wall-clock time of one fresh process in `folder`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return time.perf_counter() - began


def main() -> None:
    """Measure the commands in turn, so that a busy moment of the machine falls on all of them, and write the page."""
    with TemporaryDirectory() as folder:
        write(Path(folder))
        for arguments in COMMANDS.values():  # fills the file cache
            seconds(arguments, folder)
        rounds = [[seconds(arguments, folder) for arguments in COMMANDS.values()] for _ in range(REPEATS)]
    rows = [
        [f"`{command}`", f"{median(r[at] for r in rounds):.3f} s", f"{median(r[at] / r[1] for r in rounds):.2f}"]
        for at, command in enumerate(COMMANDS)
    ]
    page.write(
        "Start-up",
        "`recpolicy check` should answer before anybody waits, so it imports neither NumPy nor torch: within 0.3 s and "
        "three times\n`import numpy`, for a policy of 200 lines too.\n\n"
        f"{page.table(['command', f'median of {REPEATS}', 'times `import numpy`'], rows)}\n{page.machine()}",
    )


if __name__ == "__main__":
    main()
