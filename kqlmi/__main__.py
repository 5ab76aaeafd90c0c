"""The entry point of ``python -m kqlmi``."""

import sys

from kqlmi.cli import main

sys.exit(main())
