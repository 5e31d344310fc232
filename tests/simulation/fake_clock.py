# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Time that passes at once, and threads that run one at a time in it.

A thread here is a strand of its own (a greenlet) that gives way only where
it waits. Whoever is due first goes on first, so that a story with several
threads is told the same way each time, and as fast as one without.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import heapq
import itertools
import math
import threading
from typing import Any

import greenlet

from nova_freemem import clock as clocks


@dataclasses.dataclass(eq=False)
class _Waiter:
    strand: greenlet.greenlet
    until: threading.Event | None


class FakeClock(clocks.Clock):
    """Time that passes at once when everybody waits.

    :ivar errors: what threads have raised
    """

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self._now_seconds = 1000.0
        self._order = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._waiters: list[_Waiter] = []
        self.hub = greenlet.greenlet(self._run)

    def now(self) -> float:
        return self._now_seconds

    def wall(self) -> float:
        return 1_790_000_000.0 + self._now_seconds

    def wait(
        self, seconds: float, until: threading.Event | None = None
    ) -> None:
        if until is not None and until.is_set():
            return
        end_seconds = self._now_seconds + seconds
        if not self._waiters and (
            not self._agenda or self._agenda[0][0] > end_seconds
        ):
            self._pass_until(end_seconds)
            return
        waiter = _Waiter(greenlet.getcurrent(), until)
        self._waiters.append(waiter)
        self.after(seconds, lambda: self._wake(waiter))
        if self.hub.dead:  # of a failed assertion, which a test is raising
            self.hub = greenlet.greenlet(self._run)
        self.hub.switch()

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Have something happen while everybody waits, so long from now."""
        heapq.heappush(
            self._agenda,
            (self._now_seconds + seconds, next(self._order), action),
        )

    def waiting(self) -> list[greenlet.greenlet]:
        """:returns: the strands that wait."""
        return [waiter.strand for waiter in self._waiters]

    def thread(
        self,
        target: Callable[..., object],
        args: tuple[Any, ...] = (),
        name: str = 'thread',
        daemon: bool | None = None,
    ) -> FakeThread:
        """:returns: a stand-in for ``threading.Thread`` in this time."""
        return FakeThread(self, target, args)

    def _pass_until(self, at_seconds: float) -> None:
        if at_seconds == math.inf:
            raise RuntimeError('everybody waits for somebody else')
        self._now_seconds = max(self._now_seconds, at_seconds)

    def _run(self) -> None:
        while True:
            called = next(
                (
                    one
                    for one in self._waiters
                    if one.until and one.until.is_set()
                ),
                None,
            )
            if called is not None:
                self._wake(called)
                continue
            at_seconds, _order, action = heapq.heappop(self._agenda)
            self._pass_until(at_seconds)
            action()

    def _wake(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            if waiter.strand.parent is not None:
                waiter.strand.parent = self.hub
            waiter.strand.switch()


class FakeThread:
    """A strand of a story.

    What it raises ends it and is kept by the clock, as it would be printed
    by a real one; what a test asserts in it, the test raises.
    """

    def __init__(
        self,
        clock: FakeClock,
        target: Callable[..., object],
        args: tuple[Any, ...],
    ) -> None:
        self._clock = clock
        self._target = target
        self._args = args
        self._ended = threading.Event()
        self.ident: int | None = None

    def start(self) -> None:
        strand = greenlet.greenlet(self._run, self._clock.hub)
        self.ident = id(strand)
        self._clock.after(0, strand.switch)

    def join(self) -> None:
        self._clock.wait(math.inf, until=self._ended)

    def is_alive(self) -> bool:
        return self.ident is not None and not self._ended.is_set()

    def _run(self) -> None:
        try:
            self._target(*self._args)
        except AssertionError:
            raise
        except Exception as error:
            self._clock.errors.append(error)
        finally:
            self._ended.set()
