"""What the set-up scripts share. Standard library only: they run before anything is installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
ENGINE = ROOT / ".engine"
REQUIREMENTS = ROOT / "requirements"

_PACKAGES = {
    "maven": {"apt-get": "maven", "dnf": "maven", "brew": "maven", "conda": "-c conda-forge maven"},
    "venv": {
        "apt-get": f"python{sys.version_info[0]}.{sys.version_info[1]}-venv",
        "dnf": "python3-pip",
    },
}


Command = Sequence[str | Path]


class SetupError(Exception):
    """Something a person must put right; its text is one sentence that says how."""


def install_command(thing: str) -> str:
    """Return the command that installs ``thing`` ("maven" or "venv") with what is here.

    Parameters
    ----------
    thing
        A key of the table above.

    Returns
    -------
    str
        For the first package manager found; Debian's where none is.
    """
    managers = _PACKAGES[thing]
    manager = next((name for name in managers if shutil.which(name)), "apt-get")
    if manager in ("brew", "conda"):
        return f"{manager} install {managers[manager]}"
    sudo = "sudo " if os.geteuid() else ""
    return f"{sudo}{manager} install -y {managers[manager]}"


def run(command: Command, *, env: dict[str, str] | None = None) -> None:
    """Run a command quietly; where it fails, raise with the end of what it said.

    Raises
    ------
    SetupError
        When the command cannot be started or does not exit with 0.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, env=env, capture_output=True, text=True, cwd=ROOT)
    except OSError as error:
        raise SetupError(f"cannot start {words[0]}: {error}") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()[-8:]
        told = "\n".join(f"    {line}" for line in said)
        raise SetupError(f"`{' '.join(words)}` failed (exit {done.returncode}):\n{told}")


def digest(*paths: Path) -> str:
    """Return one SHA-256 over the contents of ``paths``, in the order given."""
    total = hashlib.sha256()
    for path in paths:
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def script(main: Callable[[], None]) -> None:
    """Run ``main``; a :class:`SetupError` becomes one message and exit code 1."""
    try:
        main()
    except SetupError as error:
        sys.exit(f"{Path(sys.argv[0]).stem}: {error}")
