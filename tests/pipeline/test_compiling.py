"""Kernels are compiled once for a version and a processor, and a note says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from terapose.cli.fetch import command
from terapose.pipeline import compiling, warm_up
from terapose.pipeline.code import package_digest


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A package of its own, and how often its kernels were compiled."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "kernels.py").write_text("one", encoding="utf-8")
    monkeypatch.setattr(compiling, "_PACKAGE", package)
    package_digest.cache_clear()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    calls: list[str] = []
    monkeypatch.setattr(warm_up, "main", lambda: calls.append("compiled"))
    return calls


def compile_missing() -> bool:
    """Compile, and say nothing."""
    return compiling.compile_missing(list[str]().append)


def test_kernels_are_compiled_once(compiled: list[str], tmp_path: Path) -> None:
    assert compile_missing() and not compiling.compile_missing(list[str]().append)
    assert len(compiled) == 1 and len(list((tmp_path / "cache").iterdir())) == 1


def test_a_fault_leaves_no_note(compiled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> None:
        raise MemoryError

    monkeypatch.setattr(warm_up, "main", stopped)
    for _ in range(2):
        with pytest.raises(MemoryError):
            compile_missing()


@pytest.mark.parametrize("change", ["source", "file", "processor", "folder"])
def test_what_makes_them_compile_again(
    change: str, compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_missing()
    source = tmp_path / "package" / "kernels.py"
    if change == "source":
        source.write_text("other", encoding="utf-8")
    elif change == "file":
        (tmp_path / "package" / "more.py").touch()
    elif change == "processor":
        monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64")
    else:
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "other"))
    package_digest.cache_clear()
    assert compile_missing() and not compiling.compile_missing(list[str]().append)
    assert len(compiled) == 2


def test_beside_the_package(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert compile_missing() and not compiling.compile_missing(list[str]().append)
    assert list((tmp_path / "package" / "__pycache__").glob("compiled-*"))


def test_the_note_of_another_user_beside_the_package(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """numba keeps code where it can write: not there."""
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    said: list[str] = []
    assert compiling.compile_missing(said.append) and len(said) == 1
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert compiling.compile_missing(said.append) and len(said) == len(compiled) == 2
    # what is given to be used, tasks copy
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "package" / "__pycache__"))
    assert not compiling.compile_missing(said.append)


def test_where_no_note_can_be_left(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/cache")
    assert compile_missing() and compiling.compile_missing(list[str]().append)


def test_fetch_compiles_where_it_is_asked_to(compiled: list[str], tmp_path: Path) -> None:
    words = ["nuclei-large", "--output", str(tmp_path / "net.pth")]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0 and not compiled
    done = CliRunner().invoke(command, [*words, "--compile"])
    assert done.exit_code == 0 and compiled == ["compiled"], done.output
    assert done.output.splitlines()[-1].startswith("nuclei-large: unet")
