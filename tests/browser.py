"""A headless Chromium, driven through its pipe: opens a page and takes a picture of it."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

FOUND = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


COLORED = 40
"""Difference between the strongest and the weakest part of a colour that is no grey."""
SILENCE = 120.0
"""Seconds after which a browser that says nothing has stopped."""
LATE = 20.0
"""The same of a picture: now and then the first of a page never comes, and the next one does."""
TRIES = 5


class BrowserError(Exception):
    """The browser has refused a call."""


class Browser:
    """A browser with one page; its profile is in a folder of the test.

    Parameters
    ----------
    folder
        Where it may write.
    size
        Width and height of the page.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (900, 700)) -> None:
        assert FOUND
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        words = [
            FOUND,
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={folder / 'profile'}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        # it expects its pipe at 3 and 4
        shell = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", *words],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number = b"", 0
        self.requests: list[str] = []
        """Addresses that the page has asked for."""
        self.errors: list[str] = []
        """What the page has said of faults."""
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the page."""
        return self._call(method, self._session, **params)

    def evaluate(self, text: str) -> Any:
        """Value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=text, returnByValue=True)
        return found["result"].get("value")

    def until(self, text: str, seconds: float = 120) -> Any:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + seconds
        while not (found := self.evaluate(text)):
            assert time.monotonic() < end, (text, self.errors[-5:], self.requests[-5:])
            time.sleep(0.2)
        return found

    def picture(self, path: Path | None = None) -> np.ndarray:
        """What is seen: (down, right, 3) uint8."""
        late = 0
        while True:
            try:
                found = self._call("Page.captureScreenshot", self._session, LATE)
                data = base64.b64decode(found["data"])
                break
            except TimeoutError:
                late += 1
                if late == TRIES:
                    raise
                self.call("Page.bringToFront")
            except BrowserError as error:
                # while it goes from one page to the next
                if "Not attached to an active page" not in str(error):
                    raise
                time.sleep(0.2)
        if path is not None:
            path.write_bytes(data)
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))

    def _call(
        self, method: str, session: str | None = None, patience: float = SILENCE, **params: Any
    ) -> Any:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        os.write(
            self._write,
            json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0",
        )
        while True:
            found = self._next(patience)
            if found.get("id") == number:
                if "error" in found:
                    raise BrowserError(method, found["error"])
                return found["result"]

    def _next(self, patience: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], patience)[0]:
                raise TimeoutError(f"the browser has said nothing for {patience:g} s")
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        about = found.get("params", {})
        if found.get("method") == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        if found.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.errors.append(json.dumps(about)[:500])
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        os.close(self._write)


def is_colored(picture: np.ndarray, part: float = 0.05) -> bool:
    """Whether a part of the pixels below the bars of the viewer is no grey."""
    parts = picture[60:].astype(int)
    return bool((parts.max(2) - parts.min(2) > COLORED).mean() > part)
