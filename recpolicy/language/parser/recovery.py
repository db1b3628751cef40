"""Parses tokens into a tree and collects the syntax errors: after an error it goes on at the next statement."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_analysis import Shift

from recpolicy.errors import Diagnostic
from recpolicy.errors.near import near
from recpolicy.errors.syntax import too_deep, too_many_errors
from recpolicy.language.parser.build import UNREADABLE, token_span
from recpolicy.language.parser.mistakes import explain
from recpolicy.language.parser.tokens import STATEMENTS, respelt, starts_line, starts_part, starts_statement

Unread = set[str | None]

MAX_DEPTH = 100
"""How deep an expression may be nested; later stages recurse over expressions."""

MAX_PROBLEMS = 50
"""Syntax errors after which the rest of a file is not read."""

_MAX_STACK = 1000
"""The largest size of the parser's stack: tokens and open rules."""

_BLOCKS = {"POLICY": "STRING", "WHEN": "TRUE", "TEST": "STRING", "CASE": "STRING"}
"""Tokens that open a block in braces, and the token that can replace the text between them and the brace."""


def drive(grammar: Lark, tokens: list[Token]) -> tuple[Any, list[Diagnostic], Unread]:
    """Returns what the grammar's `file` rule built, the syntax errors, and the names that unread statements define.

    For a file with too many errors, or nested too deep, the result is that of an empty file.
    """
    run = _Run(grammar, tokens)
    while True:
        try:
            return run.feed_rest(), run.problems, run.unread
        except _Misfit:
            here = token_span(tokens[run.at])
            if len(run.problems) == MAX_PROBLEMS:
                return (None, ()), [*run.problems, too_many_errors(here, MAX_PROBLEMS)], {None}
            run.report()
            run.recover()
        except _TooDeep:
            return (None, ()), [*run.problems, too_deep(token_span(tokens[run.at]), MAX_DEPTH)], {None}


@cache
def _lists(grammar: Lark) -> dict[Any, Literal["statements", "parts", "settings"]]:
    """The parser's states in which a statement, a part of a test or a setting of the header may come next."""
    lists: dict[Any, Literal["statements", "parts", "settings"]] = {}
    for state, actions in grammar.parse_interactive().parser_state.parse_conf.states.items():
        shifts = {kind for kind, action in actions.items() if action[0] is Shift}
        if "USE" in shifts:
            lists[state] = "statements"
        elif "EXPECT" in shifts:
            lists[state] = "parts"
        elif {"RBRACE", "NAME"} <= shifts and "STRING" not in shifts:  # a record's key may be a STRING
            lists[state] = "settings"
    return lists


class _Misfit(Exception):
    """The token at the run's position does not fit."""


class _TooDeep(Exception):
    """The token at the run's position is nested too deep."""


class _Run:
    """One parse: the LALR stacks, the position in the tokens, and what went wrong so far."""

    def __init__(self, grammar: Lark, tokens: list[Token]) -> None:
        self.tokens, self.at = tokens, 0
        self.parser = grammar.parse_interactive()
        self.state = self.parser.parser_state
        self.table = self.state.parse_conf.states
        self.lists = _lists(grammar)
        self.before: list[Any] = []  # the state stack before the failing token, which may already have reduced it
        self.begins = [(0, self.state.state_stack.copy())]  # of the last two statements, settings or parts
        self.problems: list[Diagnostic] = []
        self.unread: Unread = set()

    def feed_rest(self) -> Any:
        """Feeds the tokens up to the end. Raises `_Misfit` at the first that does not fit."""
        while True:
            token = self.tokens[self.at]
            if len(self.state.state_stack) > _MAX_STACK:
                raise _TooDeep
            self.before = self.state.state_stack.copy()
            try:
                result = self.parser.feed_token(token)
            except UnexpectedToken:
                raise _Misfit from None
            if token.type == "$END":
                return result
            if self.state.state_stack[-2] in self.lists:
                self.begins = [self.begins[-1], (self.at, self.state.state_stack[:-1])]
            self.at += 1

    def report(self) -> None:
        """Adds the finding for the token at the position."""
        self.problems.append(explain(self.tokens, self.at, frozenset(self._fitting()), self._reads))

    def recover(self) -> None:
        """Sets stacks and position so that the parse can go on; drops what the bad statement has built so far."""
        if self._is_between():
            self._finish()
        level = next(
            i for i in range(len(self.state.state_stack) - 1, -1, -1) if self.state.state_stack[i] in self.lists
        )
        head = self.state.value_stack[level] if level < len(self.state.value_stack) else self.tokens[self.at]
        block, brace = self._block(head), self._brace()
        del self.state.state_stack[level + 1 :]
        del self.state.value_stack[level:]
        if block is not None and brace is not None and self._fits(self.state.state_stack, block):
            self._insert(block)
            self._insert(_BLOCKS[block])
            self.at = brace
        else:
            self._skip(head)
        self.begins = [(self.at, self.state.state_stack.copy())]

    # ---- the stacks

    def _is_between(self) -> bool:
        """True if the statement before the position is complete, so that the misfit is not a part of it."""
        stack = self.state.state_stack
        return (self._fits(stack, "USE") or (self._fits(stack, "NAME") and self._fits(stack, "RBRACE"))) and (
            starts_line(self.tokens, self.at)
            or self.tokens[self.at].type in ("$END", "RBRACE")
            or self.tokens[self.at - 1].type == "RBRACE"
        )

    def _finish(self) -> None:
        """Builds the statement before the position, as the first token of the next statement would."""
        self._insert("USE" if self._fits(self.state.state_stack, "USE") else "NAME")
        self.state.state_stack.pop()
        self.state.value_stack.pop()

    def _insert(self, kind: str) -> None:
        """Feeds a token that the text lacks, before the token at the position."""
        here = self.tokens[self.at]
        text = "}" if kind == "RBRACE" else UNREADABLE
        self.parser.feed_token(Token(kind, text, here.start_pos, here.line, here.column, end_pos=here.start_pos))

    def _fitting(self) -> list[str]:
        """Every token type that could have stood at the position."""
        kinds = (kind for kind in self.table[self.before[-1]] if kind.isupper())
        return [kind for kind in kinds if self._fits(self.before, kind)]

    def _fits(self, stack: list[Any], kind: str) -> bool:
        return self._read(stack.copy(), kind)

    def _read(self, stack: list[Any], kind: str) -> bool:
        """Puts a token on a state stack; returns False if it does not fit."""
        while (action := self.table[stack[-1]].get(kind)) is not None:
            if action[0] is Shift:
                stack.append(action[1])
                return True
            rule: Any = action[1]
            if rule.expansion:
                del stack[-len(rule.expansion) :]
            stack.append(self.table[stack[-1]][rule.origin.name][1])
            if kind == "$END" and stack[-1] == self.state.parse_conf.end_state:
                return True
        return False

    def _reads(self, at: int, word: str) -> int:
        """How many tokens from the misfit on can be read, up to 2, with `word` instead of the token at `at`."""
        start, stack = next((begin for begin in reversed(self.begins) if begin[0] <= at), (at, []))
        if not stack:
            return 0
        stack = stack.copy()
        spelt = respelt(self.tokens[start : self.at + 4], at - start, word)
        fitting = next((i for i, token in enumerate(spelt) if not self._read(stack, token.type)), len(spelt))
        return max(0, min(2, start + fitting - self.at))

    # ---- the tokens

    def _block(self, head: Any) -> str | None:
        """The kind of the block that the bad statement opens, if its first word is that block's or close to it."""
        if not isinstance(head, Token) or head.type in _BLOCKS:
            return head.type if isinstance(head, Token) else None
        close = near(head, [kind.lower() for kind in _BLOCKS]) if head.type == "NAME" else None
        return None if close is None else close.upper()

    def _brace(self) -> int | None:
        """The `{` that ends the broken head of a block, or None."""
        for at in range(self.at, len(self.tokens)):
            if self.tokens[at].type == "LBRACE":
                return at
            if self.tokens[at].type in ("RBRACE", "$END") or starts_statement(self.tokens, at):
                return None
            if at > self.at and starts_part(self.tokens, at):
                return None
        return None

    def _skip(self, head: Any) -> None:
        """Goes on at the next place where an element of the current list may start, or closes that list."""
        token, stack = self.tokens[self.at], self.state.state_stack
        kind = self.lists[stack[-1]]
        if kind == "statements":
            self._remember(head if isinstance(head, Token) else token)
        leaves = kind != "statements" and starts_statement(self.tokens, self.at)
        if token.type == "$END" or leaves:
            while not self._fits(stack, token.type) and self._fits(stack, "RBRACE"):
                self._insert("RBRACE")
        elif kind == "statements" and token.type == "RBRACE":
            self.at += not self._fits(stack, "RBRACE")
        elif kind == "statements":
            self._skip_statement()
        elif kind == "parts":
            self._skip_part(head)
        else:
            self._skip_setting()

    def _skip_setting(self) -> None:
        """Goes on at the next setting, at the end of the header, or where its `}` is missing."""
        while True:
            self.at += 1
            token = self.tokens[self.at]
            is_key = token.type == "NAME" and self.tokens[self.at + 1].type == "EQUAL"
            if is_key or token.type in ("RBRACE", "$END") or starts_statement(self.tokens, self.at):
                return

    def _skip_part(self, head: Any) -> None:
        """Goes on at the next part of the test, at the `}` that closes it, or where that is missing."""
        first = self.at
        opened = 0
        if isinstance(head, Token):
            part = next(i for i in range(first, -1, -1) if self.tokens[i].start_pos == head.start_pos)
            opened = sum(_DEPTH.get(token.type, 0) for token in self.tokens[part:first])
        while True:
            token = self.tokens[self.at]
            fresh = self.at > first or self._fits(self.state.state_stack, token.type)
            if token.type == "$END" or starts_statement(self.tokens, self.at):
                return
            if (fresh and starts_part(self.tokens, self.at)) or (token.type == "RBRACE" and opened <= 0):
                return
            opened += _DEPTH.get(token.type, 0)
            self.at += 1

    def _skip_statement(self) -> None:
        """Goes on at the next line that starts a statement, or at the `}` that closes the block around."""
        depth = 0
        first = self.at
        while True:
            token = self.tokens[self.at]
            fresh = self.at > first or self._fits(self.state.state_stack, token.type)
            if token.type == "$END" or (fresh and starts_statement(self.tokens, self.at)):
                return
            if fresh and depth == 0 and self._misspelt_statement():
                return
            if token.type == "LBRACE":
                depth += 1
            elif token.type == "RBRACE":
                if depth == 0:
                    return
                depth -= 1
            self.at += 1

    def _misspelt_statement(self) -> bool:
        """True if a line starts with two names, as no line of an expression does, or with a misspelt keyword."""
        token = self.tokens[self.at]
        if token.type != "NAME" or not starts_line(self.tokens, self.at):
            return False
        return self.tokens[self.at + 1].type == "NAME" or near(token, [kind.lower() for kind in STATEMENTS]) is not None

    def _remember(self, first: Token) -> None:
        """Notes the name that the statement starting with `first` would have defined."""
        start = next((i for i in range(self.at, -1, -1) if self.tokens[i].start_pos == first.start_pos), self.at)
        if self.tokens[start].type == "TEST":
            return
        start += self.tokens[start].type == "OVERRIDE"
        name = self.tokens[min(start + 1, len(self.tokens) - 1)]
        self.unread.add(str(name) if name.type == "NAME" else None)


_DEPTH = {"LBRACE": 1, "LSQB": 1, "RBRACE": -1, "RSQB": -1}
