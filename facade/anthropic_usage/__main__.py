"""`python -m anthropic_usage` is the command `anthropic-usage`."""

import sys

from .cli.main import main

sys.exit(main())
