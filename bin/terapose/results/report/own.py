"""Files made from results, reports and crates: which are there, and that no others are replaced."""

from __future__ import annotations

from pathlib import Path

from terapose.core.errors import InputError
from terapose.io import files
from terapose.io.remote import Remote, names_in

PAGE, NUMBERS, MULTIQC = NAMES = ("report.html", "report.json", "report_mqc.json")
"""Names of the files."""
CRATE, CRATE_SIGN = "ro-crate-metadata.json", "Written by Terapose"
"""Name of a crate, and what its description begins with."""
GENERATOR = "Terapose"
"""Name in the head of each page."""
_BEGIN = 400
SIGNS = {
    PAGE: f'name="generator" content="{GENERATOR} '.encode(),
    NUMBERS: b'{\n "format": ',
    MULTIQC: b'{\n "id": "terapose"',
    CRATE: CRATE_SIGN.encode(),
}
"""What is near the beginning of each, and of no file of others."""


def refuse_others(folder: Path | Remote) -> None:
    """Refuse to replace files that are no reports.

    Raises
    ------
    InputError
        If there is one.
    """
    for name in sorted(set(NAMES).intersection(names_in(folder))):
        if not is_own(folder, name):
            raise InputError(
                "would be overwritten, although it is not a report of Terapose",
                where=folder / name,
                remedy="move it away, or choose another folder",
            )


def reports_in(folder: Path | Remote) -> list[str]:
    """Names of the files of reports in a folder."""
    there = names_in(folder)
    return [name for name in NAMES if name in there and is_own(folder, name)]


def crate_in(folder: Path | Remote) -> list[str]:
    """Name of the crate in a folder, if there is one that Terapose has written."""
    return [CRATE] if CRATE in names_in(folder) and is_own(folder, CRATE) else []


def remove_made(folder: Path | Remote) -> None:
    """Remove the files of reports and the crate from a folder, and nothing else."""
    found = reports_in(folder) + crate_in(folder)
    if isinstance(folder, Remote):
        folder.remove(found)
        return
    for name in found:
        files.remove(folder / name)


def is_own(folder: Path | Remote, name: str) -> bool:
    """Whether a file is of a report, or a crate, by how it begins."""
    if isinstance(folder, Remote):
        content = folder.read(name) or b""
    elif not (folder / name).is_file():
        return False
    else:
        with (folder / name).open("rb") as file:
            content = file.read(_BEGIN)
    return SIGNS[name] in content[:_BEGIN]
