"""Compile every kernel before the first task, unless that has been done before.

1. A task that compiles takes a minute longer, and **follow** up to 400 MB more than was projected,
   beside others that compile the same. So kernels are compiled where an environment is made, and
   once more where a run fetches its network: nobody does so where Nextflow makes a conda
   environment, and the nodes of a cluster may be of another kind than the machine on which it was
   made.
2. An empty file, in NUMBA_CACHE_DIR or beside the package, records that everything was compiled.
   Its name is made of all source, numba's version and the processor. The note only saves loading
   all kernels (two seconds) to see that none is missing.
3. Where the note cannot be written, kernels are loaded each time: numba then keeps them elsewhere.
   What a NUMBA_CACHE_DIR that cannot be written holds, tasks copy (`terapose.io.compiled`).

    python -m terapose.pipeline.compiling
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from terapose.pipeline.code import package_digest

_PACKAGE = Path(__file__).parents[1]
_VARIABLE = "NUMBA_CACHE_DIR"
_PROCESSOR = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")


def compile_missing(say: Callable[[str], None]) -> bool:
    """Compile what is missing, which takes a minute or two.

    Parameters
    ----------
    say
        Called with a line before anything is compiled.

    Returns
    -------
    bool
        Whether anything may have been missing.
    """
    note, given = _note(), os.environ.get(_VARIABLE)
    if note.exists() and (given or os.access(note.parent, os.W_OK)):
        return False
    say("compiling what stages run: a minute or two, once for this version and kind of processor")
    from terapose.pipeline.warm_up import main

    main()
    with suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    return True


def _note() -> Path:
    """The file that is there once everything has been compiled."""
    state = f"{_PACKAGE} {package_digest(_PACKAGE)} {version('numba')} {_processor()}"
    folder = os.environ.get(_VARIABLE) or _PACKAGE / "__pycache__"
    return Path(folder) / f"compiled-{hashlib.sha256(state.encode()).hexdigest()[:32]}"


def _processor() -> str:
    """For which processor numba compiles."""
    if given := " ".join(filter(None, map(os.environ.get, _PROCESSOR))):
        return given
    from llvmlite import binding

    return f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


if __name__ == "__main__":
    compile_missing(print)
