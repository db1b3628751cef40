"""`recpolicy train`: a policy and a data set in, a trained run folder and its table out."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recpolicy.errors import UsageError


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command; it sets `run`, a function of the arguments that gives the exit code."""
    train = subparsers.add_parser("train", help="train a recommender by a policy")
    train.add_argument("policy", metavar="POLICY", help="a .policy file, or the name of a sample")
    train.add_argument("--data", metavar="SOURCE", help="ml-100k, simulator or a folder; default: the policy's own")
    train.add_argument("--model", default="tiny", metavar="NAME", help="default: tiny")
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run folder, new or to be completed")
    train.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML); docs/training.md lists them")
    train.add_argument("--seed", type=int, metavar="N", help="default: 0, or the settings file's")
    train.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> int:
    from recpolicy import checker
    from recpolicy.checker.loading import data_schema

    schema = data_schema(args.data, Path()) if args.data else None
    loaded = checker.read(args.policy, schema=schema)
    source = args.data or loaded.policy.data
    if source is None:
        raise UsageError("which data?", where=args.policy, help='write --data SOURCE, or data = "..." in the policy')
    if not args.data and (loaded.folder / source).is_dir():
        source = str(loaded.folder / source)
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
