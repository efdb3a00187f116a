"""The command line: parses and calls; a user's mistake is one sentence and exit code 2."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import traceback
from typing import NoReturn

import click

from terapose.core.errors import InputError
from terapose.core.masking import masked
from terapose.core.version import __version__

COMMANDS = {
    "segment": "segment",
    "simulate": "simulate",
    "verify": "verify",
    "evaluate": "evaluate",
    "picture": "picture",
    "cut": "cut",
    "train": "train",
    "fetch": "fetch",
    "check": "check",
    "plan": "plan",
    "convert": "scattered",
    "intensities": "scattered",
    "gradients": "scattered",
    "combine": "scattered",
    "follow": "scattered",
    "peaks": "scattered",
    "masks": "scattered",
    "errors": "scattered",
    "overlaps": "scattered",
    "voids": "scattered",
    "matches": "scattered",
    "export": "scattered",
    "measure": "scattered",
    "outlines": "scattered",
    "percentiles": "gathers",
    "gather": "gathers",
    "seeds": "gathers",
    "objects": "gathers",
    "planes": "gathers",
    "stitch": "gathers",
    "relabel": "gathers",
    "match": "gathers",
    "finish": "gathers",
}
"""Module of each command; loaded when the command is called, so that help is quick."""


class Commands(click.Group):
    """Commands that are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, those for people first."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"terapose.cli.{COMMANDS[name]}")
        several: dict[str, click.Command] = getattr(module, "commands", {})
        found: click.Command = several.get(name) or module.command
        return found


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Example:
  terapose segment nuclei.zarr results --diameter 14
""",
)
@click.version_option(__version__, prog_name="terapose")
def group() -> None:
    """Segment cells in images that fit on no single machine."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Masked("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(True)


class _Masked(logging.Formatter):
    """Log lines without credentials, whoever wrote them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return masked(super().format(record))


def _system_fault(error: OSError, remedy: str) -> InputError:
    return InputError(error.strerror or "cannot be used", where=error.filename, remedy=remedy)


def main() -> None:
    """Run a command; what a user can put right is said in one sentence."""
    if not sys.stderr.isatty():
        # one line a message in a log, whatever its width
        os.environ.setdefault("COLUMNS", "10000")
    try:
        group(prog_name="terapose", standalone_mode=False)
    except InputError as error:
        fault: Exception = error
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        place = f"; {context.command_path} --help tells what it takes" if context else ""
        click.echo(f"terapose: {error.format_message().rstrip('.')}{place}", err=True)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except PermissionError as error:
        fault = _system_fault(error, "make sure that you may read it, or write there")
    except OSError as error:
        if error.errno not in _REMEDIES:
            _tell_where()
        fault = _system_fault(error, _REMEDIES[error.errno])
    except MemoryError as error:
        fault = InputError(
            "there is not enough memory for this",
            got=error,
            remedy="check that the size the file declares is right, or use a larger machine",
        )
    except Exception:
        _tell_where()
    else:
        return
    click.echo(f"terapose: {fault}", err=True)
    sys.exit(2)


def _tell_where() -> NoReturn:
    """Of what nobody expected, say where in the code; addresses in it may hold credentials."""
    click.echo(masked(traceback.format_exc()), err=True, nl=False)
    sys.exit(1)


_ROOM = "make room or choose another folder, and run again: finished work is kept"
_FILES = "allow more open files (ulimit -n 1024), and run again"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EROFS: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENAMETOOLONG: "no file has such a name: check what was given",
    errno.ELOOP: "a link leads to itself: make it lead to a file, or remove it",
}
"""Faults of the system that a person can put right, by what to do."""
