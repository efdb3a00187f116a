"""What install.sh looks at before it compiles kernels, and each command before it uses them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.workflow.launch import ROOT, program

INSTALL = (ROOT / "containers" / "install.sh").read_text()
ALL = ("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "sse4_2")
"""What x86-64-v3 is, as Linux lists it, and more."""
LACKING = [tuple(o for o in ALL if o != one) for one in ALL if one not in ("avx", "sse4_2")]


def processor(folder: Path, flags: tuple[str, ...]) -> Path:
    """What Linux says of a processor."""
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: fpu {' '.join(flags)} lm\nbugs\t\t: none\n" * 2)
    return path


def installed(folder: Path, flags: tuple[str, ...], kernels: str = "") -> tuple[int, str]:
    """Exit status and words of install.sh on a processor; where it would go on, 77."""
    script = folder / "source" / "containers" / "install.sh"
    script.parent.mkdir(parents=True)
    script.write_text(INSTALL.replace("/proc/cpuinfo", str(processor(folder, flags))))
    program(folder / "uname", "sh", "-c", "echo x86_64")
    program(folder / "apt-get", "sh", "-c", "exit 77")
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "KERNELS": kernels}
    done = subprocess.run(["sh", script, "cpu"], env=env, capture_output=True, text=True)
    return done.returncode, done.stderr


def launched(folder: Path, flags: tuple[str, ...], kernels: str, needs: str) -> str:
    """The processor that kernels are taken for by a command of the image."""
    (text,) = re.findall(r"<<END\n(#!/bin/sh\n.*?)\nEND\n", INSTALL, re.S)
    for name, value in {"home": folder, "needs": needs, "kernels": kernels}.items():
        text = re.sub(rf"(?<!\\)\${name}\b", str(value), text)
    text = text.replace("\\$", "$").replace("/proc/cpuinfo", str(processor(folder, flags)))
    (folder / "bin").mkdir()
    program(folder / "bin" / "terapose", "sh", "-c", 'echo "$NUMBA_CPU_NAME"')
    command = folder / "terapose.py"
    command.write_text(text)
    command.chmod(0o755)
    env = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    return subprocess.run([command], env=env, capture_output=True, text=True, check=True).stdout


def needs_of(kernels: str) -> str:
    """What install.sh asks of a processor."""
    (found,) = re.findall(rf"^{kernels}\b.*needs='?([^';]*)'? ;;", INSTALL, re.M)
    return str(found).strip()


@pytest.mark.parametrize("flags", [ALL, *LACKING], ids=lambda flags: "-".join({*ALL} - {*flags}))
def test_kernels_are_for_processors_that_have_all_that_they_use(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    status, said = installed(tmp_path, flags)
    needs = needs_of("x86-64-v3")
    assert {*needs.split()} == {"abm", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
    (lacking,) = {*ALL} - {*flags} or {""}
    if lacking:
        assert status == 2 and said.strip().endswith(f"(x86-64 can): no {lacking}")
    else:
        assert status == 77, said
    expected = "" if lacking else "x86-64-v3"
    assert launched(tmp_path, flags, "x86-64-v3", needs).strip() == expected


def test_kernels_for_any_processor_need_nothing_of_it(tmp_path: Path) -> None:
    assert installed(tmp_path, (), "x86-64")[0] == 77
    assert launched(tmp_path, (), "x86-64", "").strip() == "x86-64"
