#!/usr/bin/env python3
"""The command `terapose` where the package is not installed: it is beside this file."""

import os
import sys
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE / "bin"))

try:
    from terapose.cli import main
except ModuleNotFoundError as error:
    if (error.name or "terapose").partition(".")[0] == "terapose":
        raise
    # such as an environment made with a Python in a home that other users or nodes do not have
    python = CLONE / ".venv" / "bin" / "python3"
    is_lost = python.is_symlink() and not os.access(python, os.X_OK)
    print(
        f"terapose: {sys.executable}: lacks the package {error.name}; "
        + (
            f"allowed: {python}, but that leads to a Python that cannot be run here; "
            f"run `make setup` in {CLONE} again, with a Python that all users and nodes have"
            if is_lost
            else f"allowed: a Python with all packages; run `make setup` in {CLONE}"
        ),
        file=sys.stderr,
    )
    sys.exit(2)

if __name__ == "__main__":
    main()
