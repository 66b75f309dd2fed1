"""`python -m probrev`: the command line."""

import sys

from probrev.cli import main

if __name__ == "__main__":
    sys.exit(main())
