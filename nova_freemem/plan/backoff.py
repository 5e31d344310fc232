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

"""Which guests are not released for a while, because they needed memory."""

from __future__ import annotations

FIRST_SECONDS = 600.0
LONGEST_SECONDS = 24 * 3600.0


class Backoff:
    """Remembers, on this host, which guests came under pressure.

    Each time doubles how long their releases are skipped.
    """

    def __init__(self) -> None:
        """Initialize it with no guest."""
        self._times: dict[str, int] = {}
        self._until_seconds: dict[str, float] = {}

    def add(self, uuid: str, now_seconds: float) -> None:
        """Back off from a guest.

        :param uuid: the instance
        :param now_seconds: monotonic
        """
        times = self._times.get(uuid, 0)
        self._times[uuid] = times + 1
        self._until_seconds[uuid] = now_seconds + min(
            LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(times, 16)
        )

    def remaining_seconds(self, uuid: str, now_seconds: float) -> float:
        """Return for how much longer releases of a guest are skipped.

        :param uuid: the instance
        :param now_seconds: monotonic
        :returns: seconds, 0.0 where they are not
        """
        return max(0.0, self._until_seconds.get(uuid, 0.0) - now_seconds)
