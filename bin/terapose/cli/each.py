"""`terapose stage each`: commands for several samples, one after another in one process.

To start Python, to import PyTorch and to open a network takes longer than most of what is done
with a small image. Here that is done once. Each command runs in another folder, and what it finds
to be wrong with its sample ends that sample alone.

Not so what ends the whole process, such as too little memory, or what may be otherwise the next
time, such as the free memory of a GPU: then the workflow runs the task again, with ``--apart``
(``one_by_one`` in ``modules/packs.nf``). Each command has another process in that case, so that
only the one fails that is ended again.
"""

from __future__ import annotations

import gc
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import chdir, redirect_stderr
from pathlib import Path
from typing import TextIO

import click

_SIGNAL = 128
"""Statuses above this are those of a process that was ended, by the system or by a signal."""
_KILLED = _SIGNAL + 9
_HERE = "from terapose.cli import main; main(['stage', 'each'])"


class _Heard(io.StringIO):
    """Passes on what is written at once, and keeps it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        """Write to both."""
        self._stream.write(text)
        self._stream.flush()
        return super().write(text)


def _fault(folder: Path) -> Path:
    """The file that says why the command in a folder failed."""
    return folder / "fault"


def _run(folder: Path, words: Sequence[str]) -> tuple[int, str]:
    """Run a command in its folder: its exit status, and what it said."""
    from terapose.cli import main

    folder.mkdir(exist_ok=True)
    _fault(folder).unlink(missing_ok=True)
    status, heard = 0, _Heard(sys.stderr)
    with chdir(folder), redirect_stderr(heard):
        try:
            main(words)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    # arrays of this sample would still be there while the next one is done
    gc.collect()
    return status, heard.getvalue()


def _run_apart(folder: Path, words: Sequence[str]) -> tuple[int, str]:
    """The same in another process, which reads them: all see the words that it is called with."""
    sys.stdout.flush()
    done = subprocess.run(
        [sys.executable, "-P", "-c", _HERE],
        input=shlex.join([str(folder), *words]),
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    sys.stderr.write(done.stderr)
    status = done.returncode
    return (_SIGNAL - status if status < 0 else status), done.stderr


def _sentence(status: int, said: str) -> str:
    """Why a command failed: its sentence, or the last that it said."""
    lines = [line for line in said.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("terapose: ")]
    if own:
        return own[-1]
    if lines and status < _SIGNAL:
        return lines[-1]
    remedy = ", most likely for lack of memory" if status == _KILLED else ""
    return f"was ended with exit status {status}{remedy}"


@click.command(
    name="each",
    epilog="""\b
Example:
  terapose stage each < lines.txt""",
)
@click.option("--apart", is_flag=True, help="Run each command in its own process.")
@click.option(
    "--last", is_flag=True, help="Also continue after a command whose process was killed."
)
def _command(apart: bool, last: bool) -> None:
    """Run commands for several samples, one after another.

    Each line of standard input has a folder, which is made if need be, and the words of a command
    that runs in it. If one fails, the others run nevertheless, and FOLDER/fault says why it did; if
    there is only one, its exit code is that of this command.
    """
    commands = [shlex.split(line) for line in sys.stdin]
    is_alone = len(commands) == 1
    run = _run_apart if apart and not is_alone else _run
    ended = 0
    for name, *words in commands:
        folder = Path(name)
        status, said = run(folder, words)
        again = status > _SIGNAL or status == os.EX_TEMPFAIL
        if status and (is_alone or (again and not apart)):
            sys.exit(status)
        if again and not last:
            # with the one that stands for more memory all may be done
            ended = _KILLED if _KILLED in (ended, status) else status
        elif status:
            said = _sentence(status, said)
            _fault(folder).write_text(said, encoding="utf-8", errors="backslashreplace")
        sys.stdout.flush()
    sys.exit(ended)


commands = {"each": _command}
