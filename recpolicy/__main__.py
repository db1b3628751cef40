"""`python -m recpolicy` in, the command line's exit code out."""

import sys

from recpolicy.cli import main

sys.exit(main())
