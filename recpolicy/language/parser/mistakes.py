"""Finds the most helpful explanation of a token that does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from itertools import pairwise

from lark import Token

from recpolicy.errors import Diagnostic, syntax
from recpolicy.errors.near import near, nearest
from recpolicy.language.parser.build import token_span
from recpolicy.language.parser.grammar import lalr
from recpolicy.language.parser.tokens import PHRASE_WORDS, STATEMENTS, starts_line, starts_part, starts_statement
from recpolicy.language.parser.wording import COMPARISONS, expected, form, seen
from recpolicy.span import Span

_KEYWORDS = sorted(t.pattern.value for t in lalr().terminals if t.pattern.type == "str" and t.pattern.value.isalpha())

_ANYWHERE = (*_KEYWORDS, *PHRASE_WORDS)
_INSIDE = tuple(word for word in _ANYWHERE if word.upper() not in STATEMENTS)

RESERVED = frozenset(_KEYWORDS) | {"item", "user", "next_items"}
"""Words that cannot be names."""

Reads = Callable[[int, str], int]
"""How many tokens from the misfit on can be read, 0 to 2, with a word instead of the token at an index."""

_OPERATORS = {
    "==": "is",
    "!=": "is not",
    "<>": "is not",
    "&&": "and",
    "&": "and",
    "||": "or",
    "|": "or",
    "!": "not",
    **dict.fromkeys(("=", ":", ":="), "is"),
    "=>": ">=",
    "=<": "<=",
    "≥": ">=",
    "≤": "<=",
    "≠": "is not",
    "×": "*",
    "÷": "/",
    "−": "-",
    "//": "#",
}
"""Operators of other languages, with those of this one."""

_OPERATOR_HELP = {
    **dict.fromkeys(("=", ":", ":="), "write `is` to compare; `=` only defines"),
    "**": "write the product out, as in `x * x`",
    "^": "write the product out, as in `x * x`",
    "//": "comments start with `#`",
    "/*": "comments start with `#`, one on each line",
    "--": "comments start with `#`",
}

_WORDS = {
    **dict.fromkeys(("equals", "equal", "eq"), "is"),
    **dict.fromkeys(("less", "lower", "smaller", "below", "under", "before", "lt"), "<"),
    **dict.fromkeys(("greater", "higher", "larger", "above", "over", "after", "gt"), ">"),
}
"""Plain English for the language's own operators."""

_WORD_HELP = {
    **dict.fromkeys(("older", "newer"), "compare the age, as in `item.age > 30 days`"),
    **dict.fromkeys(("contains", "includes", "has"), 'turn it round with `in`, as in `"Drama" in item.genres`'),
    **dict.fromkeys(("if", "unless"), "write the condition after `=`"),
    "exactly": "write the number twice, as in `between 2 and 2`",
    "xor": "write it out with `and`, `or` and `not`",
}
"""Plain English that the language does not have."""

_CLAUSES = {
    "LIMIT": "`limit N` stands right behind the condition of a boost or bury, "
    "before `from`, `until` and `because`, and once",
    "ON": "`on missing ...` stands right behind the measure of a reward, "
    "before `from`, `until` and `because`, and once",
    "INSIDE": "`in top N` or `in any N places in a row` stands right behind what a quota counts, "
    "before `from`, `until` and `because`, and once",
    "WEIGHT": "the weight stands behind the rule's name, before `=`; a block and a target have none",
    "HARD": "`hard` stands in the place of a quota's weight, as in `quota ads hard = at most 1 where item.is_ad`",
}
_TARGET_FIXES = {"AT LEAST": ">=", "AT MOST": "<="}


def explain(tokens: Sequence[Token], at: int, fitting: Set[str], reads: Reads) -> Diagnostic:
    """Builds the finding for `tokens[at]`, in a place where only the token types in `fitting` are allowed."""
    token, span = tokens[at], token_span(tokens[at])
    return (
        _misspelt_table(tokens, at)
        or _record(tokens, at, fitting)
        or _bound(tokens, at, fitting)
        or _foreign_operator(tokens, at, fitting)
        or (_unreadable(tokens, at) if token.type == "UNKNOWN" else None)
        or _unclosed(tokens, at, fitting)
        or (syntax.stray_brace(span) if token.type == "RBRACE" and not _open(tokens, at) else None)
        or _wrong_name(tokens, at)
        or (syntax.second_header(span) if token.type == "POLICY" else None)
        or _unquoted(tokens, at, fitting)
        or _misspelt(tokens, at, fitting, reads)
        or _foreign_word(tokens, at)
        or _thousands(tokens, at)
        or (syntax.item_without_braces(span, seen(token)) if {"LBRACE", "HOLE"} <= fitting else None)
        or (
            syntax.chained_comparison(span)
            if token.type in COMPARISONS and "AND" in fitting and "IS" not in fitting
            else None
        )
        or (syntax.clause_out_of_place(span, str(token), _CLAUSES[token.type]) if token.type in _CLAUSES else None)
        or _unexpected(tokens, at, fitting)
    )


def _unexpected(tokens: Sequence[Token], at: int, fitting: Set[str]) -> Diagnostic:
    token, allowed = tokens[at], expected(tokens, at, fitting)
    ends = token.type in ("$END", "RBRACE") or starts_statement(tokens, at)
    in_test = bool(_open(tokens, at)) and starts_part(tokens, at)
    stops = (ends or in_test) and (token.type == "$END" or starts_line(tokens, at))
    help = form(tokens, at, fitting, stops=stops)
    if not stops or {"USE", "EXPECT"} & fitting or at == 0:
        return syntax.unexpected(token_span(token), seen(token), allowed, help)
    # The line before stops too early: point to its end, not at the next statement.
    last = token_span(tokens[at - 1])
    span = Span(last.end, last.end, last.line, last.column + last.end - last.start)
    return syntax.unexpected(span, "end of the statement", allowed, help)


def _misspelt_table(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    """`itme.age`: a word before a point that should be `item` or `user`."""
    place = at if tokens[at].isidentifier() else at - 1
    if place < 0 or tokens[place + 1] != "." or tokens[place].end_pos != tokens[place + 1].start_pos:
        return None
    table = near(tokens[place], ("item", "user"))
    if table is None:
        return None
    column = tokens[place + 2] if tokens[place + 2].isidentifier() else "age"
    return syntax.misspelt_table(token_span(tokens[place]), str(tokens[place]), table, column)


def _record(tokens: Sequence[Token], at: int, fitting: Set[str]) -> Diagnostic | None:
    """Mistakes in the `{column: value}` of a test."""
    token, span = tokens[at], token_span(tokens[at])
    if "COLON" in fitting and token == "=":
        return syntax.foreign_operator(span, "=", "write `:` between column and value", ":")
    if fitting == {"NAME", "STRING", "RBRACE"} and token.isidentifier():
        return syntax.column_in_quotes(span, str(token))
    return None


def _bound(tokens: Sequence[Token], at: int, fitting: Set[str]) -> Diagnostic | None:
    """`=`, `is`, `at least` and similar words between a target's measure and its bound."""
    if not {"GE", "LE"} <= fitting or "IS" in fitting:
        return None
    token = tokens[at]
    phrase = f"{token.type} {tokens[at + 1].type}" if token.type == "AT" else token.type
    if phrase in _TARGET_FIXES:
        fix = _TARGET_FIXES[phrase]
        return syntax.target_bound(_join(tokens[at : at + 2]), f"write `{fix}`", fix)
    if token.type == "BETWEEN":
        return syntax.target_bound(token_span(token), "write two targets, one with `>=` and one with `<=`")
    if token.type in ("EQUAL", "IS") or token == "exactly":
        return syntax.target_bound(token_span(token), "write `>=` or `<=`: a target is a bound on a mean")
    return None


def _foreign_operator(tokens: Sequence[Token], at: int, fitting: Set[str]) -> Diagnostic | None:
    for start, end in ((max(at - 1, 0), at + 1), (at, at + 2), (at, at + 1)):
        run = [token for token in tokens[start:end] if token.type != "$END"]
        text = "".join(run)
        if not run or any(a.end_pos != b.start_pos for a, b in pairwise(run)):
            continue
        if text in ("=", "==", ":", ":=") and "IS" not in fitting:
            if text == "=" or not fitting & {"EQUAL", "NUMBER", "STRING"}:
                continue
            return syntax.foreign_operator(_join(run), text, "write `=`", "=")
        if text in _OPERATORS or text in _OPERATOR_HELP:
            fix = _OPERATORS.get(text)
            help = _OPERATOR_HELP.get(text, f"write `{fix}`")
            return syntax.foreign_operator(_join(run), text, help, fix and _spaced(fix, tokens, start, run))
    return None


def _spaced(word: str, tokens: Sequence[Token], start: int, run: Sequence[Token]) -> str:
    """A word to replace `run`, with spaces where letters would touch it."""
    if not word[0].isalpha():
        return word
    before = " " if start > 0 and tokens[start - 1].end_pos == run[0].start_pos else ""
    after = " " if tokens[start + len(run)].start_pos == run[-1].end_pos else ""
    return f"{before}{word}{after}"


def _thousands(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    """`1,000`, in a place where no comma is allowed."""
    run = tokens[at - 1 : at + 2] if at else ()
    touching = all(a.end_pos == b.start_pos for a, b in pairwise(run))
    if [t.type for t in run] != ["NUMBER", "COMMA", "NUMBER"] or not touching:
        return None
    point = "" if len(run[2]) == 3 else "."
    return syntax.thousands(_join(run), f"{run[0]}{point}{run[2]}")


def _foreign_word(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    token, after = tokens[at], tokens[min(at + 1, len(tokens) - 1)]
    if token in _WORD_HELP:
        return syntax.foreign_word(token_span(token), str(token), _WORD_HELP[token])
    if token not in _WORDS:
        return None
    run = tokens[at : at + 2] if after in ("than", "to") else tokens[at : at + 1]
    return syntax.foreign_word(_join(run), " ".join(run), f"write `{_WORDS[token]}`", _WORDS[token])


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
        return syntax.unreadable_character(_join([token, after]), "`.`", f"write `0.{after}`", f"0.{after}")
    if token in ";,":
        return syntax.unreadable_character(span, f"`{token}`", "leave it out: a line's end is enough", "")
    shown = f"`{token}`" if token.isprintable() else f"U+{ord(token):04X}"
    return syntax.unreadable_character(span, shown, f"remove it; {form(tokens, at)}")


def _unclosed(tokens: Sequence[Token], at: int, fitting: Set[str]) -> Diagnostic | None:
    """A block, a record or a list that is still open before the next statement or part of a test."""
    opened = _open(tokens, at)
    ends = tokens[at].type == "$END" or starts_statement(tokens, at)
    if not opened or not (ends or (starts_part(tokens, at) and "COMMA" in fitting)):
        return None
    bracket = opened[-1]
    closer = "RBRACE" if tokens[bracket].type == "LBRACE" else "RSQB"
    if closer not in fitting:
        return None
    what = _block(tokens, opened)
    if not ends and what not in ("record", "list"):
        return None
    return syntax.unclosed(token_span(tokens[at]), what, "}" if closer == "RBRACE" else "]", tokens[bracket].line or 0)


def _block(tokens: Sequence[Token], opened: Sequence[int]) -> str:
    """What the innermost of the open brackets opens."""
    kinds = {"POLICY": "header", "TEST": "test", "CASE": "case"}
    heads = [kinds.get(tokens[bracket - 2].type if bracket > 1 else "") for bracket in opened]
    if tokens[opened[-1]].type == "LSQB":
        return "list"
    return heads[-1] or ("record" if {"test", "case"} & set(heads) else "`when` block")


def _open(tokens: Sequence[Token], at: int) -> list[int]:
    """The indices of the `{` and `[` that are still open before `tokens[at]`."""
    opened: list[int] = []
    for i in range(at):
        if tokens[i].type in ("LBRACE", "LSQB"):
            opened.append(i)
        elif tokens[i].type in ("RBRACE", "RSQB"):
            opener = "LBRACE" if tokens[i].type == "RBRACE" else "LSQB"
            matching = next((k for k in range(len(opened) - 1, -1, -1) if tokens[opened[k]].type == opener), None)
            if matching is not None:
                del opened[matching:]
    return opened


def _wrong_name(tokens: Sequence[Token], at: int) -> Diagnostic | None:
    """A reserved word as a name, or a name with `-` or a leading digit."""
    token, before = tokens[at], tokens[at - 1] if at else None
    if before is None:
        return None
    if before.type in _NAMED and token in RESERVED:
        return syntax.reserved_word(token_span(token), str(token), f"{token}_rule")
    if before.type in _NAMED and token.type in ("NUMBER", "STRING"):
        return syntax.wrong_name(token_span(token), seen(token), _as_name(token))
    if token.type == "MINUS" and before.type == "NAME" and at > 1 and tokens[at - 2].type in _NAMED:
        run = _touching(tokens, at - 1)
        return syntax.wrong_name(_join(run), "`-`", _as_name("".join(run)))
    return None


_NAMED = frozenset(STATEMENTS) - {"POLICY", "USE", "OVERRIDE", "WHEN", "TEST"}
"""Statements whose second token is a name."""


def _unquoted(tokens: Sequence[Token], at: int, fitting: Set[str]) -> Diagnostic | None:
    if fitting != {"STRING", "NUMBER"} and fitting != {"STRING"}:
        return None
    if not tokens[at].isidentifier() or starts_line(tokens, at):
        return None
    run = _touching(tokens, at)
    return syntax.unquoted_text(_join(run), "".join(run))


def _misspelt(tokens: Sequence[Token], at: int, fitting: Set[str], reads: Reads) -> Diagnostic | None:
    """A misspelt keyword near the position, if the text can be read further when it is spelt right."""
    if fitting == {"A"} and tokens[at].type == "NAME" and tokens[at + 1].isidentifier():
        # `in a row`: neither of the two words is a keyword without the other.
        place, word = (at + 1, "row") if tokens[at] == "a" else (at, "a")
        return syntax.misspelt_keyword(token_span(tokens[place]), str(tokens[place]), word)
    best: tuple[int, int, str] | None = None
    places = [*range(at, max(at - 3, -1), -1), min(at + 1, len(tokens) - 1)]  # in `in tpo 3` the `in` is the misfit
    for place in places:
        if not tokens[place].isidentifier() or tokens[place].type == "COLUMN":
            continue
        opens = starts_line(tokens, place) or tokens[place - 1].type == "OVERRIDE"
        for word in nearest(tokens[place], _ANYWHERE if opens else _INSIDE):
            far = reads(place, word)
            if far > (best[0] if best else 0):
                best = (far, place, word)
    if best is None:
        return None
    _, place, word = best
    return syntax.misspelt_keyword(token_span(tokens[place]), str(tokens[place]), word)


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
