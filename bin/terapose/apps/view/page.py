"""The page that opens Neuroglancer with the state of a site, wherever the site is.

The client is the one in the Python package ``neuroglancer``, whose built files need no network. It
expects a server of that package, in an address with ``/v/``, and says so again and again if there
is none; the page is at such an address and answers in place of the server.

The state comes from ``state.json`` beside the page's site. So a site can be moved, and be reached
by any name and port, such as those of an SSH tunnel.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

from terapose.apps.view.state import BASE
from terapose.core.errors import InputError

PAGE = "v/view/index.html"
"""Path of the page in the site."""
_SCRIPT = re.compile(r'<script defer src="([\w.-]+\.js)">')
_STYLE = re.compile(r'<link href="([\w.-]+\.css)" rel="stylesheet">')
PUBLIC = "https://neuroglancer-demo.appspot.com"

_ROOT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>Terapose</title>
<meta http-equiv="refresh" content="0; url=v/view/index.html">
</head><body><a href="v/view/index.html">Open the viewer</a></body></html>
"""
_VIEW = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><link rel="icon" href="data:,"><title>Terapose</title>
%(styles)s
<script>
"use strict";
// The client waits for events of a server that there is not.
window.EventSource = class {
  constructor() { setTimeout(() => this.onopen && this.onopen(), 0); }
  close() {}
};
const base = new URL("../../", location.href).href;
const client = %(client)s, scripts = %(scripts)s;
function begin(state) {
  const text = encodeURIComponent(state);
  if (client) { location.replace(client + "#!" + text); return; }
  if (location.hash.length < 3) history.replaceState(null, "", "#!" + text);
  for (const name of scripts) {
    const script = document.createElement("script");
    script.src = base + "client/" + name;
    script.async = false;
    document.head.append(script);
  }
}
fetch(base + "state.json", {cache: "no-store"})
  .then((found) => { if (!found.ok) throw new Error(found.status); return found.text(); })
  .then((text) => begin(text.replaceAll(%(mark)s, base)))
  .catch((error) => { document.body.textContent = "The state cannot be read: " + error; });
</script></head><body></body></html>
"""


def client_folder() -> Path:
    """Folder of the built client.

    Raises
    ------
    InputError
        If the package is not installed.
    """
    spec = find_spec("neuroglancer")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "static" / "client"
        if (folder / "index.html").is_file():
            return folder
    raise InputError(
        "Neuroglancer is not installed",
        where="viewer",
        remedy="install Terapose from its folder with pip install '/path/to/terapose[view]', or "
        f"give the address of a client: --client {PUBLIC}",
    )


def client_files(folder: Path) -> frozenset[str]:
    """Names of the client's files, without what only serves to debug it."""
    return frozenset(p.name for p in folder.iterdir() if p.suffix in (".js", ".css", ".wasm"))


def root_page() -> bytes:
    """The page at the address of the site."""
    return _ROOT.encode()


def view_page(folder: Path | None, client: str = "") -> bytes:
    """The page of the viewer.

    Parameters
    ----------
    folder
        Of the client; None if another one is used.
    client
        Address of another client.
    """
    index = "" if folder is None else (folder / "index.html").read_text(encoding="utf-8")
    scripts, styles = _SCRIPT.findall(index), _STYLE.findall(index)
    if folder is not None and not scripts:
        raise InputError(
            "this version of Neuroglancer is not known",
            where=folder,
            remedy=f"give the address of a client: --client {PUBLIC}",
        )
    links = [f'<link href="../../client/{name}" rel="stylesheet">' for name in styles]
    text = _VIEW % {
        "styles": "".join(links),
        "client": _quoted(client),
        "scripts": _quoted(scripts),
        "mark": _quoted(BASE),
    }
    return text.encode()


def _quoted(value: object) -> str:
    """A value as it is written in a script in a page."""
    return json.dumps(value).replace("<", "\\u003c")
