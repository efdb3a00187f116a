"""moto's server of S3, at a port that is free, where to write on a condition is one step.

S3 decides between two that write at the same time; moto looks first, and writes later.
"""

from __future__ import annotations

import threading
from typing import Any
from unittest.mock import patch

from moto.s3.responses import S3Response
from moto.server import main

_ONE = threading.Lock()
_put = S3Response.put_object


def _put_alone(response: Any) -> Any:
    with _ONE:
        return _put(response)


if __name__ == "__main__":
    with patch.object(S3Response, "put_object", _put_alone):
        main(["-H", "127.0.0.1", "-p", "0"])
