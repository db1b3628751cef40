"""`recpolicy explain`: an error code, a policy, one of its rules or one slate in, what it means in words out."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

from recpolicy import explain, render
from recpolicy.cli import reading
from recpolicy.errors import UsageError, pages
from recpolicy.errors.near import near
from recpolicy.language.policy import Policy

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add(subparsers: Subparsers) -> None:
    """Add the command to the argument parser."""
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
    """Explain the code, the slate, the rule or the policy."""
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
        parts = (*loaded.policy.rules, *loaded.policy.blocks, *loaded.policy.targets)
        said = [explain.NOTATION, *(explain.engineer(part, loaded.policy) for part in parts)]
        sys.stdout.write("\n\n".join(said) + "\n")
    else:
        sys.stdout.write(explain.policy(loaded.policy))
    return 0


def _rule(policy: Policy, name: str, engineer: bool) -> str:
    for part in (*policy.rules, *policy.blocks, *policy.targets):
        if part.name == name:
            return (
                f"{explain.engineer(part, policy)}\n\n{explain.NOTATION}\n" if engineer else explain.entry(part, policy)
            )
    raise unknown_rule(policy, name)


def unknown_rule(policy: Policy, name: str) -> UsageError:
    """No rule, block or target of that name."""
    known = [part.name for part in (*policy.rules, *policy.blocks, *policy.targets)]
    close = near(name, known)
    help = f"did you mean `{close}`?" if close else f"it has: {', '.join(known)}"
    return UsageError(f"{policy.name} has no rule `{name}`", help=help)
