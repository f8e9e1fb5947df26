"""``python -m stemdist`` is the command ``stemdist``."""

from __future__ import annotations

import sys

from stemdist.cli import main

if __name__ == "__main__":
    sys.exit(main())
