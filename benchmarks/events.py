"""Tasks of stages as discrete events: when they are submitted, begin, move bytes and end.

`benchmarks.simulation` says what is simulated.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """A stage: its name, seconds of a processor and bytes of each of its tasks."""

    name: str
    seconds: Sequence[float]
    moved: float = 0.0


@dataclass(frozen=True)
class Site:
    """Where a run is simulated.

    Attributes
    ----------
    workers
        Tasks that run at a time.
    submit, queue
        Tasks that are submitted in a second, and how many wait or run at most.
    start, poll
        Seconds until a task works, and from one look for tasks that have ended to the next.
    bandwidth, each
        Bytes a second of the file system, and of one task at most.
    """

    workers: int
    submit: float = math.inf
    queue: float = math.inf
    start: float = 0.0
    poll: float = 0.0
    bandwidth: float = math.inf
    each: float = math.inf


class FileSystem:
    """Transfers that share a bandwidth evenly.

    All that are under way move at one rate, so they are a heap of the level at which each ends: the
    level is how far a transfer would be that never ended.
    """

    def __init__(self, site: Site, now: float) -> None:
        self.site, self.level, self.now = site, 0.0, now
        self.under_way: list[tuple[float, int]] = []

    def _rate(self) -> float:
        return min(self.site.each, self.site.bandwidth / len(self.under_way))

    def next_end(self) -> float:
        """When the next transfer ends, if none begins before."""
        if not self.under_way:
            return math.inf
        return self.now + max(0.0, self.under_way[0][0] - self.level) / self._rate()

    def advance(self, now: float) -> None:
        """Go on to a time that is not after the next end."""
        if self.under_way:
            self.level += (now - self.now) * self._rate()
        self.now = now


class Stage:
    """The events of one stage.

    Parameters
    ----------
    work, site
        What is done, and where.
    now
        When it begins.
    """

    def __init__(self, work: Work, site: Site, now: float) -> None:
        self.work, self.site = work, site
        self.files = FileSystem(site, now)
        self.events: list[tuple[float, int, Callable[[float, int], None], int]] = []
        self.number = 0
        self.left, self.queued, self.free = len(work.seconds), 0, site.workers
        self.waiting: list[int] = []
        self.submitting = True
        self._at(now, self._submit)

    def run(self) -> float:
        """Run all tasks; returns when the last of them is seen to have ended."""
        now = self.files.now
        while self.events or self.files.under_way:
            end = self.files.next_end()
            if not self.events or end <= self.events[0][0]:
                now = end
                self.files.advance(now)
                self._compute(now, heapq.heappop(self.files.under_way)[1])
            else:
                now, _, happens, task = heapq.heappop(self.events)
                self.files.advance(now)
                happens(now, task)
        return now

    def _at(self, when: float, happens: Callable[[float, int], None], task: int = -1) -> None:
        self.number += 1
        heapq.heappush(self.events, (when, self.number, happens, task))

    def _submit(self, now: float, _task: int) -> None:
        self.submitting = bool(self.left) and self.queued < self.site.queue
        if self.submitting:
            self.left -= 1
            self.queued += 1
            self.waiting.append(self.left)
            self._begin(now)
            self._at(now + 1 / self.site.submit, self._submit)

    def _begin(self, now: float) -> None:
        if self.waiting and self.free:
            self.free -= 1
            self._at(now + self.site.start, self._move, self.waiting.pop())

    def _move(self, now: float, task: int) -> None:
        if self.work.moved and math.isfinite(min(self.site.each, self.site.bandwidth)):
            heapq.heappush(self.files.under_way, (self.files.level + self.work.moved, task))
        else:
            self._compute(now, task)

    def _compute(self, now: float, task: int) -> None:
        self._at(now + self.work.seconds[task], self._end, task)

    def _end(self, now: float, task: int) -> None:
        self.free += 1
        self._begin(now)
        poll = self.site.poll
        self._at(math.ceil(now / poll) * poll if poll else now, self._see, task)

    def _see(self, now: float, _task: int) -> None:
        self.queued -= 1
        if self.left and not self.submitting:
            self.submitting = True
            self._at(now, self._submit)


def simulate(works: Sequence[Work], site: Site) -> float:
    """Seconds from the begin of the first stage to the end of the last one."""
    now = 0.0
    for work in works:
        now = Stage(work, site, now).run()
    return now
