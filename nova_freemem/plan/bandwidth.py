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

"""What the migration network carries, and how that is known."""

from __future__ import annotations

import dataclasses
import enum

import psutil

KIB_PER_SECOND_PER_MBPS = 1000 * 1000 / 8 / 1024

ASSUMED_MBPS = 1000

# A transfer that is cut short, or throttled by the guest's dirtying, tells
# less of the link than one that fills it: the last few count, the latest
# most.
NEWEST_SHARE = 0.5


class Origin(enum.Enum):
    """How a rate is known; its value is for people."""

    CONFIGURED = 'configured'
    REMEMBERED = 'seen in the last migrations there'
    INTERFACE = 'speed of the interface'
    ASSUMED = 'assumed'


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """A rate and its origin.

    :ivar kib_per_second: what one migration gets
    :ivar origin: how that is known
    """

    kib_per_second: float
    origin: Origin

    @classmethod
    def of_mbps(cls, mbit: float, origin: Origin) -> Bandwidth:
        """Make a rate of what interfaces are sold by.

        :param mbit: 10^6 bits a second
        :param origin: how it is known
        """
        return cls(mbit * KIB_PER_SECOND_PER_MBPS, origin)

    def __str__(self) -> str:
        """Say the rate in Mbit/s, and its origin."""
        return (
            f'{self.kib_per_second / KIB_PER_SECOND_PER_MBPS:.0f} Mbit/s '
            f'{self.origin.value}'
        )


class Bandwidths:
    """What is known of the ways from this host."""

    def __init__(self, configured_mbps: int, address: str) -> None:
        """Know nothing yet but what is configured.

        :param configured_mbps: for all destinations, 0 for unknown
        :param address: this host's own on the migration network
        """
        self._configured_mbps = configured_mbps
        self._address = address
        self._seen: dict[str, float] = {}

    def rate(self, dest: str) -> Bandwidth:
        """Tell what a migration can expect.

        :param dest: the destination's name
        :returns: the best that is known
        """
        if self._configured_mbps:
            return Bandwidth.of_mbps(self._configured_mbps, Origin.CONFIGURED)
        if dest in self._seen:
            return Bandwidth(self._seen[dest], Origin.REMEMBERED)
        speed_mbps = interface_speed_mbps(self._address)
        if speed_mbps is not None:
            return Bandwidth.of_mbps(speed_mbps, Origin.INTERFACE)
        return Bandwidth.of_mbps(ASSUMED_MBPS, Origin.ASSUMED)

    def remember(self, dest: str, kib_per_second: float) -> None:
        """Learn from a transfer.

        :param dest: the destination's name
        :param kib_per_second: what it carried while it was filled
        """
        before = self._seen.get(dest, kib_per_second)
        self._seen[dest] = (
            NEWEST_SHARE * kib_per_second + (1 - NEWEST_SHARE) * before
        )


def interface_speed_mbps(address: str) -> int | None:
    """Look up how fast the interface with an address is.

    :param address: an IP address of this host
    :returns: 10^6 bits a second; None where no interface has the address or
              the interface does not tell
    """
    speeds = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == address for one in addresses):
            stats = speeds.get(name)
            return stats.speed if stats and stats.speed > 0 else None
    return None
