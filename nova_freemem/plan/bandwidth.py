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
import math
import statistics

from nova_freemem.plan.traffic import Traffic
from nova_freemem.plan.transfer_meter import Carried

KIB_PER_SECOND_PER_MBPS = 1000 * 1000 / 8 / 1024
KIB_PER_SECOND_PER_MIB_PER_SECOND = 1024

# Until a transfer has been seen. It says no more than that a release may pay;
# whether it does is decided when the transfer is seen to fill its path.
ASSUMED_MBPS = 1000

# The last few transfers count, the latest most; none that was this long ago.
NEWEST_SHARE = 0.5
FORGOTTEN_SECONDS = 24 * 3600.0

# What was measured is outdated where a transfer has sent so many times as much
# since. Buffers take more than the path carries for a moment: 1.3 times as
# much was seen.
OUTDATED_TIMES = 2.0

# Many more than a host migrates guests to.
MOST_DESTINATIONS = 1000


class Origin(enum.Enum):
    """How a bandwidth is known; its value is for people."""

    CONFIGURED = 'configured'
    MEASURED = 'measured in the last migrations there'
    ELSEWHERE = 'measured in the last migrations to other hosts'
    SEEN = 'seen in this transfer'
    LIMITED = 'limited by live_migration_bandwidth'
    ASSUMED = 'assumed'


@dataclasses.dataclass(frozen=True)
class Bandwidth:
    """A bandwidth and its origin.

    :ivar kib_per_second: what one migration gets
    :ivar origin: how that is known
    :ivar sharers: how many share the path, this one included
    """

    kib_per_second: float
    origin: Origin
    sharers: int = 1

    @classmethod
    def of_mbps(cls, mbps: float, origin: Origin) -> Bandwidth:
        """Return a bandwidth given in the unit of interfaces.

        :param mbps: 10^6 bits a second
        :param origin: how it is known
        """
        return cls(mbps * KIB_PER_SECOND_PER_MBPS, origin)

    @property
    def is_known(self) -> bool:
        """Whether it is more than an assumption."""
        return self.origin is not Origin.ASSUMED

    def __str__(self) -> str:
        """Return it in Mbit/s, with its origin."""
        shared = (
            f'; shared by {self.sharers} migrations'
            if self.sharers > 1
            else ''
        )
        return (
            f'{self.kib_per_second / KIB_PER_SECOND_PER_MBPS:.0f} Mbit/s '
            f'({self.origin.value}{shared})'
        )


@dataclasses.dataclass(frozen=True)
class _Path:
    """What was measured on the way to one destination; KiB a second.

    :ivar alone: what one transfer got, None where none was alone
    :ivar shared: what several got together, None where none shared it
    :ivar at_least: what one has sent since, whether it filled the path or not
    :ivar at_seconds: when the first two were measured, monotonic; where
                      neither was, when the last one sent
    """

    alone: float | None
    shared: float | None
    at_least: float
    at_seconds: float

    def share(self, sharers: int) -> float | None:
        """Return what one of so many migrations gets."""
        if self.alone is not None:
            alone = self.alone
            if self.at_least >= OUTDATED_TIMES * alone:
                alone = self.at_least
            return _share(alone, self.shared, sharers)
        return None if self.shared is None else self.shared / sharers


class Bandwidths:
    """What is known of the paths from this host.

    :ivar traffic: the migrations that share them
    """

    def __init__(
        self,
        configured_mbps: int,
        interface_speed_mbps: Callable[[], int | None],
        most_mib_per_second: int = 0,
    ) -> None:
        """Initialize it with what is configured.

        :param configured_mbps: for all destinations, 0 for unknown
        :param interface_speed_mbps: reads the speed of the interface of the
                                     migration network, None where it does
                                     not tell
        :param most_mib_per_second: what Nova lets QEMU send for one
                                    migration, 0 for no limit
        """
        self._configured_mbps = configured_mbps
        self._interface_speed_mbps = interface_speed_mbps
        self._most_kib_per_second = (
            most_mib_per_second * KIB_PER_SECOND_PER_MIB_PER_SECOND or math.inf
        )
        self.traffic = Traffic()
        self._paths: dict[str, _Path] = {}

    def configure(self, configured_mbps: int) -> None:
        """Change what is configured; what was measured stays known.

        :param configured_mbps: for all destinations, 0 for unknown
        """
        self._configured_mbps = configured_mbps

    def to(self, dest: str, now_seconds: float, beside: int = 0) -> Bandwidth:
        """Return what a migration can expect that starts now.

        What QEMU does not limit is shared evenly by all migrations from this
        host that are under way: those whose transfer has not begun yet will
        transfer at the same time.

        :param dest: the destination's name
        :param now_seconds: monotonic
        :param beside: how many other migrations from this host are under way
        :returns: the best that is known
        """
        known = self._known(dest, now_seconds, beside + 1)
        return self._limited(dataclasses.replace(known, sharers=beside + 1))

    def _known(self, dest: str, now_seconds: float, sharers: int) -> Bandwidth:
        paths = {
            name: path
            for name, path in list(self._paths.items())
            if now_seconds - path.at_seconds < FORGOTTEN_SECONDS
        }
        if self._configured_mbps:
            configured = Bandwidth.of_mbps(
                self._configured_mbps, Origin.CONFIGURED
            )
            shared = paths[dest].shared if dest in paths else None
            return dataclasses.replace(
                configured,
                kib_per_second=_share(
                    configured.kib_per_second, shared, sharers
                ),
            )
        if dest in paths:
            share = paths[dest].share(sharers)
            if share is not None:
                return Bandwidth(share, Origin.MEASURED)
        others = [
            share
            for path in paths.values()
            if (share := path.share(sharers)) is not None
        ]
        if others:
            return Bandwidth(statistics.median(others), Origin.ELSEWHERE)
        return self._assumed(
            max((path.at_least for path in paths.values()), default=0.0),
            sharers,
        )

    def learn(self, dest: str, carried: Carried, now_seconds: float) -> None:
        """Learn from a transfer.

        :param dest: the destination's name
        :param carried: what its path carried
        :param now_seconds: monotonic
        """
        before = self._paths.get(dest)
        if before is None:
            for oldest in list(self._paths):
                if len(self._paths) >= MOST_DESTINATIONS:
                    self._paths.pop(oldest, None)
        if (
            before is None
            or now_seconds - before.at_seconds >= FORGOTTEN_SECONDS
        ):
            before = _Path(None, None, 0.0, now_seconds)
        alone = _mixed(before.alone, carried.alone_kib_per_second)
        shared = _mixed(before.shared, carried.shared_kib_per_second)
        at_least, at_seconds = carried.at_least_kib_per_second, now_seconds
        if carried.alone_kib_per_second is None:
            at_least = max(before.at_least, at_least)
        if (alone, shared) == (before.alone, before.shared) != (None, None):
            # What is measured no more must be forgotten all the same.
            at_seconds = before.at_seconds
        self._paths[dest] = _Path(alone, shared, at_least, at_seconds)

    def learnt(self, now_seconds: float) -> dict[str, str]:
        """Return what was measured, for people.

        :param now_seconds: monotonic
        :returns: by the destination's name
        """
        return {
            dest: f'alone {_mbps(path.alone)}, shared {_mbps(path.shared)}, '
            f'at least {_mbps(path.at_least)}, '
            f'{now_seconds - path.at_seconds:.0f} s ago'
            for dest, path in dict(self._paths).items()
        }

    def _assumed(
        self, at_least_kib_per_second: float, sharers: int
    ) -> Bandwidth:
        """Return an assumption, within the bounds that are known."""
        assumed = Bandwidth.of_mbps(ASSUMED_MBPS, Origin.ASSUMED)
        if self._most_kib_per_second <= assumed.kib_per_second / sharers:
            return Bandwidth(self._most_kib_per_second, Origin.LIMITED)
        kib_per_second = max(assumed.kib_per_second, at_least_kib_per_second)
        speed_mbps = self._interface_speed_mbps()
        if speed_mbps is not None:
            kib_per_second = min(
                kib_per_second, speed_mbps * KIB_PER_SECOND_PER_MBPS
            )
        return Bandwidth(kib_per_second / sharers, Origin.ASSUMED)

    def _limited(self, bandwidth: Bandwidth) -> Bandwidth:
        """Return a bandwidth, no higher than what Nova lets QEMU send."""
        if bandwidth.kib_per_second <= self._most_kib_per_second:
            return bandwidth
        return Bandwidth(
            self._most_kib_per_second,
            Origin.LIMITED if bandwidth.is_known else Origin.ASSUMED,
        )


def _share(alone: float, shared: float | None, sharers: int) -> float:
    """Return what one of several gets, who get no less than one alone.

    :param alone: what one gets that is alone
    :param shared: what several were seen to get together
    :param sharers: how many there are
    """
    return min(alone, max(alone, shared or 0.0) / sharers)


def _mbps(kib_per_second: float | None) -> str:
    if kib_per_second is None:
        return 'unknown'
    return f'{kib_per_second / KIB_PER_SECOND_PER_MBPS:.0f} Mbit/s'


def _mixed(before: float | None, newest: float | None) -> float | None:
    if before is None or newest is None:
        return before if newest is None else newest
    return NEWEST_SHARE * newest + (1 - NEWEST_SHARE) * before
