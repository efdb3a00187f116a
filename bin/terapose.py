#!/usr/bin/env python3
"""The command `terapose` where the package is not installed: it is beside this file."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from terapose.cli import main

if __name__ == "__main__":
    main()
