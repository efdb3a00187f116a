"""The folder for the results is tried out without touching what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from terapose.core.errors import InputError
from terapose.stages.check import check_output


def test_no_file_is_opened_to_try_a_folder(tmp_path: Path) -> None:
    folder, victim = tmp_path / "out", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("precious")
    for name in (".terapose-probe", ".terapose-"):
        (folder / name).symlink_to(victim)
    check_output(folder, "image.tif", ["labels.zarr"])
    assert victim.read_text() == "precious"
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError):
        check_output(tmp_path / "out", "image.tif", ["labels.zarr"])
