"""Renders tokens, and the token types that would fit, as phrases for messages."""

from __future__ import annotations

from collections.abc import Sequence, Set

from lark import Token

from recpolicy.language.parser.grammar import lalr
from recpolicy.language.parser.tokens import STATEMENTS, starts_line

_LITERALS = frozenset(("NUMBER", "STRING", "DATE", "TRUE", "FALSE", "NOW"))
VALUES = _LITERALS | {"COLUMN", "NAME", "HOLE", "DISTINCT", "LPAR", "LSQB", "MINUS", "NOT"}
COMPARISONS = frozenset(("LESSTHAN", "MORETHAN", "LE", "GE", "IS", "IN", "WITHIN", "MORE"))
_ARITHMETIC = frozenset(("PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "UNIT"))
_COUNTS = ("WEIGHT", "RAMP", "LIMIT", "LEAST", "MOST", "BETWEEN", "TOP", "ANY")

_NAMES = {
    **{t.name: f"`{t.pattern.value}`" for t in lalr().terminals if t.pattern.type == "str"},
    "NAME": "a name",
    "STRING": "a quoted text",
    "NUMBER": "a number",
    "DATE": "a date such as `2026-03-31`",
    "COLUMN": "a column such as `item.age`",
    "$END": "the end of the file",
    "ON": "`on missing`",
    "A": "`a row`",
    "INSIDE": "`in top` or `in any`",
}

_WINDOW = "the places a quota looks at are written `in top 3` or `in any 5 places in a row`"
_FORMS = {
    "POLICY": 'a header is written `policy "NAME" { language = 1  data = "ml-100k"  slate = 10 }`',
    "USE": 'the rules of another file are taken in with `use "house_rules.policy"`',
    "OVERRIDE": "`override` stands before a `let`, a `param`, a rule or a new weight, "
    "as in `override let fresh = item.age < 30 days`",
    "LET": "a definition is written `let NAME = EXPRESSION`, as in `let long = item.length > 2 hours`",
    "PARAM": "a parameter is written `param NAME = VALUE`, as in `param most_ads = 20%`",
    "REWARD": "a reward is written `reward NAME weight W = MEASURE`, "
    "as in `reward relevance weight 1 = ndcg(next_items)`",
    "BOOST": "a boost is written `boost NAME weight W = CONDITION limit N`; `limit N` may be left out",
    "BURY": "a bury is written `bury NAME weight W = CONDITION limit N`; `limit N` may be left out",
    "QUOTA": "a quota is written `quota NAME weight W = at least N where CONDITION`, or `hard` for the weight; "
    "also `at most N per item.COLUMN`, `at least N distinct item.COLUMN`, `between A and B where CONDITION`",
    "BLOCK": "a block is written `block NAME = CONDITION`",
    "TARGET": "a target is written `target NAME = MEASURE >= BOUND`, as in `target seen = share(item.is_ad) <= 10%` "
    "or `target keep = relevance >= 97% of baseline`",
    "WHEN": "a branch is written `when CONDITION { RULES }`",
    "TEST": 'a test is written `test "TITLE" { PARTS }`; its parts are `user {age: 30}`, `history [...]`, '
    "`next_items [...]`, `now 2026-03-31`, `slate [{price: 3}, {}]`, `expect RULE = VALUE` and `case`",
    "CASE": 'a case of a test is written `case "TITLE" { PARTS }`',
    "EXPECT": "an expectation is written `expect RULE = VALUE`, `expect QUOTA is satisfied`, "
    "`expect BLOCK is blocked` or, of two named slates, `expect ONE above OTHER`",
    "RAMP": "a weight that changes while training is written `weight ramp 0 to 1 over 50% of training`",
    "INSIDE": _WINDOW,
    "FROM": "the first day of a rule is written `from 2026-03-31`",
    "UNTIL": "the last day of a rule is written `until 2026-03-31`",
    "BECAUSE": 'a reason is a quoted text, as in `because "asked for by the shops"`',
}
_ANY_STATEMENT = (
    "a statement starts with `let`, `reward`, `boost`, `bury`, `quota`, `block`, `target` or `when`, "
    "or with `param`, `use`, `override` or `test`"
)
_AGO = "for numbers write `>`; `more than 30 days ago` is for dates"


def seen(token: Token) -> str:
    """Renders a token for a message."""
    return "end of the file" if token.type == "$END" else f"`{token}`"


def expected(tokens: Sequence[Token], at: int, fitting: Set[str]) -> str:
    """Renders the fitting token types in words, the most specific first."""
    left = set(fitting)
    parts = []
    if {"NUMBER", "COLUMN"} <= left:
        wants_number = at > 0 and tokens[at - 1].type in _COUNTS
        parts.append("a number" if wants_number else "an expression")
        left -= VALUES
    if {"AND", "OR"} <= left:
        parts.append("an operator")
        left -= COMPARISONS | {"AND", "OR", "NOT"}
    if {"GE", "LE"} <= left:  # behind a target's measure
        left -= {"LPAR", "LESSTHAN", "MORETHAN"}
    left -= _ARITHMETIC  # may follow every number
    if {"LET", "REWARD"} <= left:
        named = "the next statement" if at else "a statement"
        parts.append(named if "USE" in left else "`let`, `param`, a rule or a new weight")
        left -= {*STATEMENTS, "$END", "FROM", "UNTIL", "BECAUSE", "INSIDE"}  # may follow every rule
    if {"EXPECT", "NAME"} <= left:
        parts.append("the next part of the test")
        left -= {"EXPECT", "NAME", "NOW", "CASE"}
    names = sorted(_NAMES.get(kind, f"`{kind.lower()}`") for kind in left)
    *others, last = [*names, *parts]
    return f"{', '.join(others)} or {last}" if others else last


def form(tokens: Sequence[Token], at: int, fitting: Set[str] = frozenset(), *, stops: bool = False) -> str:
    """Explains how the statement around `tokens[at]` is written, or the one before it if the text `stops` too early."""
    if "AGO" in fitting and any(token.type == "MORE" for token in tokens[max(0, at - 4) : at]):
        return _AGO
    if "PLACES" in fitting:
        return _WINDOW
    fresh = starts_line(tokens, at) and not stops
    if fresh and tokens[at].type == "NAME" and {"USE", "EXPECT"} & fitting:
        return _ANY_STATEMENT if "USE" in fitting else _FORMS["TEST"]
    kinds = (tokens[i].type for i in range(at if fresh else at - 1, -1, -1))
    return next((_FORMS[kind] for kind in kinds if kind in _FORMS), _ANY_STATEMENT)
