"""The workflow on a real SLURM: the same bytes as on one machine, whatever happens to its jobs.

`make test-integration` runs it where slurm-wlm and munge are installed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.asked import only_if_asked
from tests.integration.slurm import SITE, Cluster, missing, started
from tests.waiting import wait_until
from tests.workflow.conftest import (  # noqa: F401
    Launches,
    image,
    launches,
    uncut,
    undisturbed,
    voxels,
)
from tests.workflow.launch import ROOT, Run, called, environment, results

pytestmark = [
    pytest.mark.slow,
    only_if_asked,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

TROUBLES = """
process {
    // the first attempt takes more time than it asks for, and more memory
    withName: 'FOLLOW' {
        ext.needs = [memory: 1000000000, seconds: 60, cpus: 1, gpus: 0]
        beforeScript = { task.attempt == 1 ? "export PYTHONPATH='FOLDER/slow'" : '' }
    }
    withName: 'MASKS' {
        ext.needs = [memory: 800000000, seconds: 600, cpus: 1, gpus: 0]
        beforeScript = { task.attempt == 1 ? "export PYTHONPATH='FOLDER/large'" : '' }
    }
}
"""
ENDLESS = """
process {
    withName: 'MASKS' {
        ext.needs = [memory: 1500000000, seconds: 600, cpus: 1, gpus: 0]
        beforeScript = "export PYTHONPATH='FOLDER'"
    }
}
"""
LACKING = """
process {
    withName: 'MASKS' {
        beforeScript = "export PYTHONPATH='FOLDER'"
    }
}
"""
ONCE = """
import os, pathlib, signal
if "--task 1 " in pathlib.Path(".command.sh").read_text():
    try:
        pathlib.Path("FOLDER/once").touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)
    except FileExistsError:
        pass
"""
"""The second task of a stage is killed, but only once."""
STARTS = {"slow": "time.sleep(300)", "large": "x = b'x' * 1_500_000_000; time.sleep(300)"}
"""What Python does first, by the folder that it looks into."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of one node."""
    with started() as made:
        yield made


@pytest.fixture(autouse=True)
def on_cluster(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands find the cluster."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)


def settings(folder: Path, text: str) -> Path:
    """A configuration of a site."""
    path = folder / "site.config"
    path.write_text(text)
    return path


def retried(run: Run, process: str) -> dict[str, str]:
    """Last exit status of each task of a process that is repeated, by its name; none if unknown."""
    ended = r"(?:with an error exit status \((\d+)\)|for an unknown reason)"
    how = rf":{process} \((.*?)\)` terminated {ended} -- .*Execution is retried"
    return dict(re.findall(how, run.said))


def test_job_arrays(
    launches: Launches,  # noqa: F811
    image: Path,  # noqa: F811
    undisturbed: tuple[str, bytes],  # noqa: F811
) -> None:
    launch = launches("arrays")
    (launch.path / "sitecustomize.py").write_text(ONCE.replace("FOLDER", str(launch.path)))
    site = settings(launch.path, SITE + LACKING.replace("FOLDER", str(launch.path)))
    cut = ("--block_shape", "14,20,24", "--max_tasks", 2)
    run = launch.done("--input", image, *cut, "-profile", "slurm,arrays", "-c", site)
    assert {"GRADIENTS_YX", "MASKS"} <= run.submitted
    scripts = [path.read_text() for path in launch.work.glob("*/*/.command.run")]
    arrays = [text for text in scripts if "#SBATCH --array 0-1" in text]
    assert len(arrays) > 5
    planned = launch.planned()
    for stage in ("gradients-zx", "masks"):
        # what its tasks ask for, whatever Nextflow knows of them in an array
        ((memory, _, _),) = planned[stage]
        (asked,) = (text for text in arrays if f"_{stage.upper().replace('-', '_')}_(" in text)
        assert f"#SBATCH --mem {memory >> 20}M\n" in asked
    assert results(launch.out / "nuclei") == undisturbed
    # one of an array is repeated by itself, with twice the memory
    assert retried(run, "MASKS") == {"nuclei 1": "137"}
    alone = [text for text in scripts if "_MASKS_(nuclei_1)" in text and text not in arrays]
    ((memory, _, _),) = planned["masks"]
    assert {f"#SBATCH --mem {memory * 2 >> 20}M"} <= {
        line for text in alone for line in text.splitlines()
    }


def test_jobs_that_are_cancelled_too_slow_or_too_large_and_a_node_that_is_drained(
    cluster: Cluster,
    launches: Launches,  # noqa: F811
    image: Path,  # noqa: F811
    undisturbed: tuple[str, bytes],  # noqa: F811
) -> None:
    launch = launches("troubles")
    for name, code in STARTS.items():
        (launch.path / name).mkdir()
        (launch.path / name / "sitecustomize.py").write_text(f"import time\n{code}\n")
    site = settings(launch.path, SITE + TROUBLES.replace("FOLDER", str(launch.path)))
    words = ("--input", image, "--single_task", "false", "-profile", "slurm", "-c", site, "-resume")
    run = launch.start(*words)
    assert run.wait_for(process="GRADIENTS_YX"), run.said
    while not (jobs := cluster.jobs()):
        time.sleep(0.2)
    cluster.call("scancel", *jobs)
    assert run.wait_for(process="GRADIENTS_ZY"), run.said
    wait_until(lambda: bool(cluster.jobs()))
    cluster.fail_node()
    assert run.wait_for(process="COMBINE"), run.said
    # one with the status of its trap, the other without any
    assert retried(run, "GRADIENTS_YX") == {"nuclei yx 0": "143"}
    assert "" in {**retried(run, "GRADIENTS_ZX"), **retried(run, "GRADIENTS_ZY")}.values()
    (node,) = cluster.call("sinfo", "-h", "-o", "%N").split()
    cluster.call("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    # what runs goes on, and what comes after it waits
    wait_until(lambda: cluster.call("sinfo", "-h", "-o", "%T").startswith("drained"))
    wait_until(lambda: bool(cluster.jobs("pending")))
    assert not cluster.jobs()
    said = called(ROOT / "bin" / "terapose.py", "status", launch.work, env=environment())
    assert re.search(r"^gradients-yx +1 of 1 task", said, re.M), said
    assert re.search(r"^follow +0 of 1 task", said, re.M), said
    cluster.call("scontrol", "update", f"nodename={node}", "state=resume")
    assert run.wait_for(process="SEEDS"), run.said
    # Nextflow is killed, and its jobs with it
    run.kill_all()
    cluster.call("scancel", "--user", "root")
    again = launch.start(*words)
    assert again.wait().process.returncode == 0, again.said
    assert results(launch.out / "nuclei") == undisturbed
    # what was finished is not run again
    done = {"PLAN", "INTENSITIES", "GRADIENTS_YX", "GRADIENTS_ZX", "GRADIENTS_ZY", "COMBINE"}
    assert done <= again.cached and not done & again.submitted
    # twice the time, and twice the memory, after those were too little, and for nothing else
    asked = {"FOLLOW": set[str](), "MASKS": set[str](), "GRADIENTS_YX": set[str]()}
    for script in launch.work.glob("*/*/.command.run"):
        text = script.read_text()
        for process, found in asked.items():
            if f":{process} (" in text:
                found.update(re.findall(r"^#SBATCH (-t \S+|--mem \S+)", text, re.M))
    assert asked["FOLLOW"] == {"--mem 953M", "-t 00:01:00", "-t 00:02:00"}
    assert asked["MASKS"] == {"-t 00:10:00", "--mem 762M", "--mem 1525M"}
    # a stage of which nothing is overridden asks for what the plan says
    ((memory, milliseconds, _),) = launch.planned()["gradients-yx"]
    limit = time.strftime("%H:%M:%S", time.gmtime(min(milliseconds // 1000, 3600)))
    assert asked["GRADIENTS_YX"] == {f"--mem {memory >> 20}M", f"-t {limit}"}


def test_what_the_scheduler_says_of_a_task_that_never_has_enough_memory_comes_last(
    launches: Launches,  # noqa: F811
    image: Path,  # noqa: F811
) -> None:
    launch = launches("endless")
    start = "import time\nx = b'x' * 2_500_000_000\ntime.sleep(300)\n"
    (launch.path / "sitecustomize.py").write_text(start)
    limited = SITE.replace("6.GB", "2.GB")
    site = settings(launch.path, limited + ENDLESS.replace("FOLDER", str(launch.path)))
    words = ("--input", image, "--single_task", "false", "-profile", "slurm", "-c", site)
    run = launch.start(*words)
    assert run.wait().process.returncode == 1, run.said
    scripts = {path.parent: path.read_text() for path in launch.work.glob("*/*/.command.run")}
    tried = [folder for folder, text in scripts.items() if ":MASKS (" in text]
    asked = [re.findall(r"^#SBATCH --mem (\S+)", scripts[folder], re.M) for folder in tried]
    # as much as the site has, and then no more often
    assert sorted(asked) == [["1430M"], ["2048M"]]
    *_, named, last = (line for line in run.said.splitlines() if line.startswith("terapose: "))
    assert named.startswith("terapose: SEGMENT:FLOWS:MASKS (nuclei 0): ")
    assert any(str(folder) in named for folder in tried)
    assert re.search("slurmstepd.*xceeded (job )?memory limit", last)
