"""Credentials in addresses: opened with them, shown and recorded without.

Masked (``***``) is what a text holds of

1. users and passwords in front of a host or bucket, in addresses that are malformed too (a slash,
   a question mark or a blank in the password, no or one slash after the scheme);
2. values in queries and fragments whose names say that they are secret or sign the address
   (Amazon's ``X-Amz-...``, Azure's ``sig``, tokens, keys, passwords), with or without a host, and
   those that are encoded addresses with such values;
3. what drivers of object stores say of credentials: headers (``Authorization``), elements of XML,
   assignments, Amazon's identifiers of keys.

Whether a value is secret is judged by its name. Too much is masked rather than too little: to the
next blank, whatever is between.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_HIDDEN = "***"
_SCHEME = r"(?<![a-z0-9+.-])[a-z0-9+.-]+://"
_AUTHORITY = re.compile(
    rf"(?i)({_SCHEME}|(?<![\w:/.])//(?=[^\s/]*@))"
    r"(\[[^\s\]]*\][^\s/?#]*|(?:(?!::)[^\s/?#])*)"
)
"""A scheme, or the slashes after one, and what comes before the path. ``::`` ends a link in a chain
of fsspec."""
_ENDS = "'\"`,;:.)]}>"
_HOST = re.compile(rf"(?:\[[^\s\]]*\]|[^:]*)(?::\d*)?[{re.escape(_ENDS)}]*")
_BARE = re.compile(r"(?<![\w/.@:~-])[\w.+%~-]+:(?!:|//)(?:(?!://)[^\s@])+@(?=[\w\[])")
"""``key:secret@bucket`` without a scheme, as drivers name it, or with too few slashes after one;
not within the path of a file."""
_NAMED = re.compile(r"(?i)(?:[?&;#]|%3f|%26|%23)([^\s=&?#;/'\"]{1,80}?)(?:=|%3d)")
_NEXT = re.compile(rf"(?i)\s|[&#](?=[\w%.~-]+(?:=|%3d))|[,;'\"\])}}]+\s*(?:\w+::)*{_SCHEME}")
"""Where a value of a query ends; signs that may be part of a secret end it only if more follows."""
_SECRET_PARTS = re.compile(
    r"sig|token|secret|pass|pwd|cred|key|auth|jwt|policy|session|ticket|bearer|private|cookie"
    r"|^x-amz-|^x-goog-"
)
_SECRET_NAMES = frozenset(
    (
        *("code", "otp", "pin", "pw", "sid", "user", "username", "login", "googleaccessid"),
        *("se", "sp", "sv", "sr", "st", "sip", "spr", "ss", "srt"),
        *("skoid", "sktid", "skt", "ske", "sks", "skv"),
    )
)
_HEADER = re.compile(
    r"(?i)(?<![\w?&;#/-])((?:proxy-)?authorization\b['\"]?\s*[:=]\s*['\"]?(?:[\w-]+\s+)?|"
    r"(?:[\w-]*(?:credential|signature|password|passwd|pwd|secret|token)|aws[\w-]*id|[\w-]*key)=)"
    r"[^\s<>,&'\"]+"
)
_ELEMENT = re.compile(
    r"(?i)(<(\w*(?:AccessKey|Signature|StringToSign|Token|Secret|CanonicalRequest)\w*)>)[^<]*"
)
_AMAZON = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")


def masked(text: str, *, about: str = "") -> str:
    """A text with ``***`` in the place of credentials.

    Parameters
    ----------
    text
        What is shown.
    about
        Address that it is about: a driver may repeat parts of it on their own.
    """
    text = _values(_users(text))
    text = _HEADER.sub(lambda found: found[1] + _HIDDEN + _end(found[0]), text)
    text = _ELEMENT.sub(rf"\1{_HIDDEN}", text)
    text = _AMAZON.sub(_HIDDEN, _BARE.sub(f"{_HIDDEN}@", text))
    for secret in sorted(set(_secrets(about)), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return text


def has_credentials(address: str) -> bool:
    """Whether an address holds something that is masked."""
    return masked(address) != address


def masked_all(value: Any) -> Any:
    """A value of JSON, with all its texts masked; paths on a local disk are left as they are."""
    if isinstance(value, str):
        return value if value.startswith("/") and "://" not in value else masked(value)
    if isinstance(value, dict):
        return {key: masked_all(one) for key, one in value.items()}
    return [masked_all(one) for one in value] if isinstance(value, list | tuple) else value


def _users(text: str) -> str:
    """Users and passwords masked."""
    done, start = "", 0
    while found := _AUTHORITY.search(text, start):
        begin, end = found.end(1), _end_of_user(text, found)
        if end > begin:
            done += text[start:begin] + _HIDDEN
            start = end
        else:
            done += text[start:begin]
            start = begin
    return done + text[start:]


def _end_of_user(text: str, found: re.Match[str]) -> int:
    """Where user and password end that begin after a scheme; its own end where there are none."""
    begin, end = found.span(2)
    if "@" in found[2]:
        return begin + found[2].rindex("@")
    if _HOST.fullmatch(found[2]):
        return begin
    # no host has such a name: it is a user, whose password goes on after a slash or a blank
    word = re.compile(r"\S*").match(text, end)
    assert word is not None
    if "@" in word[0]:
        return word.start() + word[0].rindex("@")
    line = re.compile(rf"(?i)(?:(?!{_SCHEME})[^\n@])*@").match(text, end)
    return line.end() - 1 if line else end - len(_end(found[2]))


def _values(text: str) -> str:
    """Values of queries and fragments masked."""
    done, start = "", 0
    while found := _NAMED.search(text, start):
        done += text[start : found.end()]
        start = found.end()
        value = _value(text, start)
        if _is_secret(found[1]) or _has_secret(value):
            done += _HIDDEN
            start += len(value)
    return done + text[start:]


def _value(text: str, start: int) -> str:
    """What comes after a name, without the punctuation of a sentence at its end."""
    stop = _NEXT.search(text, start)
    value = text[start : stop.start() if stop else len(text)]
    return value[: len(value) - len(_end(value))]


def _end(value: str) -> str:
    return value[len(value.rstrip(_ENDS)) :]


def _is_secret(name: str) -> bool:
    plain = unquote(name).lower()
    return plain in _SECRET_NAMES or _SECRET_PARTS.search(plain) is not None


def _has_secret(value: str) -> bool:
    """Whether a value is a JSON Web Token, or an encoded address that has something to hide."""
    decoded = unquote(unquote(value))
    return value.startswith("eyJ") or (decoded != value and masked(decoded) != decoded)


def _secrets(address: str) -> Iterator[str]:
    """What is masked of an address, and its parts, as they are and decoded."""
    for found in _AUTHORITY.finditer(address):
        user = address[found.end(1) : _end_of_user(address, found)]
        for part in (user, *user.split(":", 1)):
            yield from {part, unquote(part)} if len(part) > 2 else ()
    for named in _NAMED.finditer(address):
        value = _value(address, named.end())
        if _is_secret(named[1]) and len(value) > 2:
            yield from {value, unquote(value)}
