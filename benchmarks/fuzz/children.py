"""One command in a forked child, with limits; how it ended."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SECONDS = 20
WAITING = 60
MEMORY = 2 * 2**30
_UNEXPECTED = 70
_SIGNALS = {signal.SIGALRM: "hang", signal.SIGXCPU: "hang", signal.SIGKILL: "memory"}


class Outcome(NamedTuple):
    """How a command ended.

    Attributes
    ----------
    kind
        "done", "refused" (one sentence and exit code 2), or a fault: "traceback", "untold"
        (refused without a sentence), "hang", "memory" or "crash".
    key
        What tells a fault from others: the exception, and where it came from.
    said
        All that the command said.
    """

    kind: str
    key: str
    said: str

    @property
    def is_fault(self) -> bool:
        """Whether it ended in another way than it may."""
        return self.kind not in ("done", "refused")


def run(work: Callable[[], None], folder: Path, *, limited: bool = True) -> Outcome:
    """Run a function in a child of this process, in a folder.

    Parameters
    ----------
    work
        What is done; it says what it has to say on standard output and error.
    folder
        The child's working folder; what it says is left beside it.
    limited
        Whether the limits of time and memory hold.
    """
    said = folder.with_name(f"{folder.name}.said")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _child(work, folder, said, limited=limited)
    _, status = os.waitpid(child, 0)
    text = said.read_bytes().decode("utf-8", "replace")
    said.unlink()
    return _outcome(status, text)


def _child(work: Callable[[], None], folder: Path, said: Path, *, limited: bool) -> None:
    """Never returns."""
    code = _UNEXPECTED
    try:
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        if limited:
            _limit()
        code = 0
        work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = _UNEXPECTED
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _limit() -> None:
    """Limit time and memory; the kernel ends what does not end by itself, within C code, too."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    # what waits needs no processor; on a machine that others use, so may what works
    signal.alarm(WAITING)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = _address_space() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    # no file of gigabytes on this disk either
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEMORY, MEMORY))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _outcome(status: int, said: str) -> Outcome:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name
        return Outcome(_SIGNALS.get(signal.Signals(number), "crash"), name, said)
    code = os.WEXITSTATUS(status)
    # a sentence about memory is one that came late
    if (
        "there is not enough memory for this" in said
        or "MemoryError" in said
        or "Cannot allocate memory" in said
        or "bad_alloc" in said
    ):
        return Outcome("memory", _key(said), said)
    if "Traceback (most recent call last)" in said or code not in (0, 2):
        return Outcome("traceback", _key(said), said)
    if code == 0:
        return Outcome("done", "", said)
    last = [line for line in said.splitlines() if line.strip()][-1:]
    if not last or not last[0].startswith("terapose: "):
        return Outcome("untold", last[0][:80] if last else "", said)
    if len(last[0]) > 4000:
        return Outcome("untold", f"a sentence that is too long: {last[0][:80]}", said)
    return Outcome("refused", "", said)


_FRAME = re.compile(r'File "(?:.*/)?(?:bin/|site-packages/)([^"]+)", line (\d+), in (\S+)')


def _key(said: str) -> str:
    """The last place in this program, the last of all, and the exception."""
    frames = [f"{file}:{line}" for file, line, _ in _FRAME.findall(said)]
    own = [frame for frame in frames if frame.startswith("terapose/")]
    lines = [line for line in said.splitlines() if re.match(r"[A-Za-z_.]+(Error|Exception)", line)]
    last = lines[-1].partition(":")[0] if lines else said.strip()[-60:]
    return " ".join([last, *own[-1:], *frames[-1:]])
