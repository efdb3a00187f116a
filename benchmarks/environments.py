"""Environments of their own for the tools that Terapose is held against."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"


def bring_up(place: Path, pins: str, **targets: str) -> None:
    """Make an environment, or leave it as it is where it has been made from the same pins.

    Parameters
    ----------
    place
        Its folder.
    pins
        File of `requirements/` with everything that is installed, pinned by hash.
    targets
        Folders inside of it into which further files are installed, by name.
    """
    files = {name: REQUIREMENTS / file for name, file in {"": pins, **targets}.items()}
    wanted = "".join(path.read_text() for path in files.values())
    stamp = place / "made-from"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    print(f"making {place.name}", flush=True)
    pip: list[str | Path] = ["pip", "install", "--quiet", "--python", place]
    pip += ["--no-deps", "--require-hashes"]
    if ssl.create_default_context().cert_store_stats()["x509_ca"]:
        # an institute's proxy is known to the machine only
        pip.append("--system-certs")
    steps: list[list[str | Path]] = [
        ["venv", "--quiet", "--clear", "--python", sys.executable, place]
    ]
    for name, path in files.items():
        target: list[str | Path] = ["--target", place / name] if name else []
        steps.append([*pip, *target, "-r", path])
    for words in steps:
        subprocess.run(["uv", *words], check=True, cwd=ROOT)
    stamp.write_text(wanted)
