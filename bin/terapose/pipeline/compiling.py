"""Compile every kernel before the first task, unless that has been done before.

1. A task that compiles takes a minute longer, and **follow** up to 400 MB more than was projected,
   beside others that compile the same. So kernels are compiled where an environment is made, and
   once more where a run fetches its network: a conda environment has nobody who makes it, and the
   nodes of a cluster may be of another kind than the machine on which it was made.
2. That all was compiled is noted by an empty file, in NUMBA_CACHE_DIR or beside the package. Its
   name is made of all source files with their sizes and times, which numba compares too, of numba's
   version and the processor. The note only saves loading all kernels (two seconds) to see that none
   is missing.
3. Where the note cannot be written, kernels are loaded each time.

    python -m terapose.pipeline.compiling
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_PROCESSOR = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")


def compile_missing() -> bool:
    """Compile what is missing, which takes a minute or two; returns whether anything may be."""
    note = _note()
    if note.exists():
        return False
    log.info("compiling what stages run: a minute or two, once for this version and processor")
    from terapose.pipeline.warm_up import main

    main()
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    return True


def _note() -> Path:
    """The file that is there once everything has been compiled."""
    digest = hashlib.sha256(f"{_PACKAGE} {version('numba')} {_processor()}".encode())
    for path in sorted(_PACKAGE.rglob("*.py")):
        state = path.stat()
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
    folder = os.environ.get("NUMBA_CACHE_DIR") or _PACKAGE / "__pycache__"
    return Path(folder) / f"compiled-{digest.hexdigest()[:32]}"


def _processor() -> str:
    """For which processor numba compiles."""
    if given := " ".join(filter(None, map(os.environ.get, _PROCESSOR))):
        return given
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


if __name__ == "__main__":
    compile_missing()
