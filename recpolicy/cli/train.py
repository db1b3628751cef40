"""`recpolicy train`: a policy and a data set in, a trained run folder and its table out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recpolicy.cli import reading
from recpolicy.errors import UsageError
from recpolicy.policy import Policy, Ramp


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command; it sets `run`, a function of the arguments that gives the exit code."""
    train = subparsers.add_parser("train", help="train a recommender by a policy")
    train.add_argument("policy", metavar="POLICY", help="a .policy file, or the name of a sample")
    train.add_argument("--data", metavar="SOURCE", help="ml-100k, simulator or a folder; default: the policy's own")
    train.add_argument("--model", default="tiny", metavar="NAME", help="default: tiny")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run folder, new or to be completed")
    train.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML); docs/training.md lists them")
    train.add_argument("--seed", type=int, metavar="N", help="default: 0, or the settings file's")
    reading.add(train)
    train.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> int:
    schema = reading.data_columns(args.data) if args.data else None
    loaded = reading.policy(args.policy, args, schema)
    source = reading.data_of(loaded, args.data)
    _refuse_what_is_not_trained_for(loaded.policy)
    # threads that wait must not spin: beside any other busy process that makes a step several times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        from recpolicy.trainer import config, pipeline
    except ModuleNotFoundError as error:
        raise UsageError(
            f"training needs the package `{error.name}`", help="install it with: pip install 'recpolicy[train]'"
        ) from error
    from recpolicy.cli.progress import Screen, show

    changes = {} if args.seed is None else {"seed": args.seed}
    settings = config.load(args.config, **changes)
    with Screen(loaded.policy) as screen:
        found = pipeline.train(loaded, source, args.model, settings, args.out, screen)
    show(found, loaded.policy, args.out)
    return 0


def _refuse_what_is_not_trained_for(policy: Policy) -> None:
    """Raise UsageError for a policy that asks for more than the trainer of this version does."""
    asked = [f"target `{t.name}`" for t in policy.targets]
    for rule in policy.rules:
        if getattr(rule, "hard", False):
            asked.append(f"hard quota `{rule.name}`")
        if any(isinstance(level, Ramp) for level in (rule.weight.base, *(w for _, w in rule.weight.changes))):
            asked.append(f"ramp of `{rule.name}`")
    if asked:
        raise UsageError(
            f"training does not yet follow targets, hard quotas and ramps: {', '.join(asked)}",
            help="score, test, explain and diff do; to train, give the rules plain weights",
        )
