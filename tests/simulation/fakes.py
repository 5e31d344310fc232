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

"""A fake guest, and the fake libvirt domain it runs in.

What moves in the guest moves with the fake clock. None of this talks to a
hypervisor; the signatures of :class:`FakeDomain` are held against the real
one by a test.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
import dataclasses
import functools
import json
import pathlib
from typing import Any

from lxml import etree

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem import policy
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import planner
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import MemoryStats
from tests.simulation.fake_clock import FakeClock

CAPTURED = pathlib.Path(__file__).parent / 'captured'
UUID = '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'
DOMAIN_XML = (CAPTURED / 'constructed-nova-34-domain.xml').read_text()

MIB = 1024
GIB = 1024 * MIB


def make_policy(**changes: Any) -> policy.Policy:
    """:returns: the default policy of a host, with changes."""
    values: dict[str, Any] = {
        'acquire': ('guest_agent', 'balloon_stats'),
        'release': 'balloon',
        'mode': 'auto',
        'reclaim': 'cold',
        'headroom_percent': 5,
        'headroom_min_mib': 128,
        'headroom_windows_mib': 1024,
        'migration_bandwidth_mbps': 0,
        'min_saving_mib': 64,
        'agent_timeout_seconds': 5,
        'deadline_seconds': 120,
        'reconcile_interval_seconds': 60,
    }
    return policy.Policy(**(values | changes))


def make_plan(**changes: Any) -> planner.Plan:
    """:returns: to take 3 of 4 GiB before the transfer, with changes."""
    values: dict[str, Any] = {
        'original_kib': 4 * GIB,
        'rss_kib': 4 * GIB,
        'target_kib': 1 * GIB,
        'free_kib': 3 * GIB,
        'needed_kib': 0,
        'nonresident_kib': 0,
        'headroom_kib': 204 * MIB,
        'expected_saving_kib': 3 * GIB,
        'expected_saving_seconds': 20.0,
        'mode': planner.Mode.BEFORE,
        'bandwidth': bandwidths.Bandwidth.of_mbps(
            1000, bandwidths.Origin.ASSUMED
        ),
        'source': 'guest_agent',
    }
    return planner.Plan(**(values | changes))


@dataclasses.dataclass
class FakeAgent:
    """The guest agent: it reads files of the guest, or what a test scripts.

    :ivar blocked: commands that the guest's administrator has blocked
    :ivar script: instead of all that, for each command in turn, the reply,
                  or the fault to raise; the last one is repeated
    :ivar latency_seconds: how long each answer takes
    :ivar polls: how often guest-exec-status says that cat still runs
    """

    blocked: frozenset[str] = frozenset()
    script: list[str | Exception] = dataclasses.field(default_factory=list)
    latency_seconds: float = 0.0
    polls: int = 0
    commands: list[str] = dataclasses.field(default_factory=list)
    handles: dict[int, str] = dataclasses.field(default_factory=dict)

    def reply(
        self,
        command: str,
        guest: FakeGuest,
        clock: FakeClock,
        timeout_seconds: int,
    ) -> str:
        request = json.loads(command)
        name, arguments = request['execute'], request['arguments']
        self.commands.append(name)
        if self.latency_seconds > timeout_seconds:
            clock.wait(timeout_seconds)
            raise libvirt_fault(exceptions.AgentUnresponsive, 'timed out')
        clock.wait(self.latency_seconds)
        if self.script:
            scripted = self.script[0]
            del self.script[: len(self.script) > 1]
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        if name in self.blocked:
            raise libvirt_fault(
                exceptions.AgentCommandRefused,
                f'Command {name} has been disabled',
            )
        return json.dumps({'return': self._answer(name, arguments, guest)})

    def _answer(
        self, name: str, arguments: dict[str, Any], guest: FakeGuest
    ) -> Any:
        match name:
            case 'guest-exec':
                self._running = (self.polls, arguments['arg'])
                return {'pid': 4711}
            case 'guest-exec-status':
                polls, paths = self._running
                self._running = (polls - 1, paths)
                if polls > 0:
                    return {'exited': False}
                return {
                    'exited': True,
                    'exitcode': 0,
                    'out-data': encoded(
                        ''.join(guest.file(path) for path in paths)
                    ),
                }
            case 'guest-file-open':
                self.handles[1000] = arguments['path']
                return 1000
            case 'guest-file-read':
                content = guest.file(self.handles[arguments['handle']])
                return {
                    'count': len(content),
                    'eof': True,
                    'buf-b64': encoded(content),
                }
            case 'guest-file-close':
                del self.handles[arguments['handle']]
                return {}
        raise libvirt_fault(
            exceptions.AgentCommandRefused, f'no command {name}'
        )


# All of it in constant use: no guest of theirs says that it is cold.
CACHE_KIB = 64 * MIB


@dataclasses.dataclass
class FakeGuest:
    """A guest's memory, and the balloon in it.

    :ivar clock: what moves, moves with it
    :ivar memory_kib: what the host gave it
    :ivar used_kib: what it needs, all of it resident
    :ivar touched_kib: free, but resident: it was used once
    :ivar touched_first: whether its allocator hands out such memory before
                         memory it has never touched
    :ivar qemu_kib: what QEMU itself occupies
    :ivar inflate_kib_per_second: how fast it gives
    :ivar deflate_kib_per_second: how fast it takes back
    :ivar gives_down_to_kib: where its balloon driver stops giving
    :ivar takes_up_to_kib: where it stops taking back
    :ivar has_driver: whether there is a balloon driver at all
    :ivar discards: whether the host gains what the balloon takes
    :ivar tells: what its balloon driver says instead of the truth
    :ivar host: where it runs
    :ivar transferred_kib: what of it has been sent; None while no transfer
                           is under way
    """

    clock: FakeClock
    memory_kib: int = 4 * GIB
    used_kib: int = 512 * MIB
    touched_kib: int = 3 * GIB + 512 * MIB
    touched_first: bool = True
    qemu_kib: int = 60 * MIB
    inflate_kib_per_second: float = 400 * MIB
    deflate_kib_per_second: float = 1200 * MIB
    gives_down_to_kib: int = 0
    takes_up_to_kib: int = 1 << 40
    has_driver: bool = True
    discards: bool = True
    tells: dict[str, int | None] = dataclasses.field(default_factory=dict)
    running: bool = True
    host: str = 'source'
    metadata: str | None = None
    transferred_kib: float | None = None
    stats_period_seconds: int = 10
    xml: str = DOMAIN_XML
    agent: FakeAgent = dataclasses.field(default_factory=FakeAgent)

    def __post_init__(self) -> None:
        self.target_kib = self.actual_kib = self.memory_kib
        self.definition_kib = self.memory_kib
        self.definition_stats_period_seconds = self.stats_period_seconds
        self.least_free_kib = self.free_kib
        self._wasted_kib = 0
        self._started_anew = False
        self._looked_at_seconds = self.clock.now()

    @property
    def free_kib(self) -> int:
        """Memory used for nothing, as its kernel counts it."""
        return self.actual_kib - self.used_kib

    @property
    def rss_kib(self) -> int:
        """What its QEMU process occupies on the host."""
        return (
            self.qemu_kib + self.used_kib + self.touched_kib + self._wasted_kib
        )

    @property
    def missing_kib(self) -> int:
        """What it was given and does not have."""
        return self.memory_kib - self.actual_kib

    def statistics(self) -> dict[str, int | None]:
        """:returns: what its balloon driver told last."""
        if not self.has_driver:
            return {}
        return {
            'total_kib': self.memory_kib,
            'free_kib': self.free_kib,
            'available_kib': self.free_kib,
            'page_cache_kib': CACHE_KIB,
            'swapped_out_kib': 0,
        }

    def file(self, path: str) -> str:
        """:returns: the content of one of its files."""
        if path == '/proc/meminfo':
            return (
                f'MemTotal:       {self.memory_kib:8} kB\n'
                f'MemFree:        {self.free_kib:8} kB\n'
                f'MemAvailable:   {self.free_kib:8} kB\n'
                f'Cached:         {CACHE_KIB:8} kB\n'
            )
        if path == '/proc/pressure/memory':
            return (
                'some avg10=0.00 avg60=0.00 avg300=0.00 total=42\n'
                'full avg10=0.05 avg60=0.00 avg300=0.00 total=17\n'
            )
        largest = self.free_kib // (4 * MIB)
        return f'Node 0, zone   Normal{"      0" * 10} {largest:6} \n'

    def start_anew(self) -> None:
        """Boot: it has all its memory, and tells once it is asked for some."""
        self._started_anew = True

    def check(self) -> None:
        """Let happen what has happened since somebody looked."""
        seconds = self.clock.now() - self._looked_at_seconds
        self._looked_at_seconds = self.clock.now()
        if not self.has_driver:
            return
        if self._started_anew:
            if self.target_kib >= self.memory_kib:
                return
            self._started_anew = False
            self.actual_kib = self.memory_kib
        wanted_kib = self.actual_kib - self.target_kib
        if wanted_kib > 0:
            self._inflate(
                min(
                    wanted_kib,
                    int(self.inflate_kib_per_second * seconds),
                    max(0, self.actual_kib - self.gives_down_to_kib),
                    self.free_kib,
                )
            )
        else:
            self.actual_kib += min(
                -wanted_kib,
                int(self.deflate_kib_per_second * seconds),
                max(0, self.takes_up_to_kib - self.actual_kib),
            )

    def _inflate(self, amount_kib: int) -> None:
        if self.touched_first:
            touched_kib = min(self.touched_kib, amount_kib)
        else:
            untouched_kib = self.free_kib - self.touched_kib
            touched_kib = max(0, amount_kib - untouched_kib)
        self.actual_kib -= amount_kib
        self.touched_kib -= touched_kib
        if not self.discards:
            self._wasted_kib += touched_kib
        self.least_free_kib = min(self.least_free_kib, self.free_kib)


def _call(method: Callable[..., Any]) -> Callable[..., Any]:
    """Count a call, fail where a test wants it, and let time catch up."""

    @functools.wraps(method)
    def called(self: FakeDomain, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((method.__name__, *args, *kwargs.values()))
        self.guest.check()
        fault = self.fault_at.pop(len(self.calls), None)
        if fault is not None:
            raise fault.with_traceback(None)
        if self.guest.host != self.host:
            raise libvirt_fault(exceptions.DomainGone, 'no domain')
        return method(self, *args, **kwargs)

    return called


class FakeDomain:
    """The guest's domain, as one host sees it.

    :ivar calls: what was called, with arguments
    :ivar fault_at: faults to raise, once, by the number of the call
    """

    def __init__(
        self, guest: FakeGuest, host: str = 'source', uuid: str = UUID
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
        guest = self.guest
        figures: dict[str, Any] = {
            'actual_kib': guest.actual_kib,
            'rss_kib': guest.rss_kib,
        }
        return MemoryStats(**(figures | guest.statistics() | guest.tells))

    @_call
    def fresh_memory_stats(self, clock: clocks.Clock) -> MemoryStats | None:
        if not self.guest.has_driver:
            clock.wait(guests.FRESH_STATS_SECONDS)
            return None
        return self.memory_stats()

    @_call
    def set_balloon_kib(
        self, target_kib: int, *, definition: bool = False
    ) -> None:
        self._wait_for_the_job()
        if not 0 < target_kib <= self.guest.memory_kib:
            raise libvirt_fault(exceptions.TargetRefused, 'out of range')
        self.guest.target_kib = target_kib
        if definition:
            self.guest.definition_kib = target_kib

    @_call
    def steer_balloon_kib(self, target_kib: int) -> None:
        self.guest.target_kib = target_kib

    @_call
    def set_stats_period_seconds(
        self, seconds: int, *, definition: bool = False
    ) -> None:
        self._wait_for_the_job()
        self.guest.stats_period_seconds = seconds
        if definition:
            self.guest.definition_stats_period_seconds = seconds

    @_call
    def transferred_kib(self) -> float | None:
        return self.guest.transferred_kib

    def _wait_for_the_job(self) -> None:
        if self.guest.transferred_kib is not None:
            self.guest.clock.wait(30)
            raise libvirt_fault(exceptions.DomainBusy, 'a job is under way')

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
        self.guest.metadata = None

    @_call
    def situation(self) -> guests.Situation:
        if self.guest.transferred_kib is not None:
            return guests.Situation.HAS_JOB
        if not self.guest.running:
            return guests.Situation.PAUSED
        return guests.Situation.RUNNING

    @property
    def uuid(self) -> str:
        return self._uuid


class FakeHost:
    """The guests of one host.

    :ivar looks: how often all of them were looked through
    :ivar fault: raised instead of any answer
    """

    def __init__(self, *domains: FakeDomain) -> None:
        self.domains = {domain.uuid: domain for domain in domains}
        self.looks = 0
        self.fault: Exception | None = None

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

    def domain(self, uuid: str) -> FakeDomain:
        if self.fault is not None:
            raise self.fault
        if uuid not in self.domains:
            raise libvirt_fault(exceptions.DomainGone, 'no domain')
        return self.domains[uuid]


def libvirt_fault(
    kind: type[exceptions.LibvirtError], text: str
) -> exceptions.LibvirtError:
    """:returns: a fault as the real domain raises it."""
    return kind(doing='do this', error=text, code=1)


def encoded(content: str | bytes) -> str:
    """:returns: what the agent makes of a file."""
    if isinstance(content, str):
        content = content.encode()
    return base64.b64encode(content).decode()
