"""A mistake that is put into the code, and the tests that should notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """A mistake in one place.

    Attributes
    ----------
    name
        What is wrong, in a few words.
    file
        Below ``bin/terapose``.
    piece, becomes
        Code that occurs there exactly once, and what takes its place.
    tests
        Files or node IDs of tests, some of which should fail.
    """

    name: str
    file: str
    piece: str
    becomes: str
    tests: tuple[str, ...]
