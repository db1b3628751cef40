"""Runs the command line for `python -m recpolicy`, and exits with its exit code."""

import sys

from recpolicy.cli import main

sys.exit(main())
