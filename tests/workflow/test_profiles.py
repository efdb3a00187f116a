"""Profiles add to the resources of the base configuration and take none of them away."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.workflow.conftest import Launches

ROOT = Path(__file__).parents[2]


def answer(folder: Path, *words: object, **known: str) -> str:
    """What a command prints in a folder."""
    path = f"{ROOT / '.engine'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*map(str, words)],
        cwd=folder,
        env={**os.environ, "PATH": path, **known},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def settings(folder: Path, *profiles: str) -> dict[str, dict[str, str]]:
    """Settings of each label of a process, and of all (""), as Nextflow resolves them."""
    chosen = ["-profile", ",".join(profiles)] if profiles else []
    found = answer(folder, "nextflow", "config", ROOT, *chosen)
    body = found.partition("\nprocess {\n")[2].partition("\n}")[0]
    blocks = re.findall(r"withLabel:'?(\w+)'? \{(.*?)\n   \}", body, re.DOTALL)
    labels = {label: dict(re.findall(r"(\w+) = (.+)", block)) for label, block in blocks}
    plain = re.sub(r"   withLabel.*?\n   \}", "", body, flags=re.DOTALL)
    own = re.findall(r"^   (\w+) = (.+?)\s*(?=^   \S|\Z)", plain, re.M | re.S)
    return {**labels, "": dict(own)}


def resolved(folder: Path, profiles: str, *before: str) -> list[str]:
    """All settings, one a line, as Nextflow resolves them.

    Parameters
    ----------
    folder
        Where Nextflow runs.
    profiles
        Names of profiles, with commas.
    before
        Options of Nextflow itself.
    """
    words = ("config", ROOT, "-profile", profiles, "-flat")
    return answer(folder, "nextflow", *before, *words).splitlines()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Settings without a profile."""
    return settings(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("profile", ["gpu,slurm,apptainer", "test", "awsbatch,gpu", "google-batch"])
def test_a_profile_keeps_what_tasks_ask_for(
    profile: str, base: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    assert {"small", "gather"} <= set(base) and "needs" in base["gather"]
    assert {"memory", "time", "cpus", "accelerator", "errorStrategy"} <= set(base[""])
    with_profile = settings(tmp_path, *profile.split(","))
    for label, wanted in base.items():
        assert wanted.items() <= with_profile[label].items()


@pytest.mark.parametrize("profiles", ["test", "slurm,test", "test,slurm", "pbs,test"])
def test_the_profile_test_is_small_on_a_cluster(profiles: str, tmp_path: Path) -> None:
    """In either order, it has the last word on resources, and the cluster on all else."""
    lines = resolved(tmp_path, profiles)
    assert "process.resourceLimits = [cpus:2, memory:'6 GB', time:'1h']" in lines
    assert "params.simulate = '16,80,80'" in lines
    assert ("executor.queueSize = 500" in lines) is (profiles != "test")
    # jobs that are worth waiting for
    assert ("params.task_minutes = 2" in lines) is (profiles != "test")
    assert ("process.executor = 'slurm'" in lines) is ("slurm" in profiles)


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ("apptainer,gpu", ["params.use_gpu = true", "'--nv' : '' }"]),
        ("rocm", ["params.use_gpu = true"]),
        ("test_full", ["params.simulate = '64,512,512'", "params.diameter = 15"]),
        ("test_full,slurm", ["params.simulate = '64,512,512'", "process.executor = 'slurm'"]),
    ],
)
def test_what_the_page_of_what_was_tested_says_resolves(
    profiles: str, expected: list[str], tmp_path: Path
) -> None:
    lines = resolved(tmp_path, profiles)
    for end in expected:
        assert [line for line in lines if line.endswith(end)], end
    options = [line for line in lines if line.startswith("process.containerOptions")]
    assert options == ["process.containerOptions = { task.ext.needs?.gpus ? '--nv' : '' }"] * (
        "apptainer" in profiles
    )


EXECUTORS = {"slurm": "slurm", "lsf": "lsf", "sge": "sge", "pbs": "pbspro"}
SERVICES = {
    "awsbatch": "awsbatch",
    "google_batch": "google-batch",
    "google-batch": "google-batch",
    "azurebatch": "azurebatch",
    "azure-batch": "azurebatch",
    "k8s": "k8s",
}
"""Executors of services that start machines."""
ATTEMPTS = {
    "awsbatch": ["aws.batch.maxSpotAttempts"],
    "google_batch": ["google.batch.maxSpotAttempts"],
    "google-batch": ["google.batch.maxSpotAttempts"],
}
"""Settings of those that have one for jobs whose machine was taken away."""
PAGE = (ROOT / "docs" / "cloud.md").read_text()
LIMITS = "process.resourceLimits = [cpus:32, memory:'120 GB', time:'2d']"
"""Of the examples, which are not those of `conf/cluster.config`."""
EXAMPLES = {
    "aws": "awsbatch",
    "google": "google_batch",
    "azure": "azurebatch",
    "k8s": "k8s",
}
"""Profiles of the examples of the page, by the beginning of the names of their files."""
POLLING = {
    "queueSize": "500",
    "submitRateLimit": "'10/1sec'",
    "pollInterval": "'10 sec'",
    "queueStatInterval": "'1 min'",
    "exitReadTimeout": "'2 min'",
}
"""Of all clusters: jobs at a time, and how often the scheduler is asked."""
ENGINES = ("docker", "podman", "apptainer", "singularity", "charliecloud")


def test_every_profile_resolves(tmp_path: Path) -> None:
    text = answer(tmp_path, "nextflow", "config", ROOT, "-show-profiles", "-flat")
    lines = text.splitlines()
    assert "profiles.conda.conda.enabled = true" in lines
    assert "profiles.wave.wave.enabled = true" in lines
    assert "profiles.arm64.process.arch = 'linux/arm64'" in lines
    for label in ("blocks", "network"):
        assert f"profiles.arrays.process.'withLabel:{label}'.array = 100" in lines
    for name, executor in EXECUTORS.items():
        assert f"profiles.{name}.process.executor = '{executor}'" in lines
        for setting, value in POLLING.items():
            assert f"profiles.{name}.executor.{setting} = {value}" in lines
    for name, executor in SERVICES.items():
        place = f"profiles.'{name}'" if "-" in name else f"profiles.{name}"
        assert f"{place}.process.executor = '{executor}'" in lines
        assert f"{place}.executor.queueSize = 500" in lines
        assert any(line.startswith(f"{place}.process.resourceLimits = [cpus:16") for line in lines)
        spot = [line for line in lines if line.startswith(place) and "maxSpotAttempts" in line]
        assert spot == [f"{place}.{setting} = 5" for setting in ATTEMPTS.get(name, ())]
    for name in ENGINES:
        assert f"profiles.{name}.{name}.enabled = true" in lines
    # what becomes of tasks that are cancelled is the same in all
    before = re.findall(r"process\.beforeScript = (\{\n.*?\n    \})", text, re.DOTALL)
    assert len(before) > len(SERVICES) + len(ENGINES) and len(set(before)) == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_the_page_resolves(name: str, tmp_path: Path) -> None:
    """By the command of the page; every setting in it is there."""
    (block,) = re.findall(rf"```groovy\n(// {name}.config\b.*?)```", PAGE, re.DOTALL)
    (tmp_path / f"{name}.config").write_text(block)
    (command,) = re.findall(r"`(nextflow -c aws.config config . -profile awsbatch)`", PAGE)
    words = command.replace("aws.config", f"{name}.config").replace(" . ", f" {ROOT} ").split()
    words[-1] = f"{EXAMPLES[name]},gpu"
    found = answer(tmp_path, *words, "-flat", AZURE_STORAGE_SAS_TOKEN="sv=1")
    assert f"process.executor = '{SERVICES[EXAMPLES[name]]}'" in found
    given = re.findall(r"^ *(\w+) += (?:'(.*?)'|(true|false)\b)", block, re.M)
    assert len(given) >= 4
    for setting, text, truth in given:
        assert f"{setting} = {truth or repr(text)}" in found
    assert LIMITS in found
    if name == "azure":
        assert "env.AZURE_STORAGE_SAS_TOKEN = 'sv=1'" in found
    # the lines to type have the file and the profile
    assert re.search(rf"nextflow run \. -profile {EXAMPLES[name]} -c {name}\.config ", PAGE)


def test_the_lines_for_apptainer_resolve(tmp_path: Path) -> None:
    """By the command of the page that writes the site's configuration."""
    page = (ROOT / "docs" / "hpc.md").read_text()
    (command,) = re.findall(
        r"^printf '%s\\n' \"process\.queue.*?> site\.config$", page, re.M | re.S
    )
    answer(tmp_path, "sh", "-c", command)
    lines = resolved(tmp_path, "slurm,apptainer", "-c", "site.config")
    assert LIMITS in lines
    assert "process.queue = 'cpu'" in lines
    assert "apptainer.runOptions = '-B /shared/me -B /scratch'" in lines


def test_help_lists_the_parameters(launches: Launches) -> None:
    launch = launches("help")
    run = launch.run("--help")
    assert run.process.returncode == 0
    document = json.loads((ROOT / "nextflow_schema.json").read_text())
    names = [name for group in document["$defs"].values() for name in group["properties"]]
    assert all(f"  --{name}  " in run.said for name in names) and len(names) > 40
    assert not launch.out.exists()


@pytest.mark.parametrize("name", ["apptainer", "k8s"])
def test_what_runs_images_needs_one(launches: Launches, name: str) -> None:
    run = launches(name).run("--input", "x.tif", "-profile", name)
    assert run.process.returncode != 0 and not run.submitted
    assert f"container: nothing given, allowed: an image that {name} can run" in run.last


def test_wave_runs_no_image_by_itself(launches: Launches, tmp_path: Path) -> None:
    """Its plugin cannot be fetched here."""
    (tmp_path / "no_plugin.config").write_text("wave.enabled = false\n", encoding="utf-8")
    config = ("-c", str(tmp_path / "no_plugin.config"))
    run = launches("wave").run("--input", "x.tif", "-profile", "wave", *config)
    assert run.process.returncode != 0 and not run.submitted
    assert "profile wave: no profile that runs images" in run.last


def test_images_have_nothing_for_gpus_of_amd(launches: Launches) -> None:
    profiles = ("-profile", "rocm,apptainer", "--container", "image.sif")
    run = launches("rocm").run("--input", "x.tif", *profiles)
    assert run.process.returncode != 0 and not run.submitted
    assert "profile rocm: images have no PyTorch for AMD GPUs" in run.last


def test_the_profile_test_runs_by_itself(launches: Launches) -> None:
    launch = launches("alone")
    run = launch.done("-profile", "test")
    assert run.submitted >= {"SIMULATE", "WHOLE", "EVALUATE"}
    scores = json.loads((launch.out / "nuclei" / "scores.json").read_text())
    assert scores["average_precision"][scores["thresholds"].index(0.5)] > 0.5
