"""What would fail at the end, when results are written, is refused before anything is computed."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.command import Terapose
from tests.synthetic import nuclei, write_tiff

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.results.destination import check_output
from terapose.results.outputs import result_names
from terapose.stages.check import check_open_files


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
    with pytest.raises(InputError, match="out: results cannot be written; got File exists"):
        check_output(tmp_path / "out", "image.tif", ["labels.zarr"])


def test_a_name_that_the_file_system_does_not_take_is_refused(tmp_path: Path) -> None:
    check_output(tmp_path, "image.tif", ["x" * 255])
    with pytest.raises(InputError, match=r"too long for this folder; got x+; allowed: 255 bytes"):
        check_output(tmp_path, "image.tif", ["labels.zarr", "x" * 256])


@pytest.mark.parametrize("name", ["nucleus.ome.tif", "NUCLEUS.ome.tif", "Cytoplasm.OME.tif"])
def test_two_results_of_one_name_are_refused(name: str) -> None:
    assert name in result_names(check({"mask_tiff": name}))
    with pytest.raises(InputError, match=f"^mask_tiff: is the name of another result; got {name}"):
        result_names(check({"mask_tiff": name, "expand": 2}))


@pytest.fixture
def limit() -> Iterator[Callable[[int], None]]:
    """Set how many files may be open at once."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_too_low_a_limit_of_open_files_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    limit: Callable[[int], None],
) -> None:
    limit(66)
    check_open_files()
    with pytest.raises(InputError, match=r"got a limit of 66; allowed: 80 or more; .* -n 1024"):
        check_open_files(8)
    limit(65)
    command = Terapose(monkeypatch, capsys)
    for words in (("check", "a.tif"), ("segment", "a.tif", tmp_path / "out", "--jobs", 1)):
        assert command.refuses(*words) == (
            "too few files may be open at once; got a limit of 65; allowed: 66 or more; "
            "raise the limit (ulimit -n 1024), and run again"
        )
    assert not (tmp_path / "out").exists()


def test_thumbnails_beyond_all_measure_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = Terapose(monkeypatch, capsys)
    for planes, most in ((1, 32767), (2, 1023)):
        image = tmp_path / f"{planes}.tif"
        write_tiff(image, nuclei((planes, 24, 28))[0])
        assert command("check", image, "--thumbnails", most, "--mode", "2d").code == 0
        for name, words in (("check", ()), ("segment", (tmp_path / "out",))):
            said = command.refuses(name, image, *words, "--thumbnails", most + 1, "--mode", "2d")
            assert said.startswith("thumbnails: one thumbnail would be too large; got ")
            assert f"allowed: up to {most}" in said
