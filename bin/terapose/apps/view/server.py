"""A server of a site for one person: only who knows the address, with its token, gets anything.

- Whatever is not under the token does not exist (404), nor does anything that is not part of the
  site. There are no listings, and names with ``..``, ``%2e%2e`` or a backslash name nothing.
- Missing chunks are 404, which viewers take for background, as they do 403. So whatever cannot be
  read, or must not be, is an error (500): nothing that is wrong looks empty.
- Parts of files (``Range``) as viewers of sharded arrays need them; one range at a time.
- Pages of other origins may read data (CORS), because a client may come from elsewhere. They do not
  know the token either, and no page passes it on to other servers (``Referrer-Policy``).
- What is written on a command line can be seen by other people on the machine. So a browser is sent
  to a ticket, which leads to the site once.
"""

from __future__ import annotations

import hmac
import http.server
import logging
import os
import re
import secrets
import socket
import threading
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

from terapose.apps.view.site import Site
from terapose.apps.view.sources import RefusedError
from terapose.core.errors import InputError, shown

LOCAL = "127.0.0.1"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_PART = 1 << 20
_SECONDS = 60
log = logging.getLogger(__name__)


class Server(http.server.ThreadingHTTPServer):
    """Serves a site until it is closed.

    Parameters
    ----------
    site
        What is served.
    host, port
        Where it listens; port 0 is any that is free.

    Raises
    ------
    InputError
        If it cannot listen there.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, site: Site, host: str = LOCAL, port: int = 0) -> None:
        self.site = site
        self.token = secrets.token_urlsafe(24)
        self._ticket = secrets.token_urlsafe(24)
        self._lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(
                "cannot listen there",
                where=f"{host}, port {port}",
                got=getattr(error, "strerror", None) or error,
                remedy="give another port, or leave it out for one that is free",
            ) from error

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def address(self, host: str) -> str:
        """Address of the site by a name of this machine."""
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{self.port}/{self.token}/"

    def ticket(self, host: str) -> str:
        """An address that leads to the site once."""
        return self.address(host).replace(self.token, f"open/{self._ticket}").rstrip("/")

    def takes(self, ticket: str) -> bool:
        """Whether this is the ticket; it is not, the next time."""
        with self._lock:
            good = hmac.compare_digest(ticket.encode(), self._ticket.encode())
            if good:
                self._ticket = secrets.token_urlsafe(24)
        return good

    def start(self) -> None:
        """Serve in another thread."""
        # looks ten times a second whether it shall end: who presses Ctrl-C does not wait
        threading.Thread(target=self.serve_forever, args=(0.1,), name="view", daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no fault."""
        log.debug("a connection ended", exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "terapose", ""
    timeout = _SECONDS

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_OPTIONS(self) -> None:
        """Before a page of another origin asks for a part of a file."""
        self.send_response(204)
        self.send_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
        self.send_header("Access-Control-Allow-Headers", "Range")
        self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Access-Control-Max-Age", "600")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def end_headers(self) -> None:
        """With what every answer has."""
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Expose-Headers", "Content-Range, Content-Length")
        self.send_header("Cross-Origin-Resource-Policy", "cross-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: addresses hold the token."""

    def _answer(self, *, with_content: bool) -> None:
        path = self.path.partition("?")[0]
        place = path.split("/", 2)
        if len(place) == 3 and place[1] == "open" and self.server.takes(place[2]):
            self.send_response(302)
            self.send_header("Location", f"/{self.server.token}/")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        token = self.server.token.encode()
        if len(place) < 3 or not hmac.compare_digest(place[1].encode(errors="replace"), token):
            self._say(404, "not found", with_content)
            return
        try:
            key = unquote_to_bytes(place[2]).decode()
            found = self.server.site.get(key or "index.html")
            if found is None:
                self._say(404, "not found", with_content)
            elif isinstance(found, bytes):
                self._send(key or "index.html", found, len(found), with_content)
            else:
                with found.open("rb") as file:
                    self._send(key, file, os.fstat(file.fileno()).st_size, with_content)
        except UnicodeDecodeError:
            self._say(404, "not found", with_content)
        except (ConnectionError, TimeoutError):
            raise
        except (RefusedError, InputError, OSError, MemoryError) as error:
            log.warning("%s", shown(error))
            self._say(500, shown(error), with_content)

    def _say(self, status: int, text: str, with_content: bool) -> None:
        content = text.encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_content:
            self.wfile.write(content)

    def _send(self, key: str, found: bytes | BinaryIO, size: int, with_content: bool) -> None:
        """Send all of the content, or the part that is asked for."""
        first, stop = 0, size
        asked = _RANGE.fullmatch(self.headers.get("Range", "").replace(" ", ""))
        if asked and asked.group(0) != "bytes=-":
            first, stop = _part(asked[1], asked[2], size)
            if first >= stop:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{size}")
        else:
            self.send_response(200)
        kind = _TYPES.get(Path(key).suffix.lower(), "application/octet-stream")
        self.send_header("Content-Type", kind)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - first))
        self.end_headers()
        if not with_content:
            return
        if isinstance(found, bytes):
            self.wfile.write(found[first:stop])
            return
        found.seek(first)
        left = stop - first
        while left and (part := found.read(min(left, _PART))):
            self.wfile.write(part)
            left -= len(part)
        # of a file that has become shorter, the connection ends before the content does
        self.close_connection = self.close_connection or left > 0


def _part(first: str, last: str, size: int) -> tuple[int, int]:
    """First byte of a range, and the one after its last; of one that is not there nothing."""
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size
