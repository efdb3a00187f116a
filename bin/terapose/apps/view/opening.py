"""Open a viewer of results: what it shows, its server, and a browser."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import webbrowser
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from terapose.apps.view.results import open_results
from terapose.apps.view.server import LOCAL, Server
from terapose.apps.view.site import Site, make_site
from terapose.apps.view.state import resolved

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
_LOCAL = ("127.0.0.1", "localhost", "::1")


class Viewer:
    """A viewer that is served until it is closed; also a context manager.

    Parameters
    ----------
    site
        What is shown.
    host, port
        Where the server listens.

    Attributes
    ----------
    url
        Address of the viewer.
    state
        What Neuroglancer shows: its state, with addresses of the data.
    notes
        What is not shown, and why.
    """

    def __init__(self, site: Site, host: str, port: int) -> None:
        self._server = Server(site, host, port)
        self._host = host
        self._name = socket.gethostname() if host in ("0.0.0.0", "::") else host
        self.url = self._server.address(self._name)
        self.state: dict[str, Any] = resolved(site.state, self.url)
        self.notes = site.notes
        self._server.start()

    @property
    def tunnel(self) -> str:
        """What to type on another machine, so that `url` works there; empty if it does already."""
        if self._host not in _LOCAL:
            return ""
        port = self._server.port
        try:
            user = f"{getpass.getuser()}@"
        except (OSError, KeyError):  # a user without a name
            user = ""
        there = "[::1]" if self._host == "::1" else self._host
        return f"ssh -N -L {port}:{there}:{port} {user}{socket.gethostname()}"

    def open_browser(self) -> bool:
        """Open the viewer in a browser; whether there is one."""
        if sys.platform == "linux" and not any(map(os.environ.get, _SCREENS)):
            return False  # one for terminals would take this one
        try:
            return webbrowser.open(self._server.ticket(self._name))
        except (OSError, webbrowser.Error):
            return False

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_view(
    results: Path,
    *,
    port: int = 0,
    browser: bool = True,
    color_by: str | None = None,
    image: str = "",
    host: str = LOCAL,
    client: str = "",
) -> Viewer:
    """Show results in Neuroglancer.

    Parameters
    ----------
    results
        Folder of the results of one sample.
    port
        Port of the server; 0 takes one that is free.
    browser
        Whether a browser is opened.
    color_by
        Column of the table of cells to colour by: by default how large cells are; ``CellID`` gives
        each cell another colour.
    image
        Address of the image, if it is not where it was segmented.
    host
        Address that the server listens on: this machine alone, unless another one is given.
    client
        Address of a Neuroglancer client to use, if not the one that is installed.

    Returns
    -------
    Viewer
        It serves until it is closed, or the program ends.

    Raises
    ------
    InputError
        If there are no results, their image or a column cannot be found, Neuroglancer is not
        installed, or the port is taken.
    """
    site = make_site(open_results(Path(results), image), color_by=color_by, client=client)
    viewer = Viewer(site, host, port)
    if browser:
        viewer.open_browser()
    return viewer
