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

"""Time, and the orders that cut a wait short."""

from __future__ import annotations

import enum
import threading
import time


class Request(enum.Enum):
    """What a release under way is told."""

    ABORT = 'abort'
    FORCE_COMPLETE = 'force-complete'
    TRANSFER_ENDED = 'transfer ended'


class Clock:
    """Monotonic seconds, and waiting for them to pass."""

    def now(self) -> float:
        """Tell the seconds since an arbitrary moment; they never go back."""
        return time.monotonic()

    def wall(self) -> float:
        """Tell the seconds since the epoch, as QEMU stamps statistics."""
        return time.time()

    def wait(
        self, seconds: float, until: threading.Event | None = None
    ) -> None:
        """Let time pass.

        :param seconds: how long
        :param until: an event that ends the wait early
        """
        if until is None:
            time.sleep(seconds)
        else:
            until.wait(seconds)


class Requests:
    """The mailbox between Nova's abort or force-complete and a release."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = True
        self.given: Request | None = None
        self.arrived = threading.Event()

    def give(self, order: Request) -> bool:
        """Hand over an order.

        An abort outranks a force-complete that came before it.

        :param order: what to do
        :returns: whether it was taken; False once the mailbox is closed, and
                  the transfer is the one to be told
        """
        with self._lock:
            if not self._open:
                return False
            if self.given is not Request.ABORT:
                self.given = order
            self.arrived.set()
            return True

    def close(self) -> Request | None:
        """Take no more orders.

        :returns: the order that was given, if any
        """
        with self._lock:
            self._open = False
            return self.given


class Deadline:
    """A moment after which nothing of ours may keep a migration waiting."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """Set the moment.

        :param clock: tells the time
        :param seconds: from now on
        """
        self._clock = clock
        self._at_seconds = clock.now() + seconds

    def left_seconds(self) -> float:
        """Tell the seconds left, 0.0 when it has passed."""
        return max(0.0, self._at_seconds - self._clock.now())

    def passed(self) -> bool:
        """Tell whether the moment has come."""
        return self.left_seconds() <= 0.0
