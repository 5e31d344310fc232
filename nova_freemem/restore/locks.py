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

"""One lock for each guest of this host.

A migration, a landing and the reconciler write to the same journal entry and
move the same balloon. Each of them holds the guest's lock meanwhile; two
guests never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import threading

from nova_freemem import clock as clocks


class Locks:
    """The locks of the guests of one host."""

    def __init__(self, clock: clocks.Clock) -> None:
        """Initialize the locks, with none held.

        :param clock: for waits
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, threading.Event] = {}

    @contextlib.contextmanager
    def hold(self, uuid: str, wait_seconds: float = 0.0) -> Iterator[bool]:
        """Hold the lock of a guest, if it can be had.

        :param uuid: the instance
        :param wait_seconds: how long to wait for another holder
        :returns: whether it is held, as a context manager; where it is not,
                  the guest must not be touched
        """
        acquired = self._acquire(uuid, wait_seconds)
        try:
            yield acquired
        finally:
            if acquired:
                self._release(uuid)

    def _acquire(self, uuid: str, wait_seconds: float) -> bool:
        deadline = clocks.Deadline(self._clock, wait_seconds)
        while True:
            with self._lock:
                released = self._held.get(uuid)
                if released is None:
                    self._held[uuid] = threading.Event()
                    return True
            if deadline.passed():
                return False
            self._clock.wait(deadline.left_seconds(), until=released)

    def _release(self, uuid: str) -> None:
        with self._lock:
            self._held.pop(uuid).set()
