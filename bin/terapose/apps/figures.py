"""Pictures drawn by matplotlib, as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from terapose.core.errors import InputError
from terapose.io import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save(figure: Figure, path: Path, **how: Any) -> None:
    """Write a figure as a PNG file.

    Parameters
    ----------
    figure
        The figure.
    path
        The file.
    **how
        As of ``Figure.savefig``.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    try:
        with files.written(path, "picture") as partial:
            # zlib takes twice as long to make the file a tenth smaller
            figure.savefig(partial, format="png", pil_kwargs={"compress_level": 3}, **how)
    except OSError as error:
        raise InputError(
            "the picture cannot be written",
            where=path,
            got=f"{type(error).__name__}: {error}",
            remedy="choose a folder that exists and that you may write to",
        ) from error
