"""The workflow's files obey Nextflow's strict syntax."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = ROOT / ".engine" / "nextflow-lint"


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    if not LINT.exists() and os.environ.get("CI") != "true":
        pytest.skip("no engine for nextflow lint: make lint-engine")
    return subprocess.run([LINT, *paths], capture_output=True, text=True, timeout=300)


def test_workflow_is_strict() -> None:
    scripts = [ROOT / "main.nf", *sorted((ROOT / "modules").rglob("*.nf"))]
    configs = [ROOT / "nextflow.config", *sorted((ROOT / "conf").rglob("*.config"))]
    others = [p for p in sorted((ROOT / "contrib").rglob("*")) if p.suffix in (".nf", ".config")]
    assert others
    done = lint(*scripts, *configs, *others)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(scripts + configs + others)} files had no errors" in done.stdout


def test_lint_refuses_what_strict_syntax_refuses(tmp_path: Path) -> None:
    script = tmp_path / "loose.nf"
    script.write_text("workflow {\n    for (x in [1, 2]) { println x }\n}\n")
    done = lint(script)
    assert done.returncode == 1
    assert "`for` loops are no longer supported" in done.stdout
