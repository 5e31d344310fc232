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

"""Who sees to which guest of this host: one at a time.

A migration, an arrival and the reconciler write to the same journal and move
the same balloon. Whoever wants to, holds the guest's claim for as long; two
guests never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import threading

from nova_freemem import clock as clocks


class Locks:
    """The guests of one host that somebody sees to."""

    def __init__(self, clock: clocks.Clock) -> None:
        """Know of none yet.

        :param clock: for waits
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, threading.Event] = {}

    @contextlib.contextmanager
    def hold(self, uuid: str, wait_seconds: float = 0.0) -> Iterator[bool]:
        """Hold a guest's claim, if it can be had.

        :param uuid: the instance
        :param wait_seconds: how long to wait for who holds it
        :returns: whether it is held; where it is not, leave the guest to
                  who does
        """
        taken = self._take(uuid, wait_seconds)
        try:
            yield taken
        finally:
            if taken:
                self._let_go(uuid)

    def _take(self, uuid: str, wait_seconds: float) -> bool:
        deadline = clocks.Deadline(self._clock, wait_seconds)
        while True:
            with self._lock:
                let_go = self._held.get(uuid)
                if let_go is None:
                    self._held[uuid] = threading.Event()
                    return True
            if deadline.passed():
                return False
            self._clock.wait(deadline.left_seconds(), until=let_go)

    def _let_go(self, uuid: str) -> None:
        with self._lock:
            self._held.pop(uuid).set()
