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

"""Guests that came under pressure are left alone for a while."""

from __future__ import annotations

from nova_freemem import clock as clocks

FIRST_SECONDS = 600.0
LONGEST_SECONDS = 24 * 3600.0


class Backoff:
    """Remembers, on this host, which guests needed their memory.

    Each time doubles the while.
    """

    def __init__(self, clock: clocks.Clock) -> None:
        """Remember nobody yet.

        :param clock: tells how long ago that was
        """
        self._clock = clock
        self._times: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def note(self, uuid: str) -> None:
        """Remember a guest.

        :param uuid: the instance
        """
        times = self._times.get(uuid, 0)
        self._times[uuid] = times + 1
        self._until[uuid] = self._clock.now() + min(
            LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(times, 16)
        )

    def left_seconds(self, uuid: str) -> float:
        """Tell how much longer a guest is to be left alone.

        :param uuid: the instance
        :returns: seconds, 0.0 where it may be asked
        """
        return max(0.0, self._until.get(uuid, 0.0) - self._clock.now())
