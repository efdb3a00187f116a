"""What a program makes aside, in a folder that it finds again after an interruption.

1. The folder is hidden, beside the destination, and its name follows from the request
   (``.NAME.DIGEST.unfinished``): who repeats a request finds what was done of it, and another
   request begins anew. One process at a time works there.
2. The work is cut into *units*. Each writes whole files that no other unit writes, and the receipt
   has their CRC-32C. A unit counts as done only if its files still have them, so nothing that was
   torn or changed is taken for finished.
3. The result has its name when all is done, by one rename; then the folder goes.

What is written by a unit must depend on the request alone. Then the result depends neither on the
number of threads nor on interruptions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from terapose.core.errors import InputError
from terapose.io import files
from terapose.io.images.address import digest, refuse_inputs
from terapose.io.images.watch import Watch
from terapose.io.labels.files import of_path
from terapose.io.lock import held
from terapose.io.zarr_files import Noted
from terapose.results.named_files import refuse_results

Progress = Callable[[str, int, int], None]
"""Called with the name of a step, the number of units done, and that of all."""

_GROUP = (".zgroup", "zarr.json")
_END = ".unfinished"
_RECEIPTS = "receipts"
_DIGITS = 16


@dataclass(frozen=True)
class Unfinished:
    """The folder.

    Attributes
    ----------
    folder
        Where it is.
    jobs
        Threads that work.
    progress
        Called as the work goes on.
    """

    folder: Path
    jobs: int
    progress: Progress | None = None

    @property
    def result(self) -> Path:
        """What becomes the result."""
        return self.folder / "result"

    def run(
        self,
        step: str,
        units: int,
        work: Callable[[int], Noted],
        key: str = "",
        *,
        waits: bool = True,
    ) -> None:
        """Do the units of a step that are not done.

        Parameters
        ----------
        step
            Its name.
        units
            How many there are.
        work
            Does one; returns the CRC-32C of the files that it wrote, by their paths in the folder,
            and None for those that it removed.
        key
            What the files depend on beside the request; with another one all units are done again.
        waits
            Whether units that have begun are waited for when the user interrupts the work. Others
            may work in the folder from then on.
        """
        name = f"{step} {key}".strip()
        done = self._done(name)
        todo = [unit for unit in range(units) if unit not in done]
        self._show(step, units - len(todo), units)
        with (self.folder / _RECEIPTS).open("a", encoding="utf-8") as receipts:
            finished = _each(todo, work, self.jobs, waits=waits)
            for count, (unit, noted) in enumerate(finished, units - len(todo) + 1):
                line = json.dumps({"step": name, "unit": unit, "files": noted})
                receipts.write(f"{line}\n")
                receipts.flush()
                files.point("receipt: after it is written")
                self._show(step, count, units)

    def _show(self, step: str, done: int, units: int) -> None:
        if self.progress is not None:
            self.progress(step, done, units)

    def _done(self, step: str) -> set[int]:
        """Units whose files are those of their receipts."""
        path = self.folder / _RECEIPTS
        if not path.exists():
            return set()
        kept, found = [], {}
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                receipt = json.loads(line)
            except ValueError:  # the process was killed while it wrote it
                continue
            kept.append(line)
            if receipt["step"] == step:
                found[receipt["unit"]] = receipt["files"]
        # the next receipt starts on a line of its own
        files.write_text(path, "".join(f"{line}\n" for line in kept), "receipts")
        with ThreadPoolExecutor(self.jobs) as pool:
            whole = pool.map(self._is_whole, found.values())
            return {unit for unit, is_whole in zip(found, whole, strict=True) if is_whole}

    def _is_whole(self, noted: Noted) -> bool:
        return all(of_path(self.folder, name) == crc for name, crc in noted.items())

    def confirm(self, watch: Watch) -> None:
        """Compare the images that were read with what they were; nothing counts if they changed.

        Raises
        ------
        InputError
            If one has changed.
        """
        try:
            watch.confirm()
        except InputError:
            files.remove(self.folder / _RECEIPTS)
            raise

    def publish(self, path: Path, *, overwrite: bool) -> None:
        """Give the result its name.

        Parameters
        ----------
        path
            The destination.
        overwrite
            Whether a Zarr group that has the name is replaced.

        Raises
        ------
        InputError
            If something has the name meanwhile that is not to be replaced. The work is kept: with
            another answer the same request is finished at once.
        """
        files.refuse_present(path, overwrite=overwrite, groups=_GROUP)
        files.move(self.result, path, "result")


@contextmanager
def unfinished(
    path: Path, request: Sequence[object], jobs: int, progress: Progress | None = None
) -> Iterator[Unfinished]:
    """The folder in which a result is made; it goes if the block ends without an error.

    Parameters
    ----------
    path
        The destination.
    request
        All that the bytes of the result and the division of the work depend on.
    jobs
        Threads that work.
    progress
        Called as the work goes on.

    Raises
    ------
    InputError
        If another process works there, or the folder cannot be made.
    """
    folder = path.with_name(f".{path.name}.{digest(*request)[:_DIGITS]}{_END}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "nothing can be written here",
            where=path.parent,
            got=error.strerror or error,
            remedy="choose a folder you may write to, on a disk with space left",
        ) from error
    with held(folder):
        yield Unfinished(folder, jobs, progress)
        # while it is held: whoever repeats the request has a folder of the same name
        done = files.aside(folder)
        files.move(folder, done, "unfinished work")
    files.remove(done)


def others(path: Path) -> list[str]:
    """Names of folders of unfinished work on a destination, sorted."""
    if not path.parent.is_dir():
        return []
    start = f".{path.name}."
    names = os.listdir(path.parent)
    ours = (n for n in names if n.startswith(start) and n.endswith(_END))
    return sorted(n for n in ours if len(n) == len(start) + _DIGITS + len(_END))


def check_destination(path: Path, inputs: Iterable[str], *, overwrite: bool) -> None:
    """Refuse a destination that is there, before anything is computed.

    Parameters
    ----------
    path
        A Zarr group that will be written.
    inputs
        Addresses of what is read.
    overwrite
        Whether a Zarr group may be replaced.

    Raises
    ------
    InputError
        If it holds an input or is inside one, is a result of a run, exists and is not to be
        replaced, or is something other than a Zarr group.
    """
    refuse_inputs([path], inputs)
    refuse_results([path])
    files.refuse_present(path, overwrite=overwrite, groups=_GROUP)


def _each(
    todo: Iterable[int], work: Callable[[int], Noted], jobs: int, *, waits: bool
) -> Iterator[tuple[int, Noted]]:
    """Do units in threads, a few ahead; each with what it returned, as they become ready."""
    pool = ThreadPoolExecutor(jobs)
    is_waited_for = True
    try:
        waiting: dict[Future[Noted], int] = {}
        for unit in todo:
            waiting[pool.submit(work, unit)] = unit
            if len(waiting) >= 2 * jobs:
                yield from _ready(waiting)
        while waiting:
            yield from _ready(waiting)
    except KeyboardInterrupt:
        is_waited_for = waits
        raise
    finally:
        pool.shutdown(is_waited_for, cancel_futures=True)


def _ready(waiting: dict[Future[Noted], int]) -> Iterator[tuple[int, Noted]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()
