"""The token that does not fit and what would have fitted in, the finding that helps most out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from lark import Token

from recpolicy.errors import Diagnostic, syntax
from recpolicy.errors.near import near
from recpolicy.parser.build import token_span
from recpolicy.parser.tokens import STATEMENTS, starts_line
from recpolicy.span import Span
from recpolicy.types import UNITS

UNIT_WORDS = tuple(word for unit in UNITS for word in (unit, f"{unit}s"))

NOT_YET = {
    "target": "say it as a quota, such as `quota fresh weight 0.5 = at least 20% where new_creator`",
    "test": "leave the block out for now",
    "param": "write the number where it is used, or `let`",
    "use": "copy the rules into this file",
    "hard": "write `weight` and a number; a `block` is never shown",
    "because": "write the reason in a comment, after `#`",
    "from": "leave the dates out, and remove the rule when it ends",
    "until": "leave the dates out, and remove the rule when it ends",
    "ramp": "write one number as the weight",
    "override": "give each rule a name of its own",
    "history": "rules see `item` and `user` columns; `calibration(...)` compares with the user's history",
    "top": "a quota counts over the whole slate; `boost` and `exposure(...)` favour the top places",
    "any": "a quota counts over the whole slate",
}
"""Words of later versions and what to write until then."""

_OPERATORS = {
    "==": "write `is`",
    "!=": "write `is not`",
    "<>": "write `is not`",
    "&&": "write `and`",
    "&": "write `and`",
    "||": "write `or`",
    "|": "write `or`",
    "!": "write `not`",
    "=": "write `is` to compare; `=` only defines",
    "=>": "write `>=`",
    "=<": "write `<=`",
    "≥": "write `>=`",
    "≤": "write `<=`",
    "≠": "write `is not`",
    "×": "write `*`",
    "÷": "write `/`",
    "−": "write `-`",
    "**": "write the product out, as in `x * x`",
    ":": "write `=`",
    ":=": "write `=`",
    "//": "comments start with `#`",
    "/*": "comments start with `#`, one on each line",
    "--": "comments start with `#`",
    "^": "write the product out, as in `x * x`",
}
"""Operators of other languages."""

_WORDS = {
    **dict.fromkeys(("equals", "equal", "eq"), "write `is`"),
    **dict.fromkeys(("less", "lower", "smaller", "below", "under", "before", "older", "lt"), "write `<`"),
    **dict.fromkeys(("greater", "higher", "larger", "above", "over", "after", "newer", "gt"), "write `>`"),
    **dict.fromkeys(("contains", "includes", "has"), 'turn it round with `in`, as in `"Drama" in item.genres`'),
    **dict.fromkeys(("if", "unless"), "write the condition after `=`"),
    "exactly": "write the number twice, as in `between 2 and 2`",
    "xor": "write it out with `and`, `or` and `not`",
}
"""Words that are plain English but not of the language."""

_VALUES = frozenset(
    ("NUMBER", "STRING", "COLUMN", "NAME", "DATE", "TRUE", "FALSE", "NOW", "LPAR", "LSQB", "MINUS", "NOT", "DISTINCT")
)
_COMPARISONS = frozenset(("LESSTHAN", "MORETHAN", "LE", "GE", "IS", "IN", "WITHIN", "MORE"))
_ARITHMETIC = frozenset(("PLUS", "MINUS", "STAR", "SLASH", "PERCENT", "UNIT"))

_NAMES = {
    "NAME": "a name",
    "STRING": "a quoted text",
    "NUMBER": "a number",
    "COLUMN": "a column such as `item.age`",
    "$END": "the end of the file",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "EQUAL": "`=`",
    "ON": "`on missing`",
    "COMMA": "`,`",
    "LESSTHAN": "`<`",
    "MORETHAN": "`>`",
    "LE": "`<=`",
    "GE": "`>=`",
}

_KEYWORDS = (
    "ago and at between block boost bury distinct false in is last least let limit missing more most not now on or "
    "per policy quota reward than the true when weight where within"
)
RESERVED = frozenset(_KEYWORDS.split()) | {"item", "user", "next_items"} | (NOT_YET.keys() - {"history"})
"""Words that cannot be names: those of the grammar, and those of later versions."""

_FORMS = {
    "POLICY": 'a header is written `policy "NAME" { language = 1  data = "ml-100k"  slate = 10 }`',
    "LET": "a definition is written `let NAME = EXPRESSION`, as in `let long = item.length > 2 hours`",
    "REWARD": "a reward is written `reward NAME weight W = MEASURE`, "
    "as in `reward relevance weight 1 = ndcg(next_items)`",
    "BOOST": "a boost is written `boost NAME weight W = CONDITION limit N`; `limit N` may be left out",
    "BURY": "a bury is written `bury NAME weight W = CONDITION limit N`; `limit N` may be left out",
    "QUOTA": "a quota is written `quota NAME weight W = at least N where CONDITION`; "
    "also `at most N per item.COLUMN`, `at least N distinct item.COLUMN`, `between A and B where CONDITION`",
    "BLOCK": "a block is written `block NAME = CONDITION`",
    "WHEN": "a branch is written `when CONDITION { RULES }`",
}
_ANY_STATEMENT = "a statement starts with `let`, `reward`, `boost`, `bury`, `quota`, `block` or `when`"


def explain(tokens: Sequence[Token], at: int, fitting: frozenset[str]) -> Diagnostic:
    """The finding for `tokens[at]`, which stands where only the token types in `fitting` may stand."""
    token, span = tokens[at], token_span(tokens[at])
    return (
        _misspelt_table(tokens, at)
        or _of_a_later_version(tokens, at)
        or _foreign_operator(tokens, at, fitting)
        or (_unreadable(tokens, at) if token.type == "UNKNOWN" else None)
        or (_unclosed(tokens, at) if "RBRACE" in fitting and token.type in (*STATEMENTS, "$END") else None)
        or (syntax.stray_brace(span) if token.type == "RBRACE" and not _open_braces(tokens, at) else None)
        or _wrong_name(tokens, at)
        or (syntax.second_header(span) if token.type == "POLICY" else None)
        or _unquoted(tokens, at, fitting)
        or _foreign_word(tokens, at)
        or _thousands(tokens, at)
        or _misspelt(tokens, at, fitting)
        or (
            syntax.chained_comparison(span)
            if token.type in _COMPARISONS and "AND" in fitting and "IS" not in fitting
            else None
        )
        or _unexpected(tokens, at, fitting)
    )


def _unexpected(tokens: Sequence[Token], at: int, fitting: frozenset[str]) -> Diagnostic:
    token, expected = tokens[at], _expected(tokens, at, fitting)
    closes = token.type == "$END" or (token.type in (*STATEMENTS, "RBRACE") and starts_line(tokens, at))
    if not closes or "LET" in fitting or at == 0:
        return syntax.unexpected(token_span(token), _seen(token), expected, _form(tokens, at))
    # The line before stops too early: point there, not at the innocent next statement.
    last = token_span(tokens[at - 1])
    span = Span(last.end, last.end, last.line, last.column + last.end - last.start)
    return syntax.unexpected(span, "end of the statement", expected, _form(tokens, at - 1))


def _misspelt_table(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    """`itme.age`: a word before a point that should be `item` or `user`."""
    if at == 0 or tokens[at] != "." or tokens[at - 1].type != "NAME" or tokens[at - 1].end_pos != tokens[at].start_pos:
        return None
    table = near(tokens[at - 1], ("item", "user"))
    if table is None:
        return None
    column = tokens[at + 1] if tokens[at + 1].isidentifier() else "age"
    return syntax.misspelt_table(token_span(tokens[at - 1]), str(tokens[at - 1]), f"{table}.{column}")


def _of_a_later_version(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    """The token, or the one before it, is a word of a later version (`weight ramp 0 to 1` fails at the 0)."""
    for word in (tokens[at], tokens[at - 1] if at else None):
        if word is not None and word.type in ("NAME", "UNIT") and word in NOT_YET:
            return syntax.not_yet(token_span(word), str(word), NOT_YET[word])
    return None


def _foreign_operator(tokens: Sequence[Token], at: int, fitting: frozenset[str]) -> Diagnostic | None:
    for run in (tokens[max(at - 1, 0) : at + 1], tokens[at : at + 2], tokens[at : at + 1]):
        seen = "".join(run)
        touching = all(a.end_pos == b.start_pos for a, b in pairwise(run))
        if not touching or seen not in _OPERATORS:
            continue
        if seen in ("=", "==", ":", ":=") and "IS" not in fitting:
            if seen == "=" or not fitting & {"EQUAL", "NUMBER", "STRING"}:
                continue
            return syntax.foreign_operator(_join(run), seen, "write `=`")
        return syntax.foreign_operator(_join(run), seen, _OPERATORS[seen])
    return None


def _thousands(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    """`1,000`, where no comma may stand."""
    run = tokens[at - 1 : at + 2] if at else ()
    touching = all(a.end_pos == b.start_pos for a, b in pairwise(run))
    if [t.type for t in run] != ["NUMBER", "COMMA", "NUMBER"] or not touching:
        return None
    point = "" if len(run[2]) == 3 else "."
    return syntax.thousands(_join(run), f"{run[0]}{point}{run[2]}")


def _foreign_word(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    token = tokens[at]
    if token.type not in ("NAME", "UNIT") or token not in _WORDS:
        return None
    return syntax.foreign_word(token_span(token), str(token), _WORDS[token])


def _unreadable(tokens: Sequence[Token], at: int) -> Diagnostic:
    token, span = tokens[at], token_span(tokens[at])
    before, after = tokens[at - 1] if at else token, tokens[at + 1]
    if token == '"':
        return syntax.unclosed_text(span)
    if token in ("'", "“", "”", "„", "‘", "’", "«", "»"):
        return syntax.unreadable_character(span, f"`{token}`", 'write texts in straight double quotes, as in `"Drama"`')
    if token == "." and before.end_pos == token.start_pos and before.type == "NAME":
        if before in ("item", "user"):
            return syntax.column_without_name(_join([before, token]), str(before))
        return syntax.unreadable_character(span, "`.`", "columns are `item.NAME` or `user.NAME`")
    if token == "." and after.type == "NUMBER":
        return syntax.unreadable_character(_join([token, after]), "`.`", f"write `0.{after}`")
    if token in ";,":
        return syntax.unreadable_character(span, f"`{token}`", "leave it out: a line's end is enough")
    shown = f"`{token}`" if token.isprintable() else f"U+{ord(token):04X}"
    return syntax.unreadable_character(span, shown, f"remove it; {_form(tokens, at)}")


def _unclosed(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    open_at = _open_braces(tokens, at)
    if not open_at:
        return None
    brace = open_at[-1]
    head = next((tokens[i].type for i in range(brace, -1, -1) if tokens[i].type in ("POLICY", "WHEN")), "WHEN")
    what = "header" if head == "POLICY" else "`when` block"
    return syntax.unclosed(token_span(tokens[at]), what, tokens[brace].line or 0)


def _open_braces(tokens: Sequence[Token], at: int) -> list[int]:
    """Where the `{` stand that are still open before `tokens[at]`."""
    open_at: list[int] = []
    for i in range(at):
        if tokens[i].type == "LBRACE":
            open_at.append(i)
        elif tokens[i].type == "RBRACE" and open_at:
            open_at.pop()
    return open_at


def _wrong_name(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    """A reserved word as a name, or a name with `-` or a leading digit."""
    token, before = tokens[at], tokens[at - 1] if at else None
    if before is None:
        return None
    if before.type in STATEMENTS and token in RESERVED:
        return syntax.reserved_word(token_span(token), str(token), f"{token}_rule")
    if before.type in STATEMENTS and token.type in ("NUMBER", "STRING"):
        return syntax.wrong_name(token_span(token), _seen(token), _as_name(token))
    if token.type == "MINUS" and before.type == "NAME" and at > 1 and tokens[at - 2].type in STATEMENTS:
        run = _touching(tokens, at - 1)
        return syntax.wrong_name(_join(run), "`-`", _as_name("".join(run)))
    return None


def _unquoted(tokens: Sequence[Token], at: int, fitting: frozenset[str]) -> Diagnostic | None:
    if fitting != {"STRING", "NUMBER"} and fitting != {"STRING"}:
        return None
    if not tokens[at].isidentifier():
        return None
    run = _touching(tokens, at)
    return syntax.unquoted_text(_join(run), "".join(run))


def _misspelt(tokens: Sequence[Token], at: int, fitting: frozenset[str]) -> Diagnostic | None:
    """A keyword with a slip in it: at the position, or just before it, where it was read as a name or a unit."""
    token, before = tokens[at], tokens[at - 1] if at else None
    keywords = sorted(kind.lower() for kind in fitting if kind.lower() in RESERVED and kind not in STATEMENTS)
    if token.isidentifier() and token.type not in STATEMENTS:
        openers = [kind.lower() for kind in STATEMENTS if kind in fitting]
        keyword = near(token, openers if openers and starts_line(tokens, at) else keywords)
        if keyword is not None:
            return syntax.misspelt_keyword(token_span(token), str(token), keyword)
    if before is None:
        return None
    keyword = None
    if before.type == "UNIT" and near(before, UNIT_WORDS) is None:
        keyword = near(before, keywords)
    elif before.type == "NAME" and token.type in _VALUES:
        keyword = near(before, ("not",))
    return None if keyword is None else syntax.misspelt_keyword(token_span(before), str(before), keyword)


def _expected(tokens: Sequence[Token], at: int, fitting: frozenset[str]) -> str:
    """The fitting token types in words, the most particular first."""
    left = set(fitting)
    parts = []
    if {"NUMBER", "COLUMN"} <= left:
        wants_number = at > 0 and tokens[at - 1].type in ("WEIGHT", "LIMIT", "LEAST", "MOST", "BETWEEN")
        parts.append("a number" if wants_number else "an expression")
        left -= _VALUES
    if {"AND", "OR"} <= left:
        parts.append("an operator")
        left -= _COMPARISONS | {"AND", "OR", "NOT"}
    left -= _ARITHMETIC  # may follow every number: no news
    if {"LET", "REWARD"} <= left:
        parts.append("the next statement" if at else "a statement")
        left -= {*STATEMENTS, "$END"}
    names = sorted(_NAMES.get(kind, f"`{kind.lower()}`") for kind in left)
    return _either([*names, *parts])


def _either(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _seen(token: Token) -> str:
    return "end of the file" if token.type == "$END" else f"`{token}`"


def _form(tokens: Sequence[Token], at: int) -> str:
    """How the statement around `tokens[at]` is written."""
    if starts_line(tokens, at) and tokens[at].type not in STATEMENTS and tokens[at].type == "NAME":
        return _ANY_STATEMENT
    kinds = (tokens[i].type for i in range(at, -1, -1))
    return next((_FORMS[kind] for kind in kinds if kind in _FORMS), _ANY_STATEMENT)


def _touching(tokens: Sequence[Token], start: int) -> list[Token]:
    """`tokens[start]` and those that follow it without a space."""
    run = [tokens[start]]
    for token in tokens[start + 1 :]:
        if token.start_pos != run[-1].end_pos or token.type in ("$END", "RBRACE"):
            break
        run.append(token)
    return run


def _as_name(text: str) -> str:
    letters = "".join(c if c.isalnum() else "_" for c in text.strip('"')).strip("_")
    return letters if letters[:1].isalpha() else f"rule_{letters}"


def _join(run: Sequence[Token]) -> Span:
    first, last = token_span(run[0]), token_span(run[-1])
    return Span(first.start, last.end, first.line, first.column)
