"""An image of Terapose for Charliecloud: Debian's root file system and the recipe's steps."""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = ("mmdebstrap", "unshare", "chroot")
SOURCES = (
    *("__init__.py", "LICENSE", "README.md", "pyproject.toml", "assets", "bin"),
    *("requirements/runtime.txt", "containers/install.sh"),
)
"""What the image is made from."""
USER = 54321
"""Who runs it: an ID that the system does not know, without a home."""
_STEPS = """
mount --bind "$2" "$1/tmp"
mount -t proc proc "$1/proc"
exec chroot "$1" sh /tmp/source/containers/install.sh cpu
"""
_PLACES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def missing(runs: str = "ch-run") -> str:
    """Why there can be no image here, or none that a program runs; nothing if there can."""
    tools = [name for name in (*TOOLS, runs) if shutil.which(name) is None]
    if tools:
        return f"not installed: {', '.join(tools)}"
    if os.geteuid() != 0:
        return "root file systems are made as root"
    for words, reason in (
        (("unshare", "--user", "true"), "users cannot make namespaces"),
        (("test", "-r", str(ROOT / "main.nf")), "another user cannot read this folder"),
    ):
        if subprocess.run(words, user=USER, group=USER, extra_groups=[]).returncode:
            return reason
    return ""


def image(folder: Path) -> Path:
    """The image of what is in the repository; made if it is not in the folder already."""
    place = folder / f"terapose-{_digest()}"
    if not place.exists():
        draft = folder / f"{place.name}.partial"
        shutil.rmtree(draft, ignore_errors=True)
        _call("mmdebstrap", "--variant=minbase", "bookworm", draft)
        _install(draft)
        draft.rename(place)
    return place


def run_in(image: Path, folder: Path, *words: object, **known: str) -> str:
    """Run a command in a container, in a folder, as Nextflow does; what it printed."""
    given = [f"--set-env={name}={value}" for name, value in known.items()]
    call = ["ch-run", "--unset-env=*", "--set-env", *given, "-c", folder, image, "--", *words]
    done = run_as_user(*call, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiled(folder: Path) -> set[str]:
    """Names of the files of compiled code."""
    return {path.name for path in folder.rglob("*.nbc")}


def run_as_user(
    *words: object, cwd: Path, user: int = USER, timeout: float | None = None, **known: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user, who has no variables but these."""
    return subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "USER": "nobody", **known},
        user=user,
        group=user,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def _digest() -> str:
    digest = hashlib.sha256()
    for name in SOURCES:
        place = ROOT / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)} ".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _install(root: Path) -> None:
    """Run the recipe in a root file system; nothing of this machine's settings stays in it."""
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        scratch = Path(folder)
        scratch.chmod(0o1777)  # as a temporary folder
        for name in SOURCES:
            target = scratch / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target)
            else:
                shutil.copy(ROOT / name, target)
        known = {"PATH": _PLACES, **_pip_settings(scratch)}
        _call("unshare", "--mount", "sh", "-euc", _STEPS, "sh", root, scratch, **known)


def _pip_settings(scratch: Path) -> dict[str, str]:
    """How pip finds packages on this machine: its variables, its settings and its certificates."""
    known = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    home = Path(os.environ.get("HOME", "/"))
    named = os.environ.get("PIP_CONFIG_FILE", "/etc/pip.conf")
    for file in (home / ".config/pip/pip.conf", home / ".pip/pip.conf", Path(named)):
        if file.is_file():
            shutil.copy(file, scratch / "pip.conf")
            known["PIP_CONFIG_FILE"] = "/tmp/pip.conf"
            break
    authorities = known.get("PIP_CERT") or ssl.get_default_verify_paths().cafile
    if authorities:
        shutil.copy(authorities, scratch / "authorities.crt")
        known["PIP_CERT"] = "/tmp/authorities.crt"
    return known


def _call(*words: object, **known: str) -> None:
    done = subprocess.run(
        [*map(str, words)], env=known or None, capture_output=True, text=True, errors="replace"
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
