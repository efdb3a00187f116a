"""Set-up: what is pinned, what a pip install carries, how the engine and Java are found."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.integration.charliecloud import SOURCES

import common
import engine

ROOT = Path(__file__).parents[2]
PLUGINS = {
    "awsbatch": "nf-amazon",
    "google_batch": "nf-google",
    "google-batch": "nf-google",
    "azurebatch": "nf-azure",
    "azure-batch": "nf-azure",
}
"""What profiles of services need to be in the folder of Nextflow's plugins."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> dict[str, str]:
    """Return the version of each package that a requirements file pins."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        match = re.match(
            r"([a-z0-9._-]+)==(\S+)( ;[^#]*?)?( +--hash=sha256:[0-9a-f]{64})+ *$", line
        )
        assert match, f"not pinned by hash: {line[:80]}"
        assert match[1] not in found, f"{match[1]} is pinned twice: Pythons would differ"
        found[match[1]] = match[2]
    return found


def executable(path: Path, text: str) -> Path:
    """Write a shell script that stands where a program would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_within_its_range() -> None:
    runtime, dev = pins("runtime.txt"), pins("dev.txt")
    assert runtime.items() <= dev.items()
    extras = PROJECT["optional-dependencies"]
    for wanted, pinned in (
        (PROJECT["dependencies"], runtime),
        (extras["dev"] + extras["cloud"], dev),
    ):
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(pinned[normal(requirement.name)]), requirement


@pytest.mark.parametrize("name", sorted(os.listdir(ROOT / "requirements")))
def test_requirements_name_no_address(name: str) -> None:
    assert pins(name)
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_a_pip_install_carries_every_module_and_the_weights(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
    for folder in ("bin", "assets"):
        shutil.copytree(ROOT / folder, source / folder, ignore=ignore)
    for file in ("pyproject.toml", "README.md", "LICENSE", "__init__.py"):
        shutil.copy(ROOT / file, source)
    wheel = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*wheel, "-w", tmp_path, source], check=True, capture_output=True)

    (built,) = tmp_path.glob("terapose-*.whl")
    packed = {name for name in zipfile.ZipFile(built).namelist() if ".dist-info/" not in name}
    package = source / "bin" / "terapose"
    wanted = {f"terapose/{path.relative_to(package)}" for path in package.rglob("*.*")}
    assets = source / "assets"
    wanted |= {f"terapose/assets/{path.relative_to(assets)}" for path in assets.rglob("*.*")}
    assert packed == wanted


def test_old_python_is_named_with_its_remedy(tmp_path: Path) -> None:
    old = executable(tmp_path / "python3", '[ "$1" = --version ] && echo Python 3.9.2 || exit 1')
    done = subprocess.run(
        ["sh", ROOT / "tools" / "setup.sh"],
        env={**os.environ, "PYTHON": str(old)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "needs Python 3.11.1 or newer, found Python 3.9.2; install it with: " in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "apt-get install -y maven"),
        ("brew", "brew install maven"),
        ("conda", "conda install -c conda-forge maven"),
    ],
)
def test_install_command_is_the_machines_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, manager: str, command: str
) -> None:
    executable(tmp_path / manager, "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert common.install_command("maven").removeprefix("sudo ") == command


def test_a_failing_command_is_told_with_its_last_words(tmp_path: Path) -> None:
    program = executable(tmp_path / "program", "echo first; echo the reason >&2; exit 3")
    with pytest.raises(common.SetupError, match=r"program` failed \(exit 3\):(?s:.*)the reason"):
        common.run([program])


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        ("echo version 24.10.0 build 5928", True),
        ("echo version 26.04.1 build 1", True),
        ("echo version 24.04.4 build 5917", False),
        ("echo version 25.10.0 build 1; exit 1", False),
        ("echo cannot download >&2; exit 1", False),
    ],
)
def test_nextflow_on_path_is_used_when_it_works_and_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, taken: bool
) -> None:
    found = executable(tmp_path / "nextflow", answer)
    monkeypatch.setenv("PATH", f"{common.ENGINE}:{tmp_path}:{os.environ['PATH']}")
    assert engine._on_path((24, 10)) == (found if taken else None)


def test_java_must_be_one_that_nextflow_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = executable(tmp_path / "new" / "bin" / "java", """echo 'openjdk version "25.0.2"' >&2""")
    old = executable(tmp_path / "old" / "bin" / "java", """echo 'java version "1.8.0_392"' >&2""")
    fit = executable(tmp_path / "fit" / "bin" / "java", """echo 'openjdk version "21.0.8"' >&2""")
    monkeypatch.delenv("NXF_JAVA_HOME", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(new.parents[1]))
    monkeypatch.setenv("PATH", f"{fit.parent}:{os.environ['PATH']}")
    assert engine._java() == fit
    monkeypatch.setenv("NXF_JAVA_HOME", str(old.parents[1]))
    monkeypatch.setenv("JAVA_HOME", str(fit.parents[1]))
    monkeypatch.setenv("PATH", f"{new.parent}:{os.environ['PATH']}")
    assert engine._java() == fit


def test_a_jar_that_is_missing_altered_or_foreign_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ENGINE", tmp_path)
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    release = engine.Release("1.2.3")
    release.jars.mkdir()
    release.sums.parent.mkdir()
    (release.jars / "a.jar").write_bytes(b"a")
    release.sums.write_text(f"{hashlib.sha256(b'a').hexdigest()}  a.jar\n")
    assert engine._faulty(release) is None
    (release.jars / "a.jar").write_bytes(b"b")
    assert engine._faulty(release) == "a.jar"
    (release.jars / "a.jar").unlink()
    assert engine._faulty(release) == "a.jar"
    (release.jars / "a.jar").write_bytes(b"a")
    (release.jars / "b.jar").write_bytes(b"b")
    assert engine._faulty(release) == "b.jar"


@pytest.mark.parametrize("release", [engine.RUN, engine.LINT], ids=lambda r: r.version)
def test_the_listed_jars_hold_the_release(release: engine.Release) -> None:
    names = [line.split()[1] for line in release.sums.read_text().splitlines()]
    assert f"nextflow-{release.version}.jar" in names
    beside = {"{1}-{2}.jar".format(*item.split(":")) for item in release.beside}
    assert beside <= set(names)
    left_out = tuple(item.split(":")[1] + "-" for item in release.without)
    assert not [name for name in set(names) - beside if name.startswith(left_out)]


def test_a_plugin_that_cannot_be_fetched_is_named(tmp_path: Path) -> None:
    text = engine.WRAPPER.format(
        version="1", engine=tmp_path, java="/bin/echo", opens="", jars=tmp_path, arguments='"$@"'
    )
    script = tmp_path / "nextflow"
    script.write_text(text)

    def run(*words: str, command: str = "run", **known: str) -> subprocess.CompletedProcess[str]:
        here = {"PATH": os.environ["PATH"], "HOME": "/", **known}
        line = ["sh", str(script), command, ".", *words]
        return subprocess.run(line, capture_output=True, text=True, env=here)

    names = ("p.yaml", "p.json", "local.json", "comment.yaml")
    yaml, one_line, local, comment = (tmp_path / name for name in names)
    yaml.write_text("input: a.tif\noutdir: 'gs://b/out'\n")
    one_line.write_text('{"input": "a #1.tif", "outdir": "s3://b/out"}')
    comment.write_text(
        "outdir: out # not outdir: s3://b/1\n# outdir: s3://b/out\n#outdir: s3://b\n"
    )
    local.write_text('{"outdir": "out", "input": "s3://b/a.zarr"}')
    for words, known, what, plugin in (
        (("--outdir", "s3://b/out"), {}, "s3://b/out", "nf-amazon"),
        (("--outdir=gs://b/out",), {}, "--outdir=gs://b/out", "nf-google"),
        (("-w", "az://b/work"), {}, "az://b/work", "nf-azure"),
        (("-bucket-dir", "s3://b/work"), {}, "s3://b/work", "nf-amazon"),
        ((), {"NXF_WORK": "s3://b/work"}, "NXF_WORK=s3://b/work", "nf-amazon"),
        (("-params-file", str(yaml)), {}, f"the outdir in {yaml}", "nf-google"),
        (("-params-file", str(one_line)), {}, f"the outdir in {one_line}", "nf-amazon"),
        *((("-profile", f"test,{p},gpu"), {}, f"test,{p},gpu", PLUGINS[p]) for p in PLUGINS),
    ):
        said = run(*words, **known)
        assert said.returncode == 2 and not said.stdout, words
        assert said.stderr.startswith(f"nextflow: {plugin} is needed for {what} and is not in")
        assert "=false" in said.stderr and said.stderr.count("\n") == 1
        assert run(*words, NXF_OFFLINE="false", **known).returncode == 0
        place = tmp_path / "plugins" / f"{plugin}-1.0"
        place.mkdir(parents=True)
        assert run(*words, **known).returncode == 0
        place.rmdir()
    assert run("--input", "s3://b/a.zarr", "--outdir", "out").returncode == 0
    assert run("-params-file", str(local)).returncode == 0
    assert run("-params-file", str(comment)).returncode == 0
    for words in (("--outdir", "out"), ("--outdir=out",)):
        assert run("-params-file", str(one_line), *words).returncode == 0
        assert run(*words, "-params-file", str(one_line)).returncode == 0
    assert run("-params-file", str(tmp_path / "none.json")).returncode == 0
    assert run("-w", "work", NXF_WORK="s3://b/work").returncode == 0
    # what only resolves needs none, nor does a cluster of pods
    assert run("-profile", "awsbatch", command="config").returncode == 0
    assert run("-profile", "k8s").returncode == 0


def test_services_that_start_machines_have_the_same_names_everywhere() -> None:
    """Profiles, the question whether there is an image, and the plugins that they need."""
    text = (ROOT / "nextflow.config").read_text()
    services = {
        name
        for name, config in re.findall(
            r"^    '?([\w-]+)'? \{\n        includeConfig 'conf/cluster.config'\n"
            r"        includeConfig '(conf/\w+.config)'\n    \}",
            text,
            re.M,
        )
        if "executor " in (ROOT / config).read_text()
    }
    (listed,) = re.findall(r"def services = \[(.*)\]", (ROOT / "modules/sources.nf").read_text())
    assert set(re.findall(r"'([^']+)'", listed)) == services
    assert services == {*PLUGINS, "k8s"}
    page = (ROOT / "docs" / "cloud.md").read_text()
    assert {name for name in services if f"`{name}`" not in page} == set()


def test_recipes_of_images_take_what_the_tested_one_takes() -> None:
    containers = ROOT / "containers"
    lines = re.findall(r"^COPY (.+) /source/", (containers / "Containerfile").read_text(), re.M)
    assert {name for line in lines for name in line.split()} == set(SOURCES)
    text = (containers / "terapose.def").read_text()
    assert set(re.findall(r"^    (\S+) /source/\1$", text, re.M)) == set(SOURCES)
    # none with an empty default
    used = set(re.findall(r"{{ (\w+) }}", text))
    assert used == set(re.findall(r"^    (\w+)=.", text, re.M)) >= {"torch_index", "kernels"}
    for name in ("Containerfile", "terapose.def"):
        assert "install.sh" in (containers / name).read_text(), name
