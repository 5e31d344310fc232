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

A migration and the reconciler write to the same journal entry and move the
same balloon. Each of them holds the guest's lock meanwhile; two guests never
wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import threading

from nova_freemem import clock as clocks


class Lock:
    """The lock of one guest, as one holder has it."""

    def __init__(self, locks: Locks, uuid: str) -> None:
        """Initialize a lock that is held.

        :param locks: those it is one of
        :param uuid: the instance
        """
        self._locks = locks
        self._uuid = uuid
        self.given_up = threading.Event()

    def give_up(self) -> None:
        """Hold it no longer; again changes nothing."""
        self._locks.release(self._uuid, self)


class Locks:
    """The locks of the guests of one host."""

    def __init__(self, clock: clocks.Clock) -> None:
        """Initialize the locks, with none held.

        :param clock: for waits
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, Lock] = {}

    @contextlib.contextmanager
    def hold(
        self, uuid: str, wait_seconds: float = 0.0
    ) -> Iterator[Lock | None]:
        """Hold the lock of a guest, if it can be had.

        :param uuid: the instance
        :param wait_seconds: how long to wait for another holder
        :returns: the lock, as a context manager; None where it is not held,
                  and the guest must not be touched
        """
        lock = self._acquire(uuid, wait_seconds)
        try:
            yield lock
        finally:
            if lock is not None:
                lock.give_up()

    def release(self, uuid: str, lock: Lock) -> None:
        """Let others have the lock of a guest.

        :param uuid: the instance
        :param lock: what is given up; nothing if another holder has it by now
        """
        with self._lock:
            if self._held.get(uuid) is lock:
                del self._held[uuid]
                lock.given_up.set()

    def _acquire(self, uuid: str, wait_seconds: float) -> Lock | None:
        deadline = clocks.Deadline(self._clock, wait_seconds)
        while True:
            with self._lock:
                other = self._held.get(uuid)
                if other is None:
                    lock = self._held[uuid] = Lock(self, uuid)
                    return lock
            if deadline.passed():
                return None
            self._clock.wait(deadline.left_seconds(), until=other.given_up)
