"""What commands of the workflow write for other tasks is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose
from tests.synthetic import write_zarr

from terapose.io import files

OLD = "of an earlier run"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("plan", "--output"), "plan.json"),
        (("plan", "--tasks"), "tasks/convert.csv"),
        (("check", "--lines"), "sample.tsv"),
        (("check", "--second", "--lines"), "sample.tsv"),
    ],
    ids=str,
)
def test_a_command_that_ends_early_leaves_what_was_there(
    words: tuple[str, ...],
    name: str,
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = write_zarr(tmp_path / "image.zarr", np.arange(1600, dtype="uint16").reshape(4, 20, 20))
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    target.write_text(OLD)
    place = target if target.suffix != ".csv" else target.parent
    command = (words[0], image, "--model", tiny_model, *words[1:], place)
    terapose = Terapose(monkeypatch, capsys)
    if name == "plan.json":
        # nothing but a plan is replaced by one
        target.unlink()
        assert terapose(*command).code == 0
    old = target.read_text()

    def ends(point: str) -> None:
        if point == "file: before it is renamed":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "at_point", ends)
        assert terapose(*command).code == 130
    assert target.read_text() == old
    assert not list(target.parent.glob(f"*{files.ASIDE}"))
    assert terapose(*command).code == 0
    assert target.read_text() != OLD
