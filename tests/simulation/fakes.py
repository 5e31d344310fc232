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

"""The fakes of what the package speaks to libvirt through.

Behind them is a simulated guest, and what moves in it moves with the fake
clock. The signatures are held against the real ones by a test.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import functools
import math
from typing import Any

from lxml import etree

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem import policy
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import forecast as forecasts
from nova_freemem.plan import planner
from nova_freemem.restore import journal
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import MemoryStats
from nova_freemem.virt.transfer_progress import TransferProgress
from tests.simulation.agent import SimulatedAgent
from tests.simulation.agent import encoded
from tests.simulation.agent import libvirt_error
from tests.simulation.fake_clock import FakeClock
from tests.simulation.guest import CAPTURED
from tests.simulation.guest import DOMAIN_XML
from tests.simulation.guest import SimulatedGuest
from tests.simulation.model import GIB
from tests.simulation.model import MIB

__all__ = [
    'CAPTURED',
    'DOMAIN_XML',
    'GIB',
    'MIB',
    'UUID',
    'FakeClock',
    'FakeGuest',
    'FakeHost',
    'SimulatedAgent',
    'SimulatedGuest',
    'encoded',
    'libvirt_error',
    'make_entry',
    'make_plan',
    'make_policy',
]

UUID = '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'


def make_policy(**changes: Any) -> policy.Policy:
    """:returns: the default policy of a host, with changes."""
    values: dict[str, Any] = {
        'enabled': True,
        'dry_run': False,
        'acquire': ('guest_agent', 'balloon_stats'),
        'release': ('guest_reclaim', 'balloon'),
        'mode': 'auto',
        'reclaim': 'cold',
        'headroom_percent': 12,
        'headroom_min_mib': 128,
        'headroom_windows_mib': 1024,
        'migration_bandwidth_mbps': 0,
        'min_saving_mib': 64,
        'agent_timeout_seconds': 5,
        'deadline_seconds': 120,
        'reconcile_interval_seconds': 60,
        'restore_workers': 4,
        'require_destination_trait': True,
        'metrics_file': None,
    }
    return policy.Policy(**(values | changes))


def make_entry(**changes: Any) -> journal.JournalEntry:
    """:returns: of a guest of 4 GiB, written by ``host1``, with changes."""
    values: dict[str, Any] = {
        'original_kib': 4 * GIB,
        'source': 'host1',
        'released_at': datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.UTC),
        'migration': 'a migration',
        'stats_period_seconds': 10,
    }
    return journal.JournalEntry(**(values | changes))


def make_plan(**changes: Any) -> planner.Plan:
    """:returns: to take 3 of 4 GiB before the transfer, with changes."""
    values: dict[str, Any] = {
        'original_kib': 4 * GIB,
        'rss_kib': 4 * GIB,
        'target_kib': 1 * GIB,
        'free_kib': 3 * GIB,
        'guest_free_kib': 3 * GIB,
        'used_kib': 0,
        'nonresident_kib': 0,
        'headroom_kib': 204 * MIB,
        'plain': forecasts.Forecast(34.4, 34.4, 4 * GIB),
        'expected_saving_kib': 3 * GIB,
        'expected_saving_seconds': 20.0,
        'expected_sent_kib': 1.0 * GIB,
        'mode': planner.Mode.BEFORE,
        'bandwidth': bandwidths.Bandwidth.of_mbps(
            1000, bandwidths.Origin.ASSUMED
        ),
        'source': 'guest_agent',
    }
    return planner.Plan(**(values | changes))


def _call(method: Callable[..., Any]) -> Callable[..., Any]:
    """Count a call, fail where a test wants it, and let time catch up."""

    @functools.wraps(method)
    def called(self: FakeGuest, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((method.__name__, *args, *kwargs.values()))
        self.guest.check()
        fault = self.fault_at.pop(len(self.calls), None)
        if fault is not None:
            raise fault.with_traceback(None)
        if self.guest.host != self.host:
            raise libvirt_error(exceptions.DomainGone, 'no domain')
        return method(self, *args, **kwargs)

    return called


class FakeGuest:
    """Stands for ``nova_freemem.virt.guest.Guest``: a guest on one host.

    :ivar guest: what moves behind it, on whichever host it is
    :ivar host: the host that speaks to it
    :ivar calls: what was called, with arguments
    :ivar fault_at: faults to raise, once, by the number of the call
    """

    def __init__(
        self, guest: SimulatedGuest, host: str = 'source', uuid: str = UUID
    ) -> None:
        self.guest = guest
        self.host = host
        self._uuid = uuid
        self.calls: list[tuple[Any, ...]] = []
        self.fault_at: dict[int, Exception] = {}

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """:returns: the arguments of each call of one method."""
        return [call[1:] for call in self.calls if call[0] == name]

    @_call
    def is_running(self) -> bool:
        return self.guest.running

    @_call
    def is_persistent(self) -> bool:
        return self.guest.persistent

    @_call
    def xml(self, *, definition: bool = False) -> etree._Element:
        guest = self.guest
        seconds = (
            guest.definition_stats_period_seconds
            if definition
            else guest.stats_period_seconds
        )
        description = etree.fromstring(
            guest.xml.replace(
                "<stats period='10'/>", f"<stats period='{seconds}'/>"
            )
        )
        current = description.find('currentMemory')
        if current is not None:
            current.text = str(
                guest.definition_kib if definition else guest.actual_kib
            )
        return description

    @_call
    def memory_stats(self) -> MemoryStats | None:
        self._wait_for_qemu()
        guest = self.guest
        figures: dict[str, Any] = {
            'actual_kib': guest.actual_kib,
            'rss_kib': guest.rss_kib,
        }
        told = guest.statistics()
        figures['last_update_seconds'] = guest.reported_at_seconds
        return MemoryStats(**(figures | told))

    @_call
    def fresh_memory_stats(self, clock: clocks.Clock) -> MemoryStats | None:
        self._wait_for_qemu()
        guest = self.guest
        if guest.transferred_kib is not None:
            return None if guest.frozen else self.memory_stats()
        if not guest.has_driver or guest.frozen:
            clock.wait(guests.FRESH_STATS_SECONDS)
            return None
        guest.tell()
        told = self.memory_stats()
        if told is None or told.free_kib is None or told.available_kib is None:
            return told
        return dataclasses.replace(
            told,
            free_kib=guest.claimed_kib(told.free_kib),
            available_kib=guest.claimed_kib(told.available_kib),
        )

    def oom_kills(self) -> int | None:
        self.guest.check()
        if self.guest.oom_kills is None:
            return None  # This has been seen, and it is not asked.
        return self._asked_oom_kills()

    @_call
    def _asked_oom_kills(self) -> int | None:
        self._wait_for_qemu()
        return self.guest.oom_kills

    @_call
    def set_balloon_kib(
        self, target_kib: int, *, definition: bool = False
    ) -> None:
        self._wait_for_the_job()
        self._need_definition(definition)
        if not 0 < target_kib <= self.guest.memory_kib:
            raise libvirt_error(exceptions.TargetRefused, 'out of range')
        self.guest.target_kib = target_kib
        if definition:
            self.guest.definition_kib = target_kib

    @_call
    def steer_balloon_kib(self, target_kib: int) -> None:
        self._wait_for_qemu()
        self.guest.target_kib = target_kib

    @_call
    def set_stats_period_seconds(
        self, seconds: int, *, definition: bool = False
    ) -> None:
        self._wait_for_the_job()
        self._need_definition(definition)
        self.guest.stats_period_seconds = seconds
        if definition:
            self.guest.definition_stats_period_seconds = seconds

    @_call
    def transfer_progress(self) -> TransferProgress | None:
        guest = self.guest
        if guest.transferred_kib is None:
            return None
        return TransferProgress(
            guest.transferred_kib,
            guest.remaining_kib,
            guest.looked_at_kib,
            1,
            guest.throttle_percent,
            disks_remaining_kib=guest.disks_remaining_kib,
        )

    @_call
    def outgoing_migration(self) -> guests.Outgoing:
        if self.guest.transferred_kib is None:
            return guests.Outgoing.NONE
        if self.guest.transferred_kib > 0:
            return guests.Outgoing.SENDING_MEMORY
        if self.guest.disks_remaining_kib:
            return guests.Outgoing.COPYING_DISKS
        return guests.Outgoing.STARTING

    def is_arriving(self) -> bool:
        return self.guest.host != self.host

    def _wait_for_qemu(self) -> None:
        """Wait for an answer, or until whoever waits has got one."""
        guest = self.guest
        if guest.hangs:
            self._time_out()
        if guest.answers is None or guest.answers.is_set():
            return
        if guest.is_asked:
            guest.clock.wait(30, until=guest.answers)
            if not guest.answers.is_set():
                raise libvirt_error(exceptions.DomainBusy, 'no answer')
            return
        guest.is_asked = True
        guest.asked_at_seconds = guest.clock.now()
        guest.clock.wait(math.inf, until=guest.answers)
        guest.is_asked = False

    def _wait_for_the_job(self) -> None:
        self._wait_for_qemu()
        if self.guest.transferred_kib is not None:
            self._time_out()

    def _need_definition(self, definition: bool) -> None:
        """Refuse a call that is to change a definition, and finds none."""
        if definition and not self.guest.persistent:
            raise libvirt_error(exceptions.OperationInvalid, 'transient')

    def _time_out(self) -> None:
        self.guest.clock.wait(30)
        raise libvirt_error(exceptions.DomainBusy, 'a job is under way')

    @_call
    def agent_command(self, command: str, timeout_seconds: int) -> str:
        guest = self.guest
        return guest.agent.reply(command, guest, guest.clock, timeout_seconds)

    @_call
    def read_metadata(self) -> str | None:
        return self.guest.metadata

    @_call
    def write_metadata(self, element: str) -> None:
        self._wait_for_the_job()
        self.guest.metadata = element

    @_call
    def erase_metadata(self) -> None:
        self._wait_for_the_job()
        self._need_definition(True)
        self.guest.metadata = None

    @_call
    def situation(self) -> guests.Situation:
        if self.guest.hangs:
            self._time_out()  # It asks for the job's statistics as well.
        if self.guest.transferred_kib is not None or (
            self.guest.is_asked
            and self.guest.clock.now() - self.guest.asked_at_seconds
            >= guests.OCCUPIED_MILLISECONDS / 1000
        ):
            return guests.Situation.HAS_JOB
        if not self.guest.running:
            return guests.Situation.PAUSED
        return guests.Situation.RUNNING

    def need_no_job(self) -> None:
        if self.situation() is guests.Situation.HAS_JOB:
            raise libvirt_error(exceptions.DomainBusy, 'a job is under way')

    @property
    def uuid(self) -> str:
        return self._uuid


class FakeHost:
    """The guests of one host.

    :ivar looks: how often all of them were looked through
    :ivar fault: raised instead of any answer
    :ivar lent: how many have it lent
    """

    def __init__(self, *domains: FakeGuest) -> None:
        self.domains = {domain.uuid: domain for domain in domains}
        self.looks = 0
        self.fault: Exception | None = None
        self.lent = 0

    @contextlib.contextmanager
    def lend(self) -> Iterator[FakeHost]:
        """Lend it, as ``nova_freemem.virt.host.Connections`` does."""
        self.lent += 1
        try:
            yield self
        finally:
            self.lent -= 1

    def name(self) -> str:
        return 'host1.example.org'

    def versions(self) -> tuple[str, str]:
        return '11.3.0', '10.0.2'

    def uuids(self) -> list[str]:
        if self.fault is not None:
            raise self.fault
        return sorted(self.domains)

    def journal_entries(self) -> dict[str, str]:
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        return {
            uuid: domain.guest.metadata
            for uuid, domain in self.domains.items()
            if domain.guest.host == domain.host
            and domain.guest.metadata is not None
        }

    def active_guests(self) -> list[FakeGuest]:
        if self.fault is not None:
            raise self.fault
        return list(self.domains.values())

    def guest(self, uuid: str) -> FakeGuest:
        if self.fault is not None:
            raise self.fault
        if uuid not in self.domains:
            raise libvirt_error(exceptions.DomainGone, 'no domain')
        return self.domains[uuid]
