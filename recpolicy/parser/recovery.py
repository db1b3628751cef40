"""Tokens in, a tree and the syntax errors out: after an error the parse goes on at the next statement."""

from __future__ import annotations

from typing import Any

from lark import Lark, Token
from lark.exceptions import UnexpectedToken
from lark.parsers.lalr_analysis import Shift

from recpolicy.errors import Diagnostic
from recpolicy.errors.syntax import too_deep, too_many_errors
from recpolicy.parser.build import UNREADABLE, token_span
from recpolicy.parser.mistakes import explain
from recpolicy.parser.tokens import STATEMENTS, starts_line

Unread = set[str | None]

MAX_DEPTH = 100
"""How deep an expression may nest; later stages recurse over expressions."""

MAX_PROBLEMS = 50
"""Syntax errors after which a file is given up."""

_MAX_STACK = 1000
"""Tokens and open rules the parser may have to keep in mind."""

_FUTURE = ("target", "param", "test", "use")
"""Statements of later versions: a parse goes on at them too, to say so."""


def drive(grammar: Lark, tokens: list[Token]) -> tuple[Any, list[Diagnostic], Unread]:
    """What the grammar's `file` rule built, every syntax error, and the names that unread statements would define.

    A file with too many errors, or nested too deep, is given up: the result is that of an empty file.
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


class _Misfit(Exception):
    """The token at the run's position does not fit."""


class _TooDeep(Exception):
    """The token at the run's position is nested deeper than anyone can read."""


class _Run:
    """One parse: the LALR stacks, the position in the tokens, and what went wrong so far."""

    def __init__(self, grammar: Lark, tokens: list[Token]) -> None:
        self.tokens, self.at = tokens, 0
        self.parser = grammar.parse_interactive()
        self.state = self.parser.parser_state
        self.table = self.state.parse_conf.states
        self.before: list[Any] = []  # the state stack before the failing token, which may already have reduced it
        self.problems: list[Diagnostic] = []
        self.unread: Unread = set()

    def feed_rest(self) -> Any:
        """Feed tokens up to the end; `_Misfit` at the first that does not fit."""
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
            self.at += 1

    def report(self) -> None:
        """Add the finding for the token at the position."""
        self.problems.append(explain(self.tokens, self.at, frozenset(self._fitting())))

    def recover(self) -> None:
        """Set stacks and position so that the parse can go on; drops what the bad statement has built so far."""
        token = self.tokens[self.at]
        if self._is_between_statements():
            self._finish_statement()
        level = self._anchor()
        if not self._is_statement_list(level):  # between the braces of the header
            self._cut(level)
            if token.type == "$END" or self._starts_statement(self.at):
                self._insert("RBRACE")
            else:
                self._skip_setting()
            return
        head = self.state.value_stack[level] if level < len(self.state.value_stack) else None
        if isinstance(head, Token) and head.type in ("WHEN", "POLICY") and (brace := self._brace()) is not None:
            self._cut(level)
            for kind in (head.type, "TRUE" if head.type == "WHEN" else "STRING"):
                self._insert(kind)
            self.at = brace
            return
        self._cut(level)
        self._remember(head if isinstance(head, Token) else token)
        if token.type not in ("$END", "RBRACE"):
            self._skip_statement()
        elif not self._fits(self.state.state_stack, token.type):
            if token.type == "$END":
                self._insert("RBRACE")
            else:
                self.at += 1

    # ---- the stacks

    def _is_between_statements(self) -> bool:
        """True where the text before the position is whole: the misfit is then not the statement before it."""
        return self._fits(self.state.state_stack, "LET") and (
            starts_line(self.tokens, self.at)
            or self.tokens[self.at].type in ("$END", "RBRACE")
            or self.tokens[self.at - 1].type == "RBRACE"
        )

    def _finish_statement(self) -> None:
        """Build the statement before the position, as its successor's first token would."""
        self._insert("LET")
        self.state.state_stack.pop()
        self.state.value_stack.pop()

    def _shifts(self, state: Any, kind: str) -> bool:
        action = self.table[state].get(kind)
        return action is not None and action[0] is Shift

    def _is_statement_list(self, level: int) -> bool:
        return self._shifts(self.state.state_stack[level], "LET")

    def _anchor(self) -> int:
        """The innermost place on the stack where a statement or a setting may start."""
        stack = self.state.state_stack
        return next(
            level
            for level in range(len(stack) - 1, -1, -1)
            if self._shifts(stack[level], "LET")
            or (self._shifts(stack[level], "RBRACE") and self._shifts(stack[level], "NAME"))
        )

    def _cut(self, level: int) -> None:
        del self.state.state_stack[level + 1 :]
        del self.state.value_stack[level:]

    def _insert(self, kind: str) -> None:
        """Feed a token that the text lacks, in the place of the token at the position."""
        here = self.tokens[self.at]
        text = "}" if kind == "RBRACE" else UNREADABLE
        self.parser.feed_token(Token(kind, text, here.start_pos, here.line, here.column, end_pos=here.start_pos))

    def _fitting(self) -> list[str]:
        """Every token type that could have stood at the position."""
        kinds = (kind for kind in self.table[self.before[-1]] if kind.isupper())
        return [kind for kind in kinds if self._fits(self.before, kind)]

    def _fits(self, stack: list[Any], kind: str) -> bool:
        stack = stack.copy()
        while (action := self.table[stack[-1]].get(kind)) is not None:
            if action[0] is Shift:
                return True
            rule: Any = action[1]
            if rule.expansion:
                del stack[-len(rule.expansion) :]
            stack.append(self.table[stack[-1]][rule.origin.name][1])
            if kind == "$END" and stack[-1] == self.state.parse_conf.end_state:
                return True
        return False

    # ---- the tokens

    def _starts_statement(self, at: int) -> bool:
        token = self.tokens[at]
        return starts_line(self.tokens, at) and (
            token.type in STATEMENTS or (token.type == "NAME" and token in _FUTURE)
        )

    def _misspelt_statement(self, at: int) -> bool:
        """True of two names at the start of a line, with which no line of an expression starts."""
        return starts_line(self.tokens, at) and self.tokens[at].type == self.tokens[at + 1].type == "NAME"

    def _brace(self) -> int | None:
        """The `{` that ends the broken head of a block, or None."""
        for at in range(self.at, len(self.tokens)):
            if self.tokens[at].type == "LBRACE":
                return at
            if self.tokens[at].type in ("RBRACE", "$END") or self._starts_statement(at):
                return None
        return None

    def _skip_setting(self) -> None:
        """Go on at the next setting, at the end of the header, or where its `}` is missing."""
        while True:
            self.at += 1
            token = self.tokens[self.at]
            is_key = token.type == "NAME" and self.tokens[self.at + 1].type == "EQUAL"
            if is_key or token.type in ("RBRACE", "$END") or self._starts_statement(self.at):
                return

    def _skip_statement(self) -> None:
        """Go on at the next line that starts a statement, or at the `}` that closes the block around."""
        depth = 0
        first = self.at
        while True:
            token = self.tokens[self.at]
            fresh = self.at > first or self._fits(self.state.state_stack, token.type)
            if token.type == "$END" or (fresh and self._starts_statement(self.at)):
                return
            if fresh and depth == 0 and self._misspelt_statement(self.at):
                return
            if token.type == "LBRACE":
                depth += 1
            elif token.type == "RBRACE":
                if depth == 0:
                    return
                depth -= 1
            self.at += 1

    def _remember(self, first: Token) -> None:
        """Note the name that the statement starting with `first` would have defined."""
        start = next((i for i in range(self.at, -1, -1) if self.tokens[i].start_pos == first.start_pos), self.at)
        name = self.tokens[min(start + 1, len(self.tokens) - 1)]
        self.unread.add(str(name) if name.type == "NAME" else None)
