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

"""What the path to a destination carries for one migration."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import enum

KIB_PER_SECOND_PER_MBPS = 1000 * 1000 / 8 / 1024

ASSUMED_MBPS = 1000

# A transfer that is cut short, or throttled by what the guest writes, says
# less of the path than one that fills it: the last few count, the latest
# most.
NEWEST_SHARE = 0.5

# Many more than a host migrates guests to.
MOST_DESTINATIONS = 1000


class Origin(enum.Enum):
    """How a bandwidth is known; its value is for people."""

    CONFIGURED = 'configured'
    MEASURED = 'measured in the last migrations there'
    INTERFACE = 'speed of the interface'
    ASSUMED = 'assumed'


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """A bandwidth and its origin.

    :ivar kib_per_second: what one migration gets
    :ivar origin: how that is known
    """

    kib_per_second: float
    origin: Origin

    @classmethod
    def of_mbps(cls, mbps: float, origin: Origin) -> Bandwidth:
        """Return a bandwidth given in the unit of interfaces.

        :param mbps: 10^6 bits a second
        :param origin: how it is known
        """
        return cls(mbps * KIB_PER_SECOND_PER_MBPS, origin)

    def __str__(self) -> str:
        """Return it in Mbit/s, with its origin."""
        return (
            f'{self.kib_per_second / KIB_PER_SECOND_PER_MBPS:.0f} Mbit/s '
            f'({self.origin.value})'
        )


class Bandwidths:
    """What is known of the paths from this host."""

    def __init__(
        self,
        configured_mbps: int,
        interface_speed_mbps: Callable[[], int | None],
    ) -> None:
        """Initialize it with what is configured.

        :param configured_mbps: for all destinations, 0 for unknown
        :param interface_speed_mbps: reads the speed of the interface of the
                                     migration network, None where it does
                                     not tell
        """
        self._configured_mbps = configured_mbps
        self._interface_speed_mbps = interface_speed_mbps
        self._measured: dict[str, float] = {}

    def configure(self, configured_mbps: int) -> None:
        """Change what is configured; what was measured stays known.

        :param configured_mbps: for all destinations, 0 for unknown
        """
        self._configured_mbps = configured_mbps

    def to(self, dest: str) -> Bandwidth:
        """Return what a migration can expect.

        :param dest: the destination's name
        :returns: the best that is known
        """
        if self._configured_mbps:
            return Bandwidth.of_mbps(self._configured_mbps, Origin.CONFIGURED)
        measured_kib_per_second = self._measured.get(dest)
        if measured_kib_per_second is not None:
            return Bandwidth(measured_kib_per_second, Origin.MEASURED)
        speed_mbps = self._interface_speed_mbps()
        if speed_mbps is not None:
            return Bandwidth.of_mbps(speed_mbps, Origin.INTERFACE)
        return Bandwidth.of_mbps(ASSUMED_MBPS, Origin.ASSUMED)

    def learn(self, dest: str, kib_per_second: float) -> None:
        """Learn from a transfer.

        :param dest: the destination's name
        :param kib_per_second: what it carried while it filled the path
        """
        before = self._measured.get(dest)
        if before is None:
            before = kib_per_second
            for oldest in list(self._measured):
                if len(self._measured) >= MOST_DESTINATIONS:
                    self._measured.pop(oldest, None)
        self._measured[dest] = (
            NEWEST_SHARE * kib_per_second + (1 - NEWEST_SHARE) * before
        )
