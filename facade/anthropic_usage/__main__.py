"""`python -m anthropic_usage` is the command `anthropic-usage`."""

import sys

from .cli.entry import usage

sys.exit(usage())
