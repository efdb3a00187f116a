"""Make `.venv`: the pinned Python environment of `make`, in seconds and only when it changed.

1. `python -m venv .venv`
2. uv, pinned by hash, through pip (where uv has no build for the machine, pip does its work)
3. everything in requirements/dev.txt, by hash, and nothing else, with its bytecode
4. Terapose itself, editable
5. the JSON schemas of OME-Zarr, which are files of a package that tests do not import, into
   .venv/schemas
6. numba's compiled code into .venv/cache/numba, so that no task compiles
"""

from __future__ import annotations

import importlib.util
import os
import ssl
import sys
from pathlib import Path

from common import (
    REQUIREMENTS,
    ROOT,
    VENV,
    Command,
    SetupError,
    digest,
    install_command,
    run,
    script,
)

PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
STAMP = VENV / "terapose-setup"
SCHEMAS = VENV / "schemas"
NUMBA_CACHE = VENV / "cache" / "numba"


def main() -> None:
    """Bring `.venv` up to date."""
    state, made_with = _stamp()
    wanted = f"{ROOT} {_digest()}"
    # The real Python, also when make is called with the environment activated.
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    usable = PYTHON.exists() and bool(made_with)
    if usable and "PYTHON" not in os.environ:
        base = made_with
    if usable and base == made_with and state == wanted:
        return
    print("setup: making .venv (a minute or a few, depending on the network)", flush=True)
    STAMP.unlink(missing_ok=True)
    if not usable or base != made_with:
        _create(base)
    _install()
    _warm()
    STAMP.write_text(f"{wanted}\n{base}\n")
    print(f"setup: ready in {VENV}; to use it by hand: source .venv/bin/activate")


def _stamp() -> tuple[str, str]:
    """Return what the environment was last made from, and with which Python; "" where unknown."""
    if not STAMP.is_file():
        return "", ""
    state, _, base = STAMP.read_text().strip().partition("\n")
    return state, base


def _digest() -> str:
    """Return a digest of everything that decides what is in the environment."""
    pins = (REQUIREMENTS / name for name in ("uv.txt", "dev.txt", "schemas.txt"))
    return digest(*pins, ROOT / "pyproject.toml", Path(__file__))


def _create(base: str) -> None:
    if importlib.util.find_spec("ensurepip") is None:
        raise SetupError(
            f"{base} cannot make virtual environments; "
            f"install what it lacks with: {install_command('venv')}"
        )
    run([base, "-m", "venv", "--clear", VENV])


def _install() -> None:
    pip: Command = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    hashed: Command = ["--require-hashes", "-r"]
    schemas: Command = ["--no-deps", "--target", SCHEMAS, *hashed, REQUIREMENTS / "schemas.txt"]
    try:
        run([*pip, "install", "--only-binary", ":all:", *hashed, REQUIREMENTS / "uv.txt"])
    except SetupError as error:
        print(f"setup: uv cannot be installed here, pip does its work (slower): {error}")
        run([*pip, "install", *hashed, REQUIREMENTS / "dev.txt"])
        run([*pip, "install", "--no-deps", "--no-build-isolation", "-e", ROOT])
        run([*pip, "install", "--upgrade", *schemas])
        return
    # uv trusts its own list of authorities; an institute's proxy is known to the machine only.
    known = ssl.create_default_context().cert_store_stats()["x509_ca"]
    target: Command = ["--python", PYTHON, *(["--system-certs"] if known else [])]
    uv: Command = [UV, "pip"]
    # Without bytecode each of the many short processes of a run would compile it all again, where
    # Python may not write any (PYTHONDONTWRITEBYTECODE, or an environment that is read-only).
    compiled = "--compile-bytecode"
    run([*uv, "sync", *target, compiled, "--require-hashes", REQUIREMENTS / "dev.txt"])
    run([*uv, "install", *target, "--no-deps", "--no-build-isolation", "-e", ROOT])
    run([*uv, "install", *target, *schemas])


def _warm() -> None:
    run(
        [PYTHON, "-m", "terapose.pipeline.compiling"],
        env={**os.environ, "NUMBA_CACHE_DIR": str(NUMBA_CACHE)},
    )


if __name__ == "__main__":
    script(main)
