"""The command line: parses and calls; a user's mistake is one sentence and exit code 2."""

from __future__ import annotations

import errno
import importlib
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from terapose.core import threads as libraries
from terapose.core.errors import GPUMemoryError, InputError, lacks_memory
from terapose.core.masking import masked
from terapose.core.other_names import COMMANDS, PARAMETERS, TRAINING, elsewhere
from terapose.core.version import __version__

GROUPS = {
    "Segment": ("segment", "check", "plan", "status"),
    "Look and judge": ("view", "report", "picture", "evaluate", "tune", "verify"),
    "Data": (
        *("simulate", "crop", "measure", "process", "cut"),
        *("attach", "pack", "crate", "spatialdata", "npy"),
    ),
    "Train": ("train", "fetch"),
    "Cluster": ("profile", "clean", "stage"),
}
"""Commands by what they are for. Each is a module, loaded when it is called; help loads all of them
and is quick nevertheless, because they import heavy libraries only when they run."""


_SAME = {"cut_cells": "cut"}
"""Commands of other programs that take the same words as the one of this program."""


class Commands(click.Group):
    """Commands that are imported when they are called, or listed in help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands."""
        return [name for names in GROUPS.values() for name in names]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        name = _SAME.get(name, name)
        if name not in self.list_commands(ctx):
            return None
        found: click.Command = importlib.import_module(f"terapose.cli.{name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name of another program is answered with the one of this."""
        said = elsewhere(args[0], COMMANDS)
        if said and args[0] not in _SAME:
            ctx.fail(f"No such command '{args[0]}' ({said})")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are for."""
        limit = formatter.width - 14
        for title, names in GROUPS.items():
            commands = ((name, self.get_command(ctx, name)) for name in names)
            with formatter.section(title):
                formatter.write_dl([(n, c.get_short_help_str(limit)) for n, c in commands if c])


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Example:
  terapose segment nuclei.zarr results --diameter 14
""",
)
@click.version_option(__version__, prog_name="terapose")
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    help="Threads of each library in this process (default: OMP_NUM_THREADS, or one per core); "
    "segment divides the cores among processes instead (--jobs).",
)
@click.pass_context
def group(context: click.Context, threads: int | None) -> None:
    """Segment cells in images too large for one machine."""
    if threads:
        libraries.limit(threads)
    context.ensure_object(list).append(context.invoked_subcommand)
    handler = logging.StreamHandler()
    handler.setFormatter(_Masked("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(True)
    # it warns of a home that it cannot write to, and takes a temporary folder
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


class _Masked(logging.Formatter):
    """Log lines without credentials, whoever wrote them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return masked(super().format(record))


def _system_fault(error: OSError, remedy: str) -> InputError:
    return InputError(error.strerror or "cannot be used", where=error.filename, remedy=remedy)


def main(words: Sequence[str] | None = None) -> None:
    """Run a command; what a user can put right is said in one sentence.

    Parameters
    ----------
    words
        The command and its options; None: those that this process was called with.
    """
    if not sys.stderr.isatty():
        # one line a message in a log, whatever its width
        os.environ.setdefault("COLUMNS", "10000")
    # pydantic would look for plugins in all packages that are installed, at each start
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        # names of files may be no text, and other encodings lack signs
        sys.stdout.reconfigure(errors="backslashreplace")
    called: list[str | None] = []
    try:
        group(words, prog_name="terapose", standalone_mode=False, obj=called)
    except InputError as error:
        fault: Exception = error
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        place = f"; {context.command_path} --help lists the options" if context else ""
        click.echo(f"terapose: {masked(_in_words(error)).rstrip('.')}{place}", err=True)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except PermissionError as error:
        fault = _system_fault(error, "make sure that you may read it, or write there")
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _REMEDIES:
            click.echo(f"terapose: {_system_fault(error, _REMEDIES[error.errno])}", err=True)
            sys.exit(2)
        if not lacks_memory(error):
            _tell_where()
        fault = InputError(
            "there is not enough memory for this",
            got=str(error).partition("\n")[0] or "none left",
            remedy="check that the size the file declares is right, allow more (ulimit -v "
            "unlimited), or use a larger machine",
        )
        if called == ["stage"]:
            click.echo(f"terapose: {fault}", err=True)
            sys.exit(_KILLED)
    else:
        return
    click.echo(f"terapose: {fault}", err=True)
    later = isinstance(fault, GPUMemoryError) and called == ["stage"]
    sys.exit(os.EX_TEMPFAIL if later else 2)


def _in_words(error: click.ClickException) -> str:
    """What click says; of an option of another program, what it is here."""
    if isinstance(error, click.NoSuchOption):
        trains = error.ctx is not None and error.ctx.info_name == "train"
        said = elsewhere(error.option_name.lstrip("-"), TRAINING if trains else PARAMETERS)
        if said:
            return f"No such option: {error.option_name} ({said})"
    return error.format_message()


def _tell_where() -> NoReturn:
    """Of what nobody expected, say where in the code; addresses in it may hold credentials."""
    click.echo(masked(traceback.format_exc()), err=True, nl=False)
    sys.exit(1)


_KILLED = 137
"""What a task leaves that is killed for its memory: the workflow tries it again with more."""
_ROOM = "make room or choose another folder, and run again: finished work is kept"
_FILES = "allow more open files (ulimit -n 1024), and run again"
_DISK = "make sure that the disk, or the server that it is on, works, and run again"
_NAME = (
    "there is a file where a folder should be, or a folder in place of a file: choose another name"
)
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EROFS: "choose a folder that can be written to, and run again",
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "allow larger files (ulimit -f unlimited), or choose another disk, and run again",
    errno.EIO: _DISK,
    errno.ESTALE: _DISK,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENAMETOOLONG: "the name is too long for this file system: use a shorter one",
    errno.ENOENT: "it was removed in the meantime, or nothing can be made there: choose another "
    "folder, or run again",
    errno.EEXIST: _NAME,
    errno.EISDIR: _NAME,
    errno.ENOTDIR: _NAME,
    errno.ELOOP: "a link leads to itself: make it lead to a file, or remove it",
}
"""Faults of the system that a person can put right, by what to do."""
