"""Commands for several samples in one process."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from tests.command import Said, Terapose
from tests.synthetic import write_zarr

IMAGE = np.arange(600, dtype=np.uint16).reshape(1, 20, 30)


@pytest.fixture
def each(command: Terapose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Each:
    """Run commands in folders of a temporary one."""
    monkeypatch.chdir(tmp_path)
    return Each(command, monkeypatch)


class Each:
    """Runs `terapose stage each`."""

    def __init__(self, command: Terapose, patch: pytest.MonkeyPatch) -> None:
        self._command = command
        self._patch = patch

    def __call__(self, *lines: str, options: tuple[str, ...] = ()) -> Said:
        """Run commands, a line each."""
        self._patch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return self._command("stage", "each", *options)


def test_commands_run_in_their_folders(each: Each, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_zarr(tmp_path / f"image {name}.zarr", IMAGE)
    own = json.dumps({"diameter": 12, "mode": "2d"})
    words = f"--sample one --own '{own}' --lines lines.tsv"
    said = each(*(f"out_{name} check '../image {name}.zarr' {words}" for name in ("a", "b")))
    assert said.code == 0, said.err
    assert said.out.index("image a.zarr") < said.out.index("image b.zarr")
    assert Path.cwd() == tmp_path
    lines = [(tmp_path / f"out_{name}" / "lines.tsv").read_text() for name in ("a", "b")]
    assert "image a.zarr" in lines[0] and "image b.zarr" in lines[1]
    assert not list(tmp_path.glob("*/fault"))


def test_one_that_fails_ends_alone(each: Each, tmp_path: Path) -> None:
    write_zarr(tmp_path / "image.zarr", IMAGE)
    (tmp_path / "good").mkdir()
    # of an earlier attempt
    (tmp_path / "good" / "fault").write_text("old")
    said = each(
        "bad check ../nothing.zarr",
        "odd check --no-such-option",
        "good check ../image.zarr --diameter 12 --mode 2d",
    )
    assert said.code == 0 and "shape     1 x 20 x 30" in said.out
    faults = {path.parent.name: path.read_text() for path in tmp_path.glob("*/fault")}
    assert faults.keys() == {"bad", "odd"}
    assert (
        faults["bad"].startswith("terapose: ../nothing.zarr: ")
        and "No such option" in faults["odd"]
    )
    assert all(f"{fault}\n" in said.err for fault in faults.values())


def test_the_exit_code_of_one_alone_is_its_own(each: Each, tmp_path: Path) -> None:
    said = each("bad check nothing.zarr")
    assert said.code == 2 and said.err.startswith("terapose: nothing.zarr: ")
    assert not list(tmp_path.glob("*/fault"))
    assert each().code == 0


@pytest.mark.parametrize(
    ("fault", "code", "goes_on"),
    [
        (SystemExit(137), 137, False),
        (SystemExit(143), 143, False),
        (KeyboardInterrupt(), 130, False),
        (RuntimeError("nobody expected this"), 0, True),
    ],
)
def test_what_ends_a_task_ends_it_for_all(
    each: Each,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    code: int,
    goes_on: bool,
) -> None:
    """Too little memory, or a signal: the workflow runs the task again, as a whole."""
    write_zarr(tmp_path / "image.zarr", IMAGE)
    first = True

    def check_once(*words: object, **options: object) -> object:
        nonlocal first
        if first:
            first = False
            raise fault
        return real(*words, **options)  # type: ignore[arg-type]

    from terapose.stages import check

    real = check.run
    monkeypatch.setattr(check, "run", check_once)
    words = "check ../image.zarr --diameter 12 --mode 2d"
    said = each(f"one {words}", f"two {words}")
    assert said.code == code
    assert ("shape     1 x 20 x 30" in said.out) == goes_on
    assert (tmp_path / "one" / "fault").exists() == goes_on
    if goes_on:
        assert (tmp_path / "one" / "fault").read_text() == "RuntimeError: nobody expected this"


@pytest.mark.parametrize("last", [False, True])
def test_one_that_is_killed_apart_ends_no_other(each: Each, tmp_path: Path, last: bool) -> None:
    """As for its memory; when there is no other attempt, it ends its sample alone."""
    write_zarr(tmp_path / "image.zarr", IMAGE)
    # a function of the user's, which runs when the parameters are looked at
    (tmp_path / "kills.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    words = "check ../image.zarr --diameter 12 --mode 2d --lines lines.tsv"
    options = ("--apart", "--last") if last else ("--apart",)
    said = each(
        f"one {words}",
        f"two {words} --process ../kills.py",
        "three check ../nothing.zarr",
        f"four {words}",
        options=options,
    )
    assert said.code == (0 if last else 137)
    assert {path.parent.name for path in tmp_path.glob("*/lines.tsv")} == {"one", "four"}
    faults = {path.parent.name: path.read_text() for path in tmp_path.glob("*/fault")}
    assert faults.keys() == ({"two", "three"} if last else {"three"})
    assert faults["three"].startswith("terapose: ../nothing.zarr: ")
    if last:
        assert faults["two"] == "was ended with exit status 137, most likely for lack of memory"
