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

"""How fast guests of this host give up memory."""

from __future__ import annotations

import dataclasses

# What a balloon takes in a second, KiB, until a release has been seen: free
# memory, and page cache that has to be reclaimed. Measured under TCG with
# Linux 6.1 (see the manual's page on measurements); processors with hardware
# support are faster.
ASSUMED_INFLATE_KIB_PER_SECOND = 650.0 * 1024
ASSUMED_RECLAIM_KIB_PER_SECOND = 400.0 * 1024

NEWEST_SHARE = 0.5

# Less than this, or released in less time, says more of the ticks of the
# watch than of the guest.
LEAST_RELEASED_KIB = 128 * 1024
LEAST_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class ReleaseRate:
    """How fast a guest gives up memory that is resident.

    :ivar inflate_kib_per_second: free memory
    :ivar reclaim_kib_per_second: page cache, which the guest has to drop
    """

    inflate_kib_per_second: float = ASSUMED_INFLATE_KIB_PER_SECOND
    reclaim_kib_per_second: float = ASSUMED_RECLAIM_KIB_PER_SECOND

    def seconds(self, free_kib: float, cache_kib: float) -> float:
        """Forecast how long a release takes.

        :param free_kib: free memory to release
        :param cache_kib: page cache to release after that
        """
        return (
            free_kib / self.inflate_kib_per_second
            + cache_kib / self.reclaim_kib_per_second
        )

    def after(
        self, free_kib: float, cache_kib: float, seconds: float
    ) -> ReleaseRate:
        """Learn from a release before the transfer.

        Free memory goes first; what was released beyond it was cache.

        :param free_kib: free memory that was released
        :param cache_kib: page cache that was released
        :param seconds: how long that took
        :returns: what to expect of the next one; this, where the release was
                  too small to tell
        """
        if (
            free_kib + cache_kib < LEAST_RELEASED_KIB
            or seconds < LEAST_SECONDS
        ):
            return self
        if cache_kib < LEAST_RELEASED_KIB:
            return dataclasses.replace(
                self,
                inflate_kib_per_second=_mixed(
                    self.inflate_kib_per_second,
                    (free_kib + cache_kib) / seconds,
                ),
            )
        cache_seconds = seconds - free_kib / self.inflate_kib_per_second
        if cache_seconds < LEAST_SECONDS:
            return self
        return dataclasses.replace(
            self,
            reclaim_kib_per_second=_mixed(
                self.reclaim_kib_per_second, cache_kib / cache_seconds
            ),
        )


class ReleaseRates:
    """What is known of the guests of this host.

    The host's processor and its load decide more than the guest does, and a
    guest that has left does not come back soon: so one rate for all.

    :ivar current: what to expect
    """

    def __init__(self) -> None:
        """Initialize it with what is assumed."""
        self.current = ReleaseRate()

    def learn(self, free_kib: float, cache_kib: float, seconds: float) -> None:
        """Learn from a release; see :meth:`ReleaseRate.after`."""
        self.current = self.current.after(free_kib, cache_kib, seconds)


def _mixed(before: float, newest: float) -> float:
    return NEWEST_SHARE * newest + (1 - NEWEST_SHARE) * before
