"""What finished runs have left, and only that, is removed: real runs, and folders made odd."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.command import Terapose

from terapose.api.clean import clean, left_by
from terapose.io import files, lock
from terapose.io.checksums import sealed, unsealed
from terapose.io.files import remove
from terapose.io.store.long_tables import Sorter
from terapose.io.store.store import Store


def tree(folder: Path) -> dict[str, bytes]:
    """Files by their names."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_nothing_goes_until_it_is_asked_for(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    store, before = segment(out), tree(out)
    said = command("clean", out)
    assert said.code == 0, said.err
    listed, end = said.out.splitlines()
    assert listed.startswith(f"removable {store}, ") and end.endswith(
        " would be freed: --yes removes it"
    )
    assert tree(out) == before
    (left,) = left_by(out)
    used = sum(p.stat().st_blocks * 512 for p in store.rglob("*") if p.is_file())
    assert left.size == used > 0
    said = command("clean", out, "--yes")
    assert said.code == 0 and said.out.splitlines()[0].startswith(f"removed   {store}, ")
    assert not (out / ".terapose").exists()
    results = {k: v for k, v in before.items() if not k.startswith(".terapose")}
    assert tree(out) == results and command("verify", out).code == 0
    said = command("clean", out)
    assert said.code == 0 and said.out.startswith("no intermediate results beside ")
    # with everything computed again, the results are the same
    segment(out)
    again = tree(out)
    assert {k: again[k] for k in results if k != "provenance.json"} == {
        k: v for k, v in results.items() if k != "provenance.json"
    }


def test_unfinished_and_replaced_runs_stay(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    older, store = segment(out, "--diameter", 9), segment(out)
    said = command("clean", out, "--yes")
    assert f"kept      {older}, " in said.out and "no results of this run are here" in said.out
    assert older.exists() and not store.exists() and f"removed   {store}" in said.out
    # a run that has not finished has no results
    (out / "provenance.json").unlink()
    said = command("clean", out, "--yes")
    assert said.code == 0 and older.exists() and "cannot be read" in said.out
    assert said.out.splitlines()[-1] == "0 bytes freed"


def a_damaged_result(out: Path, store: Path) -> str:
    (out / "cells.csv").write_bytes(b"damaged")
    return "the results have changed since they were written"


def a_damaged_plan(out: Path, store: Path) -> str:
    (store / "plan.json").write_bytes(b"{")
    return "its plan is missing or damaged"


def no_plan(out: Path, store: Path) -> str:
    (store / "plan.json").unlink()
    return "its plan is missing or damaged"


def a_link(out: Path, store: Path) -> str:
    next(store.glob("done/combine-*/task-0.json")).unlink()
    (next(store.glob("done/combine-*")) / "task-0.json").symlink_to(out / "cells.csv")
    return "which is neither a file nor a folder"


def a_link_to_a_folder(out: Path, store: Path) -> str:
    (out.parent / "precious").mkdir()
    (out.parent / "precious" / "file").touch()
    (store / "source").symlink_to(out.parent / "precious")
    return "source, which is neither a file nor a folder"


def a_store_that_is_a_link(out: Path, store: Path) -> str:
    store.rename(out.parent / "moved")
    store.symlink_to(out.parent / "moved")
    return "it is a symbolic link, which is not followed"


def added(name: str) -> Callable[[Path, Path], str]:
    """A file of somebody, under a name from the top of the store."""

    def odd(out: Path, store: Path) -> str:
        (store / name).touch()
        return f"it contains {name}, which Terapose has not written"

    odd.__name__ = name
    return odd


def a_table_beside_the_labels(out: Path, store: Path) -> str:
    (folder,) = store.glob("relabel-*")
    (folder / "mine.csv").touch()
    return f"it contains {folder.name}/mine.csv, which Terapose has not written"


def a_folder_of_somebody(out: Path, store: Path) -> str:
    (store / "done" / "Copy of done").mkdir()
    return "it contains done/Copy of done, which Terapose has not written"


def a_pipe(out: Path, store: Path) -> str:
    os.mkfifo(store / "done" / "pipe")
    return "it contains done/pipe, which is neither"


def a_linked_result(out: Path, store: Path) -> str:
    (out / "labels.zarr").rename(out.parent / "labels.zarr")
    (out / "labels.zarr").symlink_to(out.parent / "labels.zarr")
    return "labels.zarr is a link, perhaps into it"


def a_link_among_the_results(out: Path, store: Path) -> str:
    (chunk, *_) = (path for path in (out / "labels.zarr/cells/0/c").rglob("*") if path.is_file())
    (twin,) = store.glob(f"relabel-*/{chunk.relative_to(out)}")
    chunk.unlink()
    chunk.symlink_to(twin)
    return f"{chunk} is a link, perhaps into it"


def a_later_marker(out: Path, store: Path) -> str:
    # of a run with another parameter, whose stages have other keys
    (folder,) = store.glob("done/combine-*")
    other = folder.with_name(f"combine-{'0' * 16}")
    shutil.copytree(folder, other)
    os.utime(other / "task-0.json", (time.time() + 60,) * 2)
    return "a later run has worked in it"


def a_run_that_writes(out: Path, store: Path) -> str:
    # another machine's, and touched just now
    lock = {"host": f"not-{socket.gethostname()}", "process": 7, "started": "1", "since": "now"}
    (out / ".terapose.lock").write_text(json.dumps(lock))
    return f"a run is writing to {out} (process 7 on not-"


@pytest.mark.parametrize(
    "odd",
    [
        *(a_damaged_result, a_damaged_plan, no_plan, a_link, a_link_to_a_folder),
        *(a_store_that_is_a_link, a_table_beside_the_labels, a_folder_of_somebody),
        *map(added, ("notes.txt", "done/notes.txt", "image/mine", "image/7", "done/5.json")),
        *(added("done/plan.json"), a_link_among_the_results, a_pipe, a_linked_result),
        *(a_later_marker, a_run_that_writes),
    ],
    ids=lambda odd: odd.__name__,
)
def test_what_is_odd_stays(
    command: Terapose,
    segment: Callable[..., Path],
    tmp_path: Path,
    odd: Callable[[Path, Path], str],
) -> None:
    out = tmp_path / "out"
    store = segment(out)
    why = odd(out, store)
    before = sorted(tmp_path.rglob("*"))
    said = command("clean", out)
    assert said.code == 0 and said.out.splitlines()[-1] == "nothing to remove"
    assert f"kept      {store}, " in said.out and why in said.out
    said = command("clean", out, "--yes")
    if odd is a_run_that_writes:
        assert said.code == 2 and "another run is writing here" in said.err
    else:
        assert said.code == 0 and said.out.splitlines()[-1] == "0 bytes freed"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [
        ("--mode", "2d", "--expand", 2, "--mask-tiff", "cell.tif", "--table", "geojson"),
        ("--mode", "2d", "--cell-model", "MODEL", "--cell-diameter", 12, "--block-shape", "1,9,16"),
        ("--mode", "2d", "--normalize", "tile", "--augment"),
        ("--mode", "stitch", "--normalize", "plane", "--ome-zarr-version", "0.4"),
        ("--flow3d-smooth", 1, "--block-shape", "4,12,16", "--max-tasks", 3, "--thumbnails", 8),
        ("--keep-intermediates", "all", "--flow-threshold", 0.4, "--upscale", "--diameter", 40),
    ],
    ids=str,
)
def test_all_that_runs_write_is_known(
    command: Terapose,
    segment: Callable[..., Path],
    tmp_path: Path,
    tiny_model: Path,
    words: tuple[object, ...],
) -> None:
    out = tmp_path / "out"
    segment(out, *(tiny_model if word == "MODEL" else word for word in words))
    assert [left.kept for left in left_by(out)] in ([""], [""] * 3)


def test_cells_of_a_second_network_go_with_their_store(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path, tiny_model: Path
) -> None:
    out = tmp_path / "out"
    words = ("--mode", "2d", "--cell-model", tiny_model, "--cell-diameter", 12)
    segment(out, *words)
    inner = out / ".terapose" / "cells"
    assert (inner / "labels.zarr").exists()
    (inner / "notes.txt").touch()
    said = command("clean", out)
    assert f"kept      {inner}, " in said.out and "notes.txt, which Terapose" in said.out
    assert said.out.count("removable ") == 2
    (inner / "notes.txt").rename(inner / ".terapose" / "notes.txt")
    said = command("clean", out)
    assert f"kept      {inner}, " in said.out and ".terapose/notes.txt, which Terapose" in said.out
    (inner / ".terapose" / "notes.txt").unlink()
    results = (out / "cells.csv").read_bytes()
    assert command("clean", out, "--yes").out.count("removed   ") == 3
    assert not (out / ".terapose").exists() and (out / "cells.csv").read_bytes() == results
    # the cells stay as long as the results that they are matched to are not there
    segment(out, *words)
    record = unsealed((out / "provenance.json").read_text(), out)
    named_other = {**record, "second": {"plan_digest": "0" * 16}}
    (out / "provenance.json").write_text(json.dumps(sealed(named_other)))
    said = command("clean", out)
    assert f"{out} has results of other cells" in said.out and said.out.count("kept      ") == 2
    (out / "provenance.json").write_text(json.dumps(sealed(record)))
    (out / "cells.csv").write_bytes(b"damaged")
    said = command("clean", out, "--yes")
    assert said.out.count("kept      ") == 3 and (inner / "labels.zarr").exists()


def test_what_was_made_again_since_is_no_later_run(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    store = segment(out)
    marker = next(store.glob("done/combine-*/task-0.json"))
    os.utime(marker, (time.time() + 60,) * 2)
    assert [left.kept for left in left_by(out)] == [""]


def test_what_an_interruption_has_left_goes(
    command: Terapose,
    segment: Callable[..., Path],
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    segment(out, "--mode", "2d", "--cell-model", tiny_model, "--cell-diameter", 12)
    before = {k: v for k, v in tree(out).items() if not k.startswith(".terapose")}
    for number in (3, 17, 18, 25, 30):
        left = iter(range(number))

        def stop(path: Path, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            remove(path)

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(files, "remove", stop)
            clean(out)
    assert command("clean", out, "--yes").code == 0
    assert not (out / ".terapose").exists() and tree(out) == before


def test_a_chunk_that_was_being_written_is_known(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    store = segment(out, "--keep-intermediates", "all")
    chunk = next(path for path in store.glob("gradients-zy/c/**/*") if path.is_file())
    chunk.with_suffix(f".{'0' * 32}.partial").touch()  # as zarr names it
    (store / "gradients-zy" / f"mine.{'0' * 32}.partial").touch()
    assert [left.kept for left in left_by(out)] == [
        f"it contains gradients-zy/mine.{'0' * 32}.partial, which Terapose has not written"
    ]
    (store / "gradients-zy" / f"mine.{'0' * 32}.partial").unlink()
    assert command("clean", out, "--yes").code == 0 and not store.exists()


def test_what_a_gather_that_was_killed_has_put_aside_is_known(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    store = segment(out, "--keep-intermediates", "all")
    places = ("seeds-*", "seeds-*/table", "relabel-*/by_block", "relabel-*/relabel_map")
    for place in places:
        (folder,) = store.glob(place)
        Sorter(Store(str(folder)), "unsorted", "key", 5).add({"key": np.arange(9)})
    assert len([*store.rglob("unsorted-*/*.npz")]) == 2 * len(places)
    assert [left.kept for left in left_by(out)] == [""]
    assert command("clean", out, "--yes").code == 0 and not store.exists()


def test_where_no_room_is_left_some_is_made(
    command: Terapose, segment: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    store = segment(out)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("terapose.io.lock.json.dump", full)
        said = command("segment", tmp_path / "image.zarr", out)
        assert said.code == 2 and "No space left" in said.err
        assert not (out / lock.NAME).exists()
        assert command("clean", out, "--yes").code == 0
    assert not store.exists() and not (out / lock.NAME).exists()
