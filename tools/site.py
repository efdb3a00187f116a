"""Build docs/ as a website, site/index.html: `make docs-site`.

1. `.mkdocs`: an environment with the packages of requirements/docs.txt and nothing else, made again
   when that file changes
2. `mkdocs build --strict` (mkdocs.yml, tools/site_pages.py): a link or heading that does not exist,
   or a page that is not in the navigation, is an error

`--requirements` prints the extra `docs` of pyproject.toml, which `make lock` pins.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib

from common import REQUIREMENTS, ROOT, Command, SetupError, digest, run, script

PLACE = ROOT / ".mkdocs"
STAMP = PLACE / "terapose-site"
PINS = REQUIREMENTS / "docs.txt"


def main() -> None:
    """Build the site, in strict mode."""
    parser = argparse.ArgumentParser(description="Build docs/ as a website in site/.")
    parser.add_argument("--requirements", action="store_true", help="print the extra docs")
    if parser.parse_args().requirements:
        print("\n".join(_requirements()))
        return
    _environment()
    # Its words on the future of mkdocs are not for those who read these pages.
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    # Not --quiet: what it does not print, --strict does not count.
    run([PLACE / "bin" / "mkdocs", "build", "--strict"], env=env)
    print(f"site: {ROOT / 'site' / 'index.html'}")


def _requirements() -> list[str]:
    """Return the extra `docs`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra: list[str] = project["optional-dependencies"]["docs"]
    return extra


def _environment() -> None:
    """Make `.mkdocs` if it is not there or was made from other pins."""
    wanted = f"{sys.version_info[:2]} {digest(PINS)}\n"
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    print("site: making .mkdocs (half a minute)", flush=True)
    run([sys.executable, "-m", "venv", "--clear", PLACE])
    pip: Command = [PLACE / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
    try:
        run([*pip, "--quiet", "--only-binary", ":all:", "--require-hashes", "-r", PINS])
    except SetupError as error:
        raise SetupError(f"the packages of {PINS.name} cannot be installed: {error}") from error
    STAMP.write_text(wanted)


if __name__ == "__main__":
    script(main)
