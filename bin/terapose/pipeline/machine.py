"""The kind of machine a task runs on, as far as that affects rounding: a mixture is noticed.

Libraries choose their loops by the processor, so the same numbers can differ in their last bits
elsewhere. A stage names the libraries that it rounds with (`Stage.rounds`), and this module says of
each of them what its bits depend on:

- ``torch``: its version and the device: a GPU by its name, what it can compute, CUDA, cuDNN, and
  how many tiles it is given at once, fewer where its memory does not suffice; a processor by its
  kind, as LLVM names it, since oneDNN and MKL look at instruction sets, caches and makers; and
  variables of the environment that keep these libraries from using all of it;
- ``numpy``: its version, the largest instruction set for which it has functions of its own
  (exponentials, logarithms, angles), and the processor for which its BLAS has them;
- ``numba``: its version and the architecture alone. Kernels here are compiled without fast
  arithmetic, and what a processor fuses is written out, so each gives the same bits
  (`benchmarks/machines.py`).

Nothing is imported that the stage does not import anyway. What is recorded is part of receipts and
of the run's record, never of keys.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from terapose.core.devices import device_for
from terapose.core.errors import InputError
from terapose.pipeline.stage import Library
from terapose.pipeline.state import Kinds, Step

_LIMITS = (
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE"),
    *("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS"),
)
"""Variables that keep oneDNN and MKL from using all of a processor."""
_ALIKE = ("AVX512_ICL", "AVX512_SPR")
"""Instruction sets with which NumPy sorts and converts, and rounds nothing."""
_CORE_NAMES = ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename")


def kind_here(libraries: Iterable[Library], *, turn: int = 0, tiles: int = 0) -> dict[str, str]:
    """What the bits of libraries depend on in this process.

    Parameters
    ----------
    libraries
        Their names.
    turn
        Of the task: with several GPUs it decides which (`terapose.core.devices`).
    tiles
        How many a GPU is given at once; 0: torch works on the processor.

    Returns
    -------
    dict
        A description of the kind of machine, by library.
    """
    torch = partial(_gpu, turn, tiles) if tiles else _torch
    found = {"torch": torch, "numpy": _numpy, "numba": _numba}
    return {name: found[name]() for name in libraries}


@cache
def _processor() -> str:
    """The kind of the processor: all of a kind have the same instructions and caches."""
    from llvmlite import binding

    return str(binding.get_host_cpu_name())


@cache
def _torch() -> str:
    import torch

    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if os.environ.get(name)]
    used = ", ".join([torch.backends.cpu.get_cpu_capability(), *limits])
    return f"{torch.__version__} on a processor {_processor()} ({used})"


def _gpu(turn: int, tiles: int) -> str:
    import torch

    if not torch.cuda.is_available():
        return f"{torch.__version__} without a GPU"  # the stage refuses to run
    device = device_for("cuda", turn)
    major, minor = torch.cuda.get_device_capability(device)
    hip, cuda = torch.version.hip, torch.version.cuda
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    made = f"ROCm {hip}" if hip else f"CUDA {cuda}, cuDNN {cudnn}"
    name, version = torch.cuda.get_device_name(device), torch.__version__
    return f"{version} on {name} ({major}.{minor}, {made}, {tiles} tiles at once)"


@cache
def _numpy() -> str:
    compiled: Any = importlib.import_module("numpy._core._multiarray_umath")
    there = compiled.__cpu_features__
    used = [n for n in compiled.__cpu_dispatch__ if there.get(n) and n not in _ALIKE]
    return f"{np.__version__} ({used[-1] if used else platform.machine()}, BLAS {_blas()})"


def _blas() -> str:
    """The processor for which NumPy's own OpenBLAS has its loops; of another BLAS, this one."""
    for path in sorted((Path(np.__file__).parents[1] / "numpy.libs").glob("*openblas*")):
        with suppress(OSError):
            library = ctypes.CDLL(str(path))
            for name in _CORE_NAMES:
                if (found := getattr(library, name, None)) is not None:
                    found.restype = ctypes.c_char_p
                    return str(found().decode())
    return _processor()


@cache
def _numba() -> str:
    import numba

    return f"{numba.__version__} ({platform.machine()})"


def together(several: Iterable[Kinds]) -> Kinds:
    """How many tasks ran on each kind, by library, all together."""
    found: Kinds = {}
    for kinds in several:
        for library, tasks in kinds.items():
            all_tasks = found.setdefault(library, {})
            for name, count in tasks.items():
                all_tasks[name] = all_tasks.get(name, 0) + count
    return {library: dict(sorted(tasks.items())) for library, tasks in sorted(found.items())}


def of_steps(steps: Iterable[Step]) -> Kinds:
    """How many tasks of several stages ran on each kind, by library."""
    return together(step.ran_on for step in steps)


def of_receipts(receipts: Iterable[Mapping[str, Any]]) -> Kinds:
    """How many tasks ran on each kind; of those of earlier versions nothing is known."""
    return together(
        {library: dict.fromkeys(names, 1) for library, names in r.get("ran_on", {}).items()}
        for r in receipts
    )


def mixture(kinds: Kinds) -> str:
    """Names and numbers of tasks of the kinds of which there are several; empty if of none."""
    parts = [
        " and ".join(
            f"{library} {name} ({count} task{'s' if count > 1 else ''})"
            for name, count in tasks.items()
        )
        for library, tasks in kinds.items()
        if len(tasks) > 1
    ]
    return "; ".join(parts)


def warning_of(kinds: Kinds) -> str:
    """One sentence on tasks that ran on several kinds; empty if they did not."""
    found = mixture(kinds)
    if not found:
        return ""
    return (
        f"tasks ran on machines of several kinds, which may round differently: {found}; "
        "a few voxels or values may differ from those of a run on one kind"
    )


def refuse_mixture(kinds: Kinds, stage: str) -> None:
    """Refuse results of several kinds.

    Raises
    ------
    InputError
        If there are several of a library.
    """
    if found := mixture(kinds):
        raise InputError(
            "tasks ran on machines of several kinds, which may round differently",
            where=f"stage {stage}",
            got=found,
            allowed="one kind (strict)",
            remedy="compute everything again on one kind, or leave strict out",
        )


def refuse_other(mine: Mapping[str, str], known: Kinds, stage: str) -> None:
    """Refuse to compute on this machine what belongs to results of another kind.

    Parameters
    ----------
    mine
        What `kind_here` says.
    known
        On which kinds earlier tasks ran.
    stage
        That is to be computed.

    Raises
    ------
    InputError
        If a library rounds otherwise here than there.
    """
    for library, name in mine.items():
        others = [other for other in known.get(library, {}) if other != name]
        if others:
            raise InputError(
                "this machine may round differently from those of earlier tasks of this run",
                where=f"stage {stage}",
                got=f"{library} {name}",
                allowed=" and ".join(f"{library} {other}" for other in others) + " (strict)",
                remedy="continue on a machine of that kind, compute everything again on one of "
                "this kind, or leave strict out",
            )
