"""Runs that are simulated as discrete events take the times that a person works out."""

from __future__ import annotations

import pytest
from benchmarks.events import Site, Work, simulate


@pytest.mark.parametrize(
    ("tasks", "moved", "site", "seconds"),
    [
        # two at a time
        (3, 0, Site(workers=2), 20),
        # each starts for 5 seconds
        (3, 0, Site(workers=2, start=5), 30),
        # the third is submitted after 2 seconds
        (3, 0, Site(workers=10, submit=1), 12),
        # one waits or runs at a time
        (3, 0, Site(workers=2, queue=1), 30),
        # its end is seen at the second look
        (1, 0, Site(workers=1, poll=7), 14),
        # both move 500 bytes at half of the bandwidth, or at what one can have
        (2, 500, Site(workers=2, bandwidth=100), 20),
        (2, 500, Site(workers=2, bandwidth=100, each=25), 30),
        # the second moves alone while the first computes
        (2, 500, Site(workers=2, submit=0.1, bandwidth=100), 25),
    ],
)
def test_a_stage(tasks: int, moved: float, site: Site, seconds: float) -> None:
    assert simulate([Work("masks", [10.0] * tasks, moved)], site) == pytest.approx(seconds)


def test_stages_run_one_after_another() -> None:
    works = [Work("follow", [10.0, 4.0]), Work("peaks", [1.0, 1.0, 1.0])]
    assert simulate(works, Site(workers=2)) == pytest.approx(12)
