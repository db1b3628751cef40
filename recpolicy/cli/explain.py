"""Explains an error code, a policy, one of its rules or one slate in words (`recpolicy explain`)."""

from __future__ import annotations

import argparse
import re
import sys

from recpolicy import explain, render
from recpolicy.cli import reading
from recpolicy.errors import UsageError, pages
from recpolicy.errors.near import near
from recpolicy.language.policy import Block, Policy, Rule, Target


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    parser = subparsers.add_parser(
        "explain",
        help="say what a policy, a rule, an error code or one slate means",
        description="An error code (E0203): its page. A policy: all of it in plain words, or one of its rules. "
        "With --user and --slate: what every place of that slate adds to every rule.",
    )
    parser.add_argument("what", metavar="POLICY_OR_CODE", help="a .policy file, a sample, or an error code")
    parser.add_argument("rule", nargs="?", metavar="RULE", help="only this rule, block or target")
    parser.add_argument("--engineer", action="store_true", help="formulas, shapes and enforcement instead")
    parser.add_argument("--user", metavar="ID", help="whom the slate is for")
    parser.add_argument(
        "--slate", metavar="ITEM,ITEM,...", help="ids or exact titles from the top; `hole` is an empty place"
    )
    reading.add_columns(parser, "the data set the slate is of; default: the policy's own")
    reading.add(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Explains the code, the slate, the rule or the policy. Raises UsageError for options that do not go together."""
    if re.fullmatch(r"[Ee]\d{4}", arguments.what):
        render.page(pages.page(arguments.what))
        return 0
    if (arguments.user is None) != (arguments.slate is None):
        raise UsageError("a slate is explained for a user", help="give both: --user ID --slate ITEM,ITEM,...")
    if arguments.slate is not None and (arguments.rule is not None or arguments.engineer):
        raise UsageError("a slate is explained by all rules", help="leave RULE and --engineer out")
    loaded = reading.policy(arguments.what, arguments, reading.columns(arguments))
    if arguments.slate is not None:
        from recpolicy.cli import ledger  # loads NumPy and the data

        source = reading.data_of(loaded, arguments.data)
        sys.stdout.write(ledger.ledger(loaded, source, arguments.user, arguments.slate))
    elif arguments.rule is not None:
        sys.stdout.write(_rule(loaded.policy, arguments.rule, arguments.engineer))
    elif arguments.engineer:
        formulas = (explain.engineer(part, loaded.policy) for part in _parts(loaded.policy).values())
        print(explain.NOTATION, *formulas, sep="\n\n")
    else:
        sys.stdout.write(explain.policy(loaded.policy))
    return 0


def _rule(policy: Policy, name: str, engineer: bool) -> str:
    parts = _parts(policy)
    if name not in parts:
        close = near(name, parts)
        help = f"did you mean `{close}`?" if close else f"it has: {', '.join(parts)}"
        raise UsageError(f"{policy.name} has no rule `{name}`", help=help)
    if engineer:
        return f"{explain.engineer(parts[name], policy)}\n\n{explain.NOTATION}\n"
    return explain.entry(parts[name], policy)


def _parts(policy: Policy) -> dict[str, Rule | Block | Target]:
    return {part.name: part for part in (*policy.rules, *policy.blocks, *policy.targets)}
