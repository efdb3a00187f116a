"""Files of functions that are no functions, or do what they should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.command import EXECUTABLE, Terapose, heeding_ctrl_c
from tests.synthetic import write_ome_zarr
from tests.waiting import PATIENCE, wait_until

from terapose.core.errors import InputError
from terapose.core.params import check
from terapose.io.images.array_like import open_labels
from terapose.results.processing.chosen import packed

LABELS = np.zeros((1, 16, 24), np.uint16)
LABELS[0, 2:8, 3:9], LABELS[0, 9:14, 12:20] = 1, 2
PROCESS = "def process(labels, image, block):\n    "
SAME = f"{PROCESS}return labels\n"
NO_TEXT = "class Odd(Exception):\n    def __str__(self): raise RuntimeError\n"
NO_NAME = "class Odd:\n    def __repr__(self): raise RuntimeError\n"


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_ome_zarr(tmp_path / "labels.zarr", LABELS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def applied(command: Terapose, text: str, *words: object) -> str:
    """The sentence with which a function in a file is refused."""
    Path("mine.py").write_text(text)
    said = command("process", "labels.zarr", "b.zarr", "--with", "mine.py", *words)
    assert said.code == 2 and "Traceback" not in said.err, said.err
    assert not Path("b.zarr").exists()
    return said.err.splitlines()[-1]


REFUSED = {
    "class Odd(BaseException): pass\n" + PROCESS + "raise Odd('x')\n": "got Odd: x",
    "import asyncio\n" + PROCESS + "raise asyncio.CancelledError\n": "got CancelledError",
    "raise GeneratorExit\n": "line 1: the function fails",
    NO_TEXT + PROCESS + "raise Odd\n": "cannot be shown (RuntimeError)",
    PROCESS + "raise KeyError(10**6000)\n": "cannot be shown (ValueError)",
    NO_NAME + "OPTIONS = {'a': Odd()}\n" + SAME: "OPTIONS is wrong",
    "OPTIONS = {'a': 10**6000}\n" + SAME: "OPTIONS is wrong",
    "OPTIONS = None\n" + SAME: "OPTIONS is wrong; got None",
    "import numpy as np\nRETURNS = np.array(['a', 'b'])\n" + SAME: "RETURNS is wrong",
    NO_NAME + "HALO = Odd()\n" + SAME: "is not a halo",
    "process = 3\n": "defines no function",
    "import numpy as np\n" + PROCESS + "return np.ma.masked_equal(labels, 1)\n": "with a mask",
    "import numpy as np\ndef renumber(ids, sizes, options):\n"
    "    return np.ma.masked_equal(ids, 1)\n": "with a mask",
}


@pytest.mark.parametrize("text", REFUSED)
@pytest.mark.usefixtures("inputs")
def test_whatever_a_function_does_is_one_sentence(command: Terapose, text: str) -> None:
    assert REFUSED[text] in applied(command, text)


MOVING = (
    "import os\nos.chdir('/')\n" + SAME,
    PROCESS + "import os; os.chdir('/'); return labels\n",
    PROCESS + "import os; os.chdir('/'); raise ValueError\n",
)


@pytest.mark.parametrize("text", MOVING)
def test_nothing_is_written_elsewhere(inputs: Path, command: Terapose, text: str) -> None:
    sentence = applied(command, text, "--block-shape", "1,8,8", "--jobs", 2)
    assert "changes the working folder" in sentence or "ValueError" in sentence
    assert Path.cwd() == inputs


@pytest.mark.usefixtures("inputs")
def test_a_process_that_a_function_forks_does_no_work(command: Terapose) -> None:
    Path("mine.py").write_text(PROCESS + "import os; os.fork(); return labels\n")
    here = os.getpid()
    said = command("process", "labels.zarr", "b.zarr", "--with", "mine.py", "--jobs", 1)
    assert os.getpid() == here
    assert said.code == 0 and said.out == "b.zarr: 2 objects\n"
    assert np.array_equal(open_labels("b.zarr")[:, :, :], LABELS)


ENDLESS = f"""
import time
from pathlib import Path

{PROCESS}Path("entered").touch()
    while Path("entered").exists():
        time.sleep(0.1)
    return labels
"""


def test_one_interruption_ends_a_function_that_does_not_return(
    inputs: Path, command: Terapose
) -> None:
    Path("mine.py").write_text(ENDLESS)
    words = ["process", "labels.zarr", "b.zarr", "--with", "mine.py"]
    running = subprocess.Popen(
        [sys.executable, EXECUTABLE, *words],
        stderr=subprocess.PIPE,
        preexec_fn=heeding_ctrl_c,
    )
    try:
        wait_until(lambda: Path("entered").exists() or running.poll() is not None)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=PATIENCE)
    finally:
        running.kill()
    assert running.returncode == 130 and b"Traceback" not in said
    Path("entered").unlink()
    Path("mine.py").write_text(SAME)
    assert command(*words).out == "b.zarr: 2 objects\n"


@pytest.mark.usefixtures("inputs")
def test_a_file_is_a_module_of_its_own(command: Terapose) -> None:
    head = "from dataclasses import dataclass\n@dataclass\nclass Step:\n    size: int = 1\n"
    for first in ("", "from __future__ import annotations\n"):
        Path("mine.py").write_text(f"{first}{head}{PROCESS}return labels * Step().size\n")
        words = ("labels.zarr", "b.zarr", "--with", "mine.py", "--overwrite")
        assert command("process", *words).code == 0


FILES = {
    "pipe.py": "a pipe",
    "zero.py": "a device",
    "folder.py": "Is a directory",
    "loop.py": "symbolic links",
    "huge.py": "is too large",
    "wide.py": "null bytes",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("inputs")
def test_what_is_no_file_of_a_function(command: Terapose, name: str) -> None:
    os.mkfifo("pipe.py")
    Path("zero.py").symlink_to("/dev/zero")
    Path("loop.py").symlink_to("loop.py")
    Path("folder.py").mkdir()
    Path("wide.py").write_bytes(SAME.encode("utf-16"))
    with Path("huge.py").open("wb") as file:
        file.truncate(2**31)
    assert FILES[name] in command.refuses("process", "labels.zarr", "b.zarr", "--with", name)
    with pytest.raises(InputError, match=FILES[name]):
        packed(check({"process": name}))


VALUES = {
    ("size", "min=1", "min=2"): "set: is given twice; got min",
    ("size", "min=-1"): "min: is negative; got -1",
    ("size", "max=-1"): "max: is negative",
    ("size", f"max={10**30}"): "is of another type",
    ("split", "distance=nan"): "is of another type",
    ("split", "distance=-2"): "distance: is negative",
    ("merge", "table=wide.csv"): "wide.csv: line 2 is wrong",
    ("merge", "table=long.csv"): "long.csv: line 2 is wrong",
}


@pytest.mark.parametrize("given", VALUES)
@pytest.mark.usefixtures("inputs")
def test_values_of_options(command: Terapose, given: tuple[str, ...]) -> None:
    Path("wide.csv").write_text(f"CellID,NewID\n1,{2**64}\n")
    Path("long.csv").write_text(f"CellID,NewID\n{'9' * 6000},1\n")
    name, *settings = given
    words = [word for one in settings for word in ("--set", one)]
    said = command("process", "labels.zarr", "b.zarr", "--with", name, *words)
    assert said.code == 2 and VALUES[given] in said.err.splitlines()[-1], said.err
    assert not Path("b.zarr").exists()
