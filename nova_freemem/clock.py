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

"""Time, as everything that waits sees it: tests put their own in its place."""

from __future__ import annotations

import threading
import time


class Clock:
    """Monotonic seconds, and waiting for them to pass."""

    def now(self) -> float:
        """Return the seconds since an arbitrary moment; never fewer."""
        return time.monotonic()

    def wall(self) -> float:
        """Return the seconds since the epoch, as QEMU stamps statistics."""
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


class Deadline:
    """A moment after which the plugin keeps nobody waiting."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        """Initialize the moment.

        :param clock: tells the time
        :param seconds: from now on
        """
        self._clock = clock
        self._at_seconds = clock.now() + seconds

    def left_seconds(self) -> float:
        """Return the seconds left, 0.0 when it has passed."""
        return max(0.0, self._at_seconds - self._clock.now())

    def passed(self) -> bool:
        """Return whether the moment has come."""
        return self.left_seconds() <= 0.0
