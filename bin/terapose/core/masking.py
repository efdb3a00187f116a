"""Credentials in addresses: opened with them, shown and recorded without.

``user:password@`` and the values of parameters that sign an address (Amazon's ``X-Amz-...``,
Azure's ``sig``, Google's ``X-Goog-...``, tokens and keys) become ``***``.
"""

from __future__ import annotations

import re
from typing import Any

_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#'\"@]*(?:@[^\s/?#'\"@]*)*@")
_SECRET = re.compile(
    r"(?i)([?&;](?:[a-z0-9_.-]*(?:sig|signature|token|secret|password|passwd|credential|key|auth)"
    r"|(?:x-amz|x-goog)-[a-z0-9-]+|code|jwt|policy|awsaccesskeyid|googleaccessid|key-pair-id|"
    r"se|sp|sv|sr|skoid|sktid|skt|ske|sks|skv)(?:=|%3d))[^&#\s'\",;)]*"
)


def masked(text: str) -> str:
    """A text with ``***`` in the place of credentials in its URLs."""
    if "://" not in text:
        return text
    return _SECRET.sub(r"\1***", _USER.sub(r"\1***@", text))


def masked_all(value: Any) -> Any:
    """A value of JSON, with all of its texts masked."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {key: masked_all(one) for key, one in value.items()}
    return [masked_all(one) for one in value] if isinstance(value, list | tuple) else value
