"""Amounts are said in a unit that fits: no "0.0 GB"."""

from __future__ import annotations

import pytest

from terapose.core.amounts import in_bytes


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (30_000, "30.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (10**6, "1.0 MB"),
        (2**31, "2.1 GB"),
        (1.25e12, "1.2 TB"),
        (5e15, "5000.0 TB"),
    ],
)
def test_the_unit_fits(count: float, words: str) -> None:
    assert in_bytes(count) == words
