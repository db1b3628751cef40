"""Writes rules as formulas for engineers, with denominators, shapes, missing values and enforcement."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill
from typing import assert_never

from recpolicy.errors.words import WIDTH
from recpolicy.explain import quotas, values
from recpolicy.explain.expressions import condition, label, quantity
from recpolicy.explain.measures import brief
from recpolicy.explain.weights import shares
from recpolicy.language.policy import (
    Average,
    Block,
    Boost,
    Column,
    Different,
    Expr,
    Level,
    Measure,
    Missing,
    Novelty,
    Per,
    Policy,
    Portion,
    Quota,
    Ramp,
    Relevance,
    Reward,
    Rule,
    Serendipity,
    Spread,
    Target,
    Where,
)
from recpolicy.types import Type

NOTATION = "B rows, K places, i_r the item at rank r (from 1), w(r) = 1 / log2(r + 1); NaN is not applicable."


@dataclass(frozen=True)
class _Formula:
    """A rule's value over the slate, its marginal at rank r (from 1), what missing does, and where it applies."""

    value: str
    marginal: str
    missing: str
    applies: str = ""


def engineer(node: Rule | Block | Target, policy: Policy) -> str:
    """Returns a rule, a block or a target as formulas, in the symbols of `NOTATION`."""
    match node:
        case Block():
            return _lines(node.name, "block", _block(node))
        case Target():
            return _lines(node.name, "target", _target(node))
        case Reward():
            kind, formula = "reward", _measure(node.measure, policy.slate)
        case Boost():
            kind, formula = "bury" if node.bury else "boost", _boost(node, policy.slate)
        case Quota():
            kind, formula = "hard quota" if node.hard else "quota", _quota(node, policy.slate)
        case _:
            assert_never(node)
    rows = _rows(node.weight.only, formula.applies)
    lines = [
        ("value", f"v = {formula.value}"),
        ("marginal", f"m(r) = {formula.marginal}"),
        ("shapes", f"marginals [B, {policy.slate}]; value [B] in [0, 1], their sum; denominators of the full slate"),
        ("weight", _weight(node, policy)),
        ("missing", formula.missing),
        ("applies", rows if rows == _rows(None) else f"{rows}; NaN and weight 0 elsewhere"),
        ("enforced", _enforced(node, policy)),
    ]
    return _lines(node.name, kind, lines)


def _lines(name: str, kind: str, lines: list[tuple[str, str]]) -> str:
    wrapped = [fill(text, WIDTH, initial_indent=f"  {head:<9} ", subsequent_indent=" " * 12) for head, text in lines]
    return "\n".join([f"{kind} {name}", *wrapped])


# ---- measures -------------------------------------------------------------------------------------------------------


def _measure(node: Measure, k: int) -> _Formula:
    match node:
        case Relevance():
            value, marginal = (text.format(k=k) for text in _RELEVANCE[node.metric])
            rows = "with next items (n different ones; hit(r) = 1 where i_r is one of them)"
            return _Formula(value, marginal, "does not arise", rows)
        case Spread(measure=measure, column=column, missing=missing):
            name = label(column)
            most = f"min(values of {name} in the catalog, {k} x longest list)"
            value, marginal, mean = (
                text.format(k=k, pairs=k * (k - 1) // 2, name=name, distance=_distance(column), most=most)
                for text in _SPREAD[measure]
            )
            rows = "whose history has a known value" if measure == "calibration" else ""
            return _Formula(value, marginal, _on_missing(missing, mean), rows)
        case Novelty(column=column):
            return _Formula(
                f"1/{k} sum_r s(i_r), s(i) = -log2(p_i) / log2(N) clipped to [0, 1], p_i = {label(column)} / N, N the "
                "users with training events",
                f"s(i_r) / {k}",
                "an item of unknown popularity has the catalog's mean s",
            )
        case Portion(measure=measure, where=where):
            return _placed(f"1 where {condition(where)}, else 0", k, measure == "exposure", "unknown is 0")
        case Average(measure=measure, operand=operand, missing=missing):
            x = f"{quantity(operand)}, clipped to [0, 1]"
            return _placed(x, k, measure == "discounted", _on_missing(missing, "the mean of x over the catalog"))
        case Serendipity(column=column, missing=missing):
            return _Formula(
                f"sum over hits of d(i_r) / min({k}, n), d(i) = mean over the history's items h of dist(i, h) in "
                f"{label(column)} ({_distance(column)}), n different next items",
                f"hit(r) d(i_r) / min({k}, n)",
                _on_missing(missing, "the catalog's mean distance"),
                "with next items and a known value in the history",
            )
        case _:
            assert_never(node)


# The value and the marginal of each measure, and for a spread the mean that stands for a missing value.
_RELEVANCE = {
    "ndcg": (
        "sum_r hit(r) w(r) / sum_(r <= min({k}, n)) w(r)",
        "hit(r) w(r) / sum_(s <= min({k}, n)) w(s)",
    ),
    "hit": ("1 where any hit(r), else 0", "1 at the first hit, else 0"),
    "recall": ("sum_r hit(r) / n", "hit(r) / n"),
    "precision": ("sum_r hit(r) / {k}", "hit(r) / {k}"),
    "mrr": ("1 / rank of the first hit", "1 / r at the first hit, else 0"),
    "lcs": (
        "length of the longest common subsequence of slate and next items / min({k}, n)",
        "(lcs(i_1..i_r) - lcs(i_1..i_(r-1))) / min({k}, n)",
    ),
}


_SPREAD = {
    "distance": (
        "sum over pairs r < s of d(i_r, i_s) / {pairs}, d in {name}: {distance}",
        "sum_(s < r) d(i_s, i_r) / {pairs}",
        "the mean distance of random pairs of the catalog",
    ),
    "distinct": (
        "min(1, different values / {most})",
        "values of i_r that no place above has / {most}",
        "the mean an item adds in random slates of the catalog",
    ),
    "entropy": (
        "T/{k} H(q) / log2 {most}, q the slate's distribution over {name} (each item 1, shared among its values), T "
        "items with a value",
        "v(i_1..i_r) - v(i_1..i_(r-1))",
        "the mean an item adds in random slates of the catalog",
    ),
    "calibration": (
        "T/{k} (1 - JSD(p, q)), base 2, p and q the history's and the slate's distribution over {name}, T items with a "
        "value",
        "v(i_1..i_r) - v(i_1..i_(r-1))",
        "the catalog's mean distribution",
    ),
}


def _placed(x: str, k: int, discounted: bool, missing: str) -> _Formula:
    if not discounted:
        return _Formula(f"1/{k} sum_r x(i_r), x = {x}", f"x(i_r) / {k}", missing)
    total = f"sum_(r <= {k}) w(r)"
    return _Formula(f"sum_r w(r) x(i_r) / {total}, x = {x}", f"w(r) x(i_r) / {total}", missing)


def _distance(column: Column) -> str:
    if column.type.is_measured:
        return "|a - b| / range in the catalog"
    return "1 - |A and B| / |A or B| (Jaccard)" if column.type is Type.LIST else "0 where equal, else 1"


def _on_missing(missing: Missing, mean: str) -> str:
    match missing:
        case Missing.MEAN:
            return f"on missing mean: contributes {mean}"
        case Missing.ZERO:
            return "on missing zero: contributes 0"
        case Missing.FAIL:
            return "on missing fail: the first such item takes the value so far back, and nothing adds after it"
        case _:
            assert_never(missing)


# ---- boosts and quotas ----------------------------------------------------------------------------------------------


def _boost(node: Boost, k: int) -> _Formula:
    limit = k if node.limit is None else min(node.limit, k)
    total = f"sum_(s <= {limit}) w(s)"
    first = "" if limit == k else f" among the first {limit} that match"
    return _Formula(
        f"sum_r w(r) x(r) / {total}, x(r) = 1 where {condition(node.where)}{first}, else 0",
        f"w(r) x(r) / {total}",
        "unknown matches" if node.bury else "unknown does not match",
    )


def _quota(node: Quota, k: int) -> _Formula:
    low, high = quotas.least(node, k), quotas.most(node, k)
    bounds = []
    if low is not None:
        bounds.append((*_least(node, low, k), "is not counted by the at-least"))
    if high is not None:
        places = k if quotas.slides(node) else quotas.length(node, k)
        value = f"sum_r ok(r) / {places}, ok(r) = an item stands there that does not take c past {high}"
        bounds.append((value, f"ok(r) / {places}", "is counted by the at-most"))
    half = "" if len(bounds) == 1 else "1/2 "
    value, marginal = (" + ".join(f"{half}{bound[part]}" for bound in bounds) for part in (0, 1))
    missing = f"unknown {', '.join(text for _, _, text in bounds)}"
    if isinstance(node.counted, Per):
        missing = "all unknown values are one and the same"
    return _Formula(f"{value}; c counts {_counting(node)}{_window(node)}", marginal, missing)


def _least(node: Quota, n: int, k: int) -> tuple[str, str]:
    if n == 0:
        return f"sum_r held(r) / {k}", f"held(r) / {k}, 1 where the place holds an item"
    if quotas.slides(node):
        windows = k - quotas.length(node, k) + 1
        return f"mean over the {windows} windows of min(1, c / {n})", "v(i_1..i_r) - v(i_1..i_(r-1))"
    return f"min(1, c / {n})", f"(min(c_r, {n}) - min(c_(r-1), {n})) / {n}"


def _counting(node: Quota) -> str:
    match node.counted:
        case Where(predicate=predicate):
            return f"places where {condition(predicate)}"
        case Per(column=column):
            return f"places of each {values.singular(label(column))} by itself; what is in excess does not count"
        case Different(column=column):
            return f"different {values.plural(values.singular(label(column)))}"
        case _:
            assert_never(node.counted)


def _window(node: Quota) -> str:
    match node.window:
        case None:
            return ""
        case window if window.sliding:
            last = f" in the last {window.length} places; what is in excess does not count"
            each = f" in a window of {window.length} places"
            return each if node.at_most is None else last if node.at_least is None else f"{each}, or{last}"
        case window:
            return f" in ranks 1 to {window.length}; later ranks add 0"


# ---- weight and enforcement -----------------------------------------------------------------------------------------


def _weight(node: Rule, policy: Policy) -> str:
    weight = node.weight
    levels = [_level(weight.base), *(f"{_level(level)} where {condition(branch)}" for branch, level in weight.changes)]
    share = values.share(shares(policy, weight.only)[node.name])
    whole = "the sum of weights" if weight.only is None else "the sum of weights in its segment"
    return f"{'; '.join(levels)}; {share} of {whole}"


def _level(value: Level) -> str:
    if isinstance(value, Ramp):
        start, end, over = values.number(value.start), values.number(value.end), values.number(value.over)
        return f"{start} + ({end} - {start}) min(1, progress / {over})"
    return values.number(value)


def _enforced(node: Rule, policy: Policy) -> str:
    if isinstance(node, Quota) and node.hard:
        ways = ["items past the at-most are masked while decoding"] if node.at_most is not None else []
        if node.at_least is not None:
            ways.append("matching items are forced once the places left equal the shortfall")
        return "; ".join(ways)
    sign = "-" if isinstance(node, Boost) and node.bury else "+"
    blocked = ""
    if policy.blocks:
        end = "v = 1, at the first blocked place" if sign == "-" else "v = 0"
        blocked = f"; a slate with a blocked item: {end}"
    return f"by reward alone: R = ... {sign} weight v / sum of weights{blocked}"


def _block(node: Block) -> list[tuple[str, str]]:
    enforced = "masked while decoding; a slate with a hit has every marginal 0 and every bury 1; audited in reports"
    return [
        ("hit", f"[B, items] True where {condition(node.where)}, or where that is unknown"),
        ("applies", f"{_rows(node.only)}{'' if node.only is None else ', or where that is unknown'}"),
        ("enforced", enforced),
    ]


def _rows(only: Expr | None, needs: str = "") -> str:
    conditions = [text for text in ("" if only is None else f"where {condition(only)}", needs) if text]
    return f"rows {', and '.join(conditions)}" if conditions else "every row"


def _target(node: Target) -> list[tuple[str, str]]:
    metric = node.metric if isinstance(node.metric, str) else brief(node.metric)
    bound = f"{values.number(node.bound)}{' x the baseline' if node.of_baseline else ''}"
    return [
        ("demand", f"mean of {metric} {node.op} {bound}"),
        ("applies", _rows(node.only)),
        ("enforced", "no weight of its own: training finds a multiplier; judged with a 95 % bootstrap interval"),
    ]
