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

"""A simulated guest: an allocator, page cache, a balloon, a workload."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any

from nova_freemem import clock as clocks
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import MemoryStats
from tests.simulation import fakes
from tests.simulation.fake_clock import FakeClock
from tests.simulation.model import MIB
from tests.simulation.model import Model


@dataclasses.dataclass(frozen=True)
class Load:
    """What a guest is doing, and what it will want.

    :ivar used_kib: in use
    :ivar zeros_kib: what of that is nothing but zeros: resident, never sent
    :ivar hot_kib: page cache it reads over and over
    :ivar cold_kib: page cache it read once
    :ivar freed_kib: free, but resident
    :ivar fragments_kib: the same, in pieces that cannot be reported
    :ivar rewrites_kib_per_second: what it writes to of its memory in use
    :ivar wants_kib: memory it will need more
    :ivar wants_after_seconds: when
    :ivar wants_kib_per_second: how fast
    """

    used_kib: int
    zeros_kib: int = 0
    hot_kib: int = 0
    cold_kib: int = 0
    freed_kib: int = 0
    fragments_kib: int = 0
    rewrites_kib_per_second: float = 0.0
    wants_kib: int = 0
    wants_after_seconds: float = 0.0
    wants_kib_per_second: float = 500.0 * MIB


class Guest(fakes.FakeGuest):
    """What :class:`tests.simulation.fakes.FakeDomain` needs, and the rest.

    ``used_kib`` and ``touched_kib`` mean what they do there; ``touched_kib``
    is what could be reported.

    :ivar told: the statistics its driver told last, as old as their period
    :ivar lies: what it multiplies free and available memory by when it is
                asked; what it tells later is true
    :ivar frozen: whether its statistics never refresh
    :ivar autodeflate: whether its balloon gives way before the OOM killer
                       comes ('autodeflate' in its definition)
    :ivar overshoots_kib: what its balloon takes beyond its target
    :ivar reports: whether it has free page reporting
    :ivar balloon_moved: whether it did in the last step
    :ivar short_kib: what it wanted and did not get (an OOM killer's share)
    """

    def __init__(
        self,
        clock: FakeClock,
        model: Model,
        memory_kib: int,
        load: Load,
        **behaviour: Any,
    ) -> None:
        self.model = model
        self.load = load
        self.hot_kib, self.cold_kib = load.hot_kib, load.cold_kib
        self.fragments_kib = load.fragments_kib
        self.lies = behaviour.pop('lies', 1.0)
        self.frozen = behaviour.pop('frozen', False)
        self.reports = behaviour.pop('reports', False)
        self.autodeflate = behaviour.pop('autodeflate', False)
        self.overshoots_kib = behaviour.pop('overshoots_kib', 0)
        self.told: dict[str, int | None] = {}
        self.balloon_moved = False
        self.short_kib = 0
        self.wanted_kib = load.wants_kib
        self.wants_at_seconds = clock.now() + load.wants_after_seconds
        self.on_step: Callable[[float], None] = lambda _seconds: None
        super().__init__(
            clock,
            memory_kib=memory_kib,
            used_kib=load.used_kib,
            touched_kib=load.freed_kib,
            qemu_kib=model.qemu_kib,
            agent=fakes.FakeAgent(latency_seconds=model.agent_seconds),
            **behaviour,
        )
        self._period_told_with = -1
        self._told_at_seconds = -1.0
        self.tell()

    @property
    def free_kib(self) -> int:
        return self.actual_kib - self.used_kib - self.hot_kib - self.cold_kib

    @property
    def available_kib(self) -> int:
        """What it could give without swapping."""
        return self.free_kib + self.cold_kib + self.hot_kib

    @property
    def resident_free_kib(self) -> int:
        """Free, and held by the host all the same."""
        return self.touched_kib + self.fragments_kib

    @property
    def rss_kib(self) -> int:
        return (
            self.qemu_kib
            + self.used_kib
            + self.hot_kib
            + self.cold_kib
            + self.resident_free_kib
            + self._wasted_kib
        )

    @property
    def sendable_kib(self) -> int:
        """What of it a transfer has to send."""
        return self.rss_kib - self.qemu_kib - self.load.zeros_kib

    @property
    def seen_at_seconds(self) -> float:
        """Up to when what happens to it has happened."""
        return self._looked_at_seconds

    def tell(self) -> None:
        """Have the balloon driver tell its statistics."""
        self._told_at_seconds = self.clock.now()
        if not self.frozen:
            self.told = {
                'total_kib': self.memory_kib,
                'free_kib': self.free_kib,
                'available_kib': self.available_kib,
                'page_cache_kib': self.hot_kib + self.cold_kib,
                'swapped_out_kib': 0,
            }

    def statistics(self) -> dict[str, int | None]:
        return dict(self.told)

    def file(self, path: str) -> str:
        if path != '/proc/meminfo':
            return super().file(path)
        free_kib, available_kib = map(
            self.claimed_kib, (self.free_kib, self.available_kib)
        )
        return ''.join(
            f'{name}: {value_kib} kB\n'
            for name, value_kib in (
                ('MemTotal', self.memory_kib),
                ('MemFree', free_kib),
                ('MemAvailable', available_kib),
                ('Cached', self.hot_kib + self.cold_kib),
                ('Inactive(file)', self.cold_kib),
                ('Dirty', 0),
                ('Writeback', 0),
            )
        )

    def claimed_kib(self, amount_kib: int) -> int:
        """Tell what it says of an amount when it is asked."""
        return max(0, min(self.memory_kib, int(amount_kib * self.lies)))

    def check(self) -> None:
        left_seconds = self.clock.now() - self._looked_at_seconds
        while left_seconds > 1e-9:
            seconds = min(left_seconds, self.model.step_seconds)
            left_seconds -= seconds
            self._looked_at_seconds = self.clock.now() - left_seconds
            self._step(seconds)
        period_seconds = self.stats_period_seconds
        if period_seconds and (
            period_seconds != self._period_told_with
            or self.clock.now() - self._told_at_seconds >= period_seconds
        ):
            self.tell()
        self._period_told_with = period_seconds

    def _step(self, seconds: float) -> None:
        self._report(seconds)
        self._want(seconds)
        before_kib = self.actual_kib
        self._move_balloon(seconds)
        self.balloon_moved = self.actual_kib != before_kib
        self.on_step(seconds)

    def _report(self, seconds: float) -> None:
        if self.reports and self.discards:
            self.touched_kib -= min(
                self.touched_kib,
                int(self.model.report_kib_per_second * seconds),
            )

    def _want(self, seconds: float) -> None:
        if (
            not self.wanted_kib
            or self._looked_at_seconds < self.wants_at_seconds
        ):
            return
        wanted_kib = min(
            self.wanted_kib, int(self.load.wants_kib_per_second * seconds)
        )
        self.wanted_kib -= wanted_kib
        got_kib = self._reclaim_for(wanted_kib)
        if got_kib < wanted_kib and self.autodeflate:
            self.actual_kib += min(wanted_kib - got_kib, self.missing_kib)
            got_kib = self._reclaim_for(wanted_kib)
        self._take_free(got_kib)
        self.used_kib += got_kib
        self.short_kib += wanted_kib - got_kib

    def _reclaim_for(self, amount_kib: int) -> int:
        """Make memory free, and tell how much of an amount there is."""
        lacking_kib = amount_kib + self.model.watermark_kib - self.free_kib
        if lacking_kib > 0:
            cold_kib = min(self.cold_kib, lacking_kib)
            hot_kib = min(self.hot_kib, lacking_kib - cold_kib)
            self.cold_kib -= cold_kib
            self.hot_kib -= hot_kib
            self.touched_kib += cold_kib + hot_kib
        return max(0, min(amount_kib, self.free_kib))

    def _take_free(self, amount_kib: int) -> int:
        """Take free memory, and tell how much of it is resident."""
        untouched_kib = max(0, self.free_kib - self.resident_free_kib)
        resident_kib = (
            min(self.resident_free_kib, amount_kib)
            if self.touched_first
            else max(0, amount_kib - untouched_kib)
        )
        fragments_kib = min(self.fragments_kib, resident_kib)
        self.fragments_kib -= fragments_kib
        self.touched_kib -= resident_kib - fragments_kib
        return resident_kib

    def _move_balloon(self, seconds: float) -> None:
        goal_kib = self.target_kib
        if goal_kib < self.memory_kib:
            goal_kib -= self.overshoots_kib
        wanted_kib = self.actual_kib - goal_kib
        if not self.has_driver or not wanted_kib:
            return
        if wanted_kib < 0:
            self.actual_kib += min(
                -wanted_kib,
                max(0, self.takes_up_to_kib - self.actual_kib),
                int(self.model.deflate_kib_per_second * seconds),
            )
            return
        has_to_reclaim = self.free_kib <= self.model.watermark_kib
        rate = (
            self.model.reclaim_kib_per_second
            if has_to_reclaim
            else self.model.inflate_kib_per_second
        )
        if self.transferred_kib is not None:
            rate *= self.model.busy_balloon_share
        released_kib = self._reclaim_for(
            min(
                wanted_kib,
                int(rate * seconds),
                max(0, self.actual_kib - self.gives_down_to_kib),
            )
        )
        resident_kib = self._take_free(released_kib)
        self.actual_kib -= released_kib
        if not self.discards:
            self._wasted_kib += resident_kib


class Domain(fakes.FakeDomain):
    """Its domain, whose statistics are as old as they are told."""

    guest: Guest

    def fresh_memory_stats(self, clock: clocks.Clock) -> MemoryStats | None:
        self.guest.check()
        if self.guest.frozen:
            clock.wait(guests.FRESH_STATS_SECONDS)
            return None
        self.guest.tell()
        told = super().fresh_memory_stats(clock)
        if told is None or told.free_kib is None or told.available_kib is None:
            return told
        return dataclasses.replace(
            told,
            free_kib=self.guest.claimed_kib(told.free_kib),
            available_kib=self.guest.claimed_kib(told.available_kib),
        )
