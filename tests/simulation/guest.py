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

"""The simulated guest: an allocator, page cache, a balloon, a workload.

It is the one model of a guest that all tests without a hypervisor stand on:
those of the unit suite speak to it through
:class:`tests.simulation.fakes.FakeGuest`, and so does the simulation; the
functional tests put it behind Nova's fake libvirt.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import math
import pathlib
import threading
from typing import Any

from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.virt.memory_stats import TOLERANCE_KIB
from tests.simulation.agent import SimulatedAgent
from tests.simulation.agent import libvirt_error
from tests.simulation.fake_clock import FakeClock
from tests.simulation.model import GIB
from tests.simulation.model import MIB
from tests.simulation.model import Model

CAPTURED = pathlib.Path(__file__).parent / 'captured'
DOMAIN_XML = (CAPTURED / 'constructed-nova-34-domain.xml').read_text()

# What Nova 32 and later define a balloon with, both at once.
SINCE_NOVA_32 = " autodeflate='on' freePageReporting='on'"

# More than any guest has.
NO_LIMIT_KIB = 1 << 40

# Less than this is no time: what sums of floating-point numbers are off by.
NO_TIME_SECONDS = 1e-9

# What a path of 1 Gb/s carries of disks.
DISKS_KIB_PER_SECOND = 1e9 / 8 / 1024

PRESSURE = (
    'some avg10=0.00 avg60=0.00 avg300=0.00 total=42\n'
    'full avg10=0.05 avg60=0.00 avg300=0.00 total=17\n'
)

# As in Debian 12, whose kernel can use the multi-generational LRU and does
# not by itself.
VERSION = (
    'Linux version 6.1.0-50-cloud-amd64 (debian-kernel@lists.debian.org)\n'
)


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


@dataclasses.dataclass(eq=False)
class SimulatedGuest:
    """A guest's memory, the balloon in it, and what libvirt keeps of it.

    By default it is the simplest there is: 3.5 of its 4 GiB are free and
    resident, it has no page cache to reclaim and wants nothing, its balloon
    moves evenly, and its statistics are never old. :meth:`of_model` makes
    guests that behave as measured ones do.

    :ivar clock: what moves, moves with it
    :ivar memory_kib: what the host gave it
    :ivar reserved_kib: what of that its kernel does not count as MemTotal
    :ivar used_kib: what it needs, all of it resident
    :ivar zeros_kib: see :class:`Load`, as for those below
    :ivar touched_kib: free, but resident: it was used once, and lies in
                       pieces large enough to be reported
    :ivar shmem_kib: what of ``used_kib`` its kernel counts as page cache
    :ivar touched_first: whether its allocator hands out resident memory
                         before memory that is not
    :ivar qemu_kib: what QEMU itself occupies
    :ivar watermark_kib: see :class:`tests.simulation.model.Model`, as for
                         the speeds
    :ivar report_kib_per_second: 0 where it has no free page reporting
    :ivar drop_kib_per_second: page cache that it drops when that is asked of
                               it by ``memory.reclaim``; 0 where it has none
    :ivar drop_times: how much it drops, of what it is asked to
    :ivar dropping_balloon_share: what its balloon takes meanwhile, of what it
                                  takes otherwise
    :ivar takes_swappiness: whether its kernel takes ``swappiness=`` there
    :ivar swap_kib: swap it has
    :ivar step_seconds: how finely time is cut
    :ivar inflates_down_to_kib: where its balloon stops inflating
    :ivar deflates_up_to_kib: where it stops deflating
    :ivar overshoots_kib: what its balloon takes beyond its target
    :ivar has_driver: whether there is a balloon driver at all
    :ivar discards: whether the host gains what the balloon takes
    :ivar autodeflate: whether its balloon gives way before the OOM killer
                       comes ('autodeflate' in its definition)
    :ivar stats_lag: whether its statistics are as old as their period, as
                     real ones are
    :ivar frozen: whether its statistics never refresh
    :ivar tells: what its balloon driver says instead of the truth
    :ivar lies: what it multiplies free and available memory by when it is
                asked; what it tells later is true
    :ivar oom_kills: processes its kernel says it has killed, None where it
                     does not say
    :ivar major_faults: its page faults that waited for a disk, None where it
                        does not say
    :ivar reread_kib: page cache that it has had to read again
    :ivar reclaimed_kib: page cache that it has dropped for want of memory
    :ivar hangs: whether its QEMU does not answer, which libvirt does not
                 show as a job
    :ivar host: where it runs
    :ivar metadata: its journal entry, None for none
    :ivar persistent: whether its domain has a persistent definition
    :ivar transferred_kib: what of it has been sent; None while no transfer
                           is under way
    :ivar remaining_kib: what is left of it to be sent or looked at; None where
                         that is not told
    :ivar disks_copied_at_seconds: when its disks will have been copied, before
                                   that; None where it leaves without disks
    :ivar looked_at_kib: what was looked at and need not be sent
    :ivar throttle_percent: by how much auto-converge slows it down
    :ivar answers: its QEMU answers nothing until this is set; None where it
                   answers
    :ivar is_asked: whether a call waits for an answer, and libvirt keeps
                    others from asking
    :ivar on_step: called after each step, with the seconds it took
    :ivar balloon_moved: whether it did in the last step
    :ivar least_kib: the smallest it has been
    :ivar short_kib: what it wanted and did not get (an OOM killer's share)
    """

    clock: FakeClock
    memory_kib: int = 4 * GIB
    reserved_kib: int = 0
    used_kib: int = 512 * MIB
    zeros_kib: int = 0
    hot_kib: int = 0
    cold_kib: int = 0
    touched_kib: int = 3 * GIB + 512 * MIB
    fragments_kib: int = 0
    shmem_kib: int = 64 * MIB
    rewrites_kib_per_second: float = 0.0
    wants_kib: int = 0
    wants_after_seconds: float = 0.0
    wants_kib_per_second: float = 500.0 * MIB
    touched_first: bool = True
    qemu_kib: int = 60 * MIB
    watermark_kib: int = 0
    inflate_kib_per_second: float = 400 * MIB
    reclaim_kib_per_second: float = 400 * MIB
    deflate_kib_per_second: float = 1200 * MIB
    report_kib_per_second: float = 0.0
    drop_kib_per_second: float = 0.0
    drop_times: float = 1.5
    dropping_balloon_share: float = 1.0
    takes_swappiness: bool = True
    swap_kib: int = 0
    busy_balloon_share: float = 1.0
    step_seconds: float = math.inf
    inflates_down_to_kib: int = 0
    deflates_up_to_kib: int = NO_LIMIT_KIB
    overshoots_kib: int = 0
    has_driver: bool = True
    discards: bool = True
    autodeflate: bool = False
    stats_lag: bool = False
    frozen: bool = False
    tells: dict[str, int | None] = dataclasses.field(default_factory=dict)
    oom_kills: int | None = None
    major_faults: int | None = 0
    reread_kib: int = 0
    reclaimed_kib: int = 0
    lies: float = 1.0
    running: bool = True
    hangs: bool = False
    host: str = 'source'
    metadata: str | None = None
    persistent: bool = True
    transferred_kib: float | None = None
    remaining_kib: float | None = None
    disks_copied_at_seconds: float | None = None
    looked_at_kib: float = 0.0
    throttle_percent: int = 0
    stats_period_seconds: int = 10
    xml: str = DOMAIN_XML
    agent: SimulatedAgent = dataclasses.field(default_factory=SimulatedAgent)

    def __post_init__(self) -> None:
        self.target_kib = self.actual_kib = self.memory_kib
        self.definition_kib = self.least_kib = self.memory_kib
        self.definition_stats_period_seconds = self.stats_period_seconds
        self.on_step: Callable[[float], None] = lambda _seconds: None
        self.answers: threading.Event | None = None
        self.is_asked = False
        self.asked_at_seconds = 0.0
        self.balloon_moved = False
        self.short_kib = 0
        #: What it was asked to drop, in order, as it was written.
        self.asked_to_drop: list[str] = []
        self._is_dropping = False
        self.seen_at_seconds = self.clock.now()
        self._wants_at_seconds = self.clock.now() + self.wants_after_seconds
        self._wasted_kib = 0
        self._started_anew = False
        self._told: dict[str, int | None] = {}
        self._told_at_seconds = -1.0
        #: QEMU's stamp of its last report.
        self.reported_at_seconds: int | None = None
        self._period_told_with = -1
        self.tell()

    @classmethod
    def of_model(
        cls,
        clock: FakeClock,
        model: Model,
        memory_kib: int,
        load: Load,
        *,
        reports: bool = False,
        **behaviour: Any,
    ) -> SimulatedGuest:
        """Make a guest as measured ones are.

        :param clock: what moves, moves with it
        :param model: the figures it behaves by
        :param memory_kib: what the host gives it
        :param load: what it does
        :param reports: whether it has free page reporting, which Nova defines
                        together with autodeflate
        :param behaviour: what else is different with it
        :returns: the guest
        """
        amounts = dataclasses.asdict(load)
        xml = DOMAIN_XML.replace(str(4 * GIB), str(memory_kib))
        if not reports:
            xml = xml.replace(SINCE_NOVA_32, '')
        return cls(
            clock,
            memory_kib,
            touched_kib=amounts.pop('freed_kib'),
            **amounts,
            shmem_kib=0,
            qemu_kib=model.qemu_kib,
            watermark_kib=model.watermark_kib,
            inflate_kib_per_second=model.inflate_kib_per_second,
            reclaim_kib_per_second=model.reclaim_kib_per_second,
            deflate_kib_per_second=model.deflate_kib_per_second,
            report_kib_per_second=(
                model.report_kib_per_second if reports else 0.0
            ),
            busy_balloon_share=model.busy_balloon_share,
            step_seconds=model.step_seconds,
            stats_lag=True,
            xml=xml,
            agent=SimulatedAgent(latency_seconds=model.agent_seconds),
            **behaviour,
        )

    @property
    def total_shrinks(self) -> bool:
        """Whether its MemTotal shrinks with its balloon, by its definition."""
        return "autodeflate='on'" not in self.xml

    @property
    def total_kib(self) -> int:
        """MemTotal: with autodeflate the balloon does not change it."""
        return self.memory_kib - self.reserved_kib

    @property
    def free_kib(self) -> int:
        """Memory used for nothing, as its kernel counts it."""
        return (
            self.actual_kib
            - self.reserved_kib
            - self.used_kib
            - self.hot_kib
            - self.cold_kib
        )

    @property
    def available_kib(self) -> int:
        """What it could give without swapping."""
        return self.free_kib + self.cold_kib + self.hot_kib

    @property
    def page_cache_kib(self) -> int:
        """What its kernel counts as page cache."""
        return self.hot_kib + self.cold_kib + self.shmem_kib

    @property
    def resident_free_kib(self) -> int:
        """Free, and held by the host all the same."""
        return self.touched_kib + self.fragments_kib

    @property
    def rss_kib(self) -> int:
        """What its QEMU process occupies on the host."""
        return (
            self.qemu_kib
            + self.reserved_kib
            + self.used_kib
            + self.hot_kib
            + self.cold_kib
            + self.resident_free_kib
            + self._wasted_kib
        )

    @property
    def sendable_kib(self) -> int:
        """What of it a transfer has to send."""
        return self.rss_kib - self.qemu_kib - self.zeros_kib

    @property
    def disks_remaining_kib(self) -> float | None:
        """What is left of its disks to be copied, at 1 Gb/s."""
        if self.disks_copied_at_seconds is None:
            return None
        left_seconds = self.disks_copied_at_seconds - self.clock.now()
        return max(0.0, left_seconds) * DISKS_KIB_PER_SECOND

    @property
    def missing_kib(self) -> int:
        """What it was given and does not have."""
        return self.memory_kib - self.actual_kib

    def statistics(self) -> dict[str, int | None]:
        """:returns: what its balloon driver told last."""
        if not self.has_driver:
            return dict(self.tells)
        if not self.stats_lag:
            self.tell()
        return self._told | self.tells

    def tell(self) -> None:
        """Have the balloon driver tell its statistics."""
        self._told_at_seconds = self.clock.now()
        if not self.frozen:
            self.reported_at_seconds = int(self.clock.wall())
            self._told = {
                'total_kib': self.total_kib,
                'free_kib': self.free_kib,
                'available_kib': self.available_kib,
                'page_cache_kib': self.page_cache_kib,
                'swapped_out_kib': 0,
                'major_faults': self.major_faults,
            }

    def claimed_kib(self, amount_kib: int) -> int:
        """:returns: what it says of an amount when it is asked."""
        if self.lies == 1.0:
            return amount_kib
        return max(0, min(self.memory_kib, int(amount_kib * self.lies)))

    def meminfo(self) -> dict[str, int]:
        """:returns: what its kernel says of its memory, in KiB."""
        return {
            'MemTotal': self.total_kib,
            'MemFree': self.claimed_kib(self.free_kib),
            'MemAvailable': self.claimed_kib(self.available_kib),
            'Cached': self.page_cache_kib,
            'Inactive(file)': self.cold_kib,
            'Active(file)': self.hot_kib,
            'Dirty': 0,
            'Writeback': 0,
            'SwapTotal': self.swap_kib,
            'SwapFree': self.swap_kib,
        }

    def vmstat_kib(self) -> dict[str, int]:
        """:returns: what its kernel counts, in KiB and not in pages."""
        return {
            'nr_inactive_file': self.cold_kib,
            'nr_active_file': self.hot_kib,
            'workingset_refault_file': self.reread_kib,
            'pgsteal_kswapd': 0,
            'pgsteal_direct': self.reclaimed_kib,
        }

    def file(self, path: str) -> str | None:
        """:returns: the content of one of its files, None for none."""
        match path:
            case '/proc/meminfo':
                return ''.join(
                    f'{name}: {value_kib:8} kB\n'
                    for name, value_kib in self.meminfo().items()
                )
            case '/proc/buddyinfo':
                largest = self.free_kib // (4 * MIB)
                return f'Node 0, zone   Normal{"      0" * 10} {largest:6} \n'
            case '/proc/pressure/memory':
                return PRESSURE
            case '/proc/vmstat':
                return ''.join(
                    f'{name} {value_kib // 4}\n'
                    for name, value_kib in self.vmstat_kib().items()
                )
            case '/proc/version':
                return VERSION
            case '/proc/sys/vm/overcommit_memory':
                return '0\n'
            case '/sys/kernel/mm/lru_gen/enabled':
                return '0x0000\n'
        return None

    def start_anew(self) -> None:
        """Boot: it has all its memory, and tells once it is asked for some."""
        self._started_anew = True

    def check(self) -> None:
        """Let happen what has happened since somebody looked."""
        if self._started_anew:
            if self.target_kib >= self.memory_kib:
                self.seen_at_seconds = self.clock.now()
                return
            self._started_anew = False
            self.actual_kib = self.memory_kib
        left_seconds = self.clock.now() - self.seen_at_seconds
        while left_seconds > NO_TIME_SECONDS:
            seconds = min(left_seconds, self.step_seconds)
            left_seconds -= seconds
            self.seen_at_seconds = self.clock.now() - left_seconds
            self._step(seconds)
        period_seconds = self.stats_period_seconds
        if period_seconds and (
            period_seconds != self._period_told_with
            or self.clock.now() - self._told_at_seconds >= period_seconds
        ):
            self.tell()
        self._period_told_with = period_seconds

    def reclaim(self, written: str, timeout_seconds: float) -> None:
        """Drop page cache, coldest first, as ``memory.reclaim`` does.

        :param written: into that file
        :param timeout_seconds: how long the agent is waited for
        :raises AgentCommandRefused: by its kernel: it does not understand
                                     that, or has less page cache
        :raises AgentUnresponsive: it takes longer than that
        """
        self.asked_to_drop.append(written)
        amount, _space, option = written.partition(' ')
        assert amount.endswith('K'), written
        if option and not self.takes_swappiness:
            raise libvirt_error(
                exceptions.AgentCommandRefused, 'Invalid argument'
            )
        assert option or not self.swap_kib, 'it may swap'
        asked_kib = int(amount[:-1])
        dropped_kib = min(
            int(asked_kib * self.drop_times), self.cold_kib + self.hot_kib
        )
        seconds = dropped_kib / self.drop_kib_per_second
        self._is_dropping = True
        self.clock.wait(min(seconds, timeout_seconds))
        self.check()
        self._is_dropping = False
        if seconds > timeout_seconds:
            raise libvirt_error(exceptions.AgentUnresponsive, 'timed out')
        cold_kib = min(self.cold_kib, dropped_kib)
        self.cold_kib -= cold_kib
        self.hot_kib -= dropped_kib - cold_kib
        self.touched_kib += dropped_kib
        if dropped_kib < asked_kib:
            raise libvirt_error(
                exceptions.AgentCommandRefused,
                'Resource temporarily unavailable',
            )

    def _step(self, seconds: float) -> None:
        self._report(seconds)
        self._want(seconds)
        before_kib = self.actual_kib
        self._move_balloon(seconds)
        self.balloon_moved = self.actual_kib != before_kib
        self.on_step(seconds)

    def _report(self, seconds: float) -> None:
        if self.discards:
            self.touched_kib -= min(
                self.touched_kib, int(self.report_kib_per_second * seconds)
            )

    def _want(self, seconds: float) -> None:
        if not self.wants_kib or self.seen_at_seconds < self._wants_at_seconds:
            return
        wanted_kib = min(
            self.wants_kib, int(self.wants_kib_per_second * seconds)
        )
        self.wants_kib -= wanted_kib
        got_kib = self._reclaim_for(wanted_kib)
        if got_kib < wanted_kib and self.autodeflate:
            self.actual_kib += min(wanted_kib - got_kib, self.missing_kib)
            got_kib = self._reclaim_for(wanted_kib)
        self._take_free(got_kib)
        self.used_kib += got_kib
        self.short_kib += wanted_kib - got_kib

    def _reclaim_for(self, amount_kib: int) -> int:
        """Make memory free, and tell how much of an amount there is."""
        lacking_kib = amount_kib + self.watermark_kib - self.free_kib
        if lacking_kib > 0:
            cold_kib = min(self.cold_kib, lacking_kib)
            hot_kib = min(self.hot_kib, lacking_kib - cold_kib)
            self.cold_kib -= cold_kib
            self.hot_kib -= hot_kib
            self.touched_kib += cold_kib + hot_kib
            self.reclaimed_kib += cold_kib + hot_kib
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
                max(0, self.deflates_up_to_kib - self.actual_kib),
                int(self.deflate_kib_per_second * seconds),
            )
            return
        has_to_reclaim = self.free_kib <= self.watermark_kib
        rate = (
            self.reclaim_kib_per_second
            if has_to_reclaim
            else self.inflate_kib_per_second
        )
        if self.transferred_kib is not None:
            rate *= self.busy_balloon_share
        if self._is_dropping:
            rate *= self.dropping_balloon_share
        rate *= 1 - self.throttle_percent / 100
        released_kib = self._reclaim_for(
            min(
                wanted_kib,
                int(rate * seconds),
                max(0, self.actual_kib - self.inflates_down_to_kib),
            )
        )
        resident_kib = self._take_free(released_kib)
        self.actual_kib -= released_kib
        self.least_kib = min(self.least_kib, self.actual_kib)
        if not self.discards:
            self._wasted_kib += resident_kib


class JournalWatch:
    """See that no guest misses memory without a journal entry that says so."""

    def __init__(self) -> None:
        self._seen: str | None = None

    def look(self, guest: SimulatedGuest) -> None:
        """:raises AssertionError: the guest misses memory unknown to all."""
        if guest.missing_kib <= TOLERANCE_KIB:
            return
        assert guest.metadata is not None, 'memory is missing, and no entry'
        if guest.metadata != self._seen:  # reading one takes long
            entry = journal.JournalEntry.from_xml(guest.metadata)
            assert entry.original_kib == guest.memory_kib
            self._seen = guest.metadata
