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


"""A guest that does its worst from the request to the landing.

Its balloon statistics and its agent lie. It stalls, resizes its balloon as it
likes and shuts itself down.
"""

from collections.abc import Iterator
import functools
import math
import threading
import types
from typing import Any
from unittest import mock

from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import guest_agent
from nova_freemem.migrate import decision
from nova_freemem.migrate import engine as engines
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.plan import backoff as backoffs
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import planner
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.release import balloon
from nova_freemem.release import reclaim
from nova_freemem.release import watch
from nova_freemem.report import event_queue
from nova_freemem.report import events
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.restore import schedule
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts
from nova_freemem.virt import memory_stats
from tests.fuzz import choices as fuzz_choices
from tests.fuzz import handle
from tests.fuzz import oracle
from tests.fuzz import script
from tests.fuzz.targets import agent
from tests.simulation import fakes

MODULES = (
    'nova_freemem.migrate.source',
    'nova_freemem.release.balloon',
    'nova_freemem.release.dropping',
    'nova_freemem.release.reclaim',
    'nova_freemem.release.stop_rules',
)

MEMORY_KIB = 4 * fakes.GIB
DEADLINE_SECONDS = 12
TIMEOUT_SECONDS = 5
TRANSFER_SECONDS = 5.0

# Beyond the deadline: the agent command that is in progress when it passes,
# and closing a file; or restoring memory that the guest is slow to take.
LATE_SECONDS = max(
    agent.LATE_SECONDS, watch.TICK_SECONDS + reconciler.WAIT_SECONDS + 0.3
)

_SEPARATOR = b'\x1f'
_HONEST = (
    b'MemTotal: 4194304 kB\nMemFree: 3500000 kB\n'
    b'MemAvailable: 3400000 kB\nCached: 65536 kB\n'
)
_HONEST_CACHE = (
    b'MemTotal: 4194304 kB\nMemFree: 1500000 kB\n'
    b'MemAvailable: 3400000 kB\nCached: 2065536 kB\n'
    b'Active(file): 65536 kB\nInactive(file): 2000000 kB\n'
    b'Dirty: 0 kB\nWriteback: 0 kB\nSwapTotal: 0 kB\n0x0000\n'
)


def seeds() -> list[bytes]:
    """:returns: guests that behave well, or whose agents do."""
    exited = {'exited': True, 'out-data': script.encoded(_HONEST)}
    honest = script.written(
        script.returned({'pid': 1}), script.returned(exited)
    )
    behaviours = (
        b'\0',
        b'\1\0',
        b'\2\0\0',
        b'\0\x01\xaa\0\0',
        b'\0\x04\x01' * 3,
        b'\0' * 60 + b'\xff',
    )
    return [
        _SEPARATOR.join(parts)
        for parts in (
            *((behaviour, honest) for behaviour in behaviours),
            *((b'\0', answers) for answers in agent.seeds()),
            *((b'\0', answers) for answers in _droppers()),
        )
    ]


def _droppers() -> Iterator[bytes]:
    """:returns: agents that write what has their guest drop page cache."""
    exited = {'exited': True, 'out-data': script.encoded(_HONEST_CACHE)}
    asked = [script.returned({'pid': 1}), script.returned(exited)]
    read = {'buf-b64': script.encoded(_HONEST_CACHE), 'count': 1}
    opened = script.returned(1000)
    told = [opened, script.returned(read), script.returned({})]
    ready = [*asked, opened, *told]
    # In no time, so that each portion is as small as the first one: 32768K.
    wrote = script.returned({'count': len('32768K')})
    portions = [wrote, script.returned({}), *told] * 40
    yield script.written(*ready, *portions)
    yield script.written(*ready, wrote, '!113 Invalid argument')
    yield script.written(*ready, wrote, '~60 !112 timed out')
    yield script.written(*asked, '!113 failed to open file')


class Guest:
    """Honest where its bytes are 0; each other byte is a lie."""

    def __init__(
        self, choices: fuzz_choices.Choices, host: handle.Handle
    ) -> None:
        self._choices = choices
        self._host = host
        self._updated_seconds = 0

    def statistics(self) -> dict[str, Any]:
        """:returns: its balloon statistics now."""
        targets_kib = self._host.targets_kib
        actual_kib = targets_kib[-1] if targets_kib else MEMORY_KIB
        choice = self._choices.number(255)
        if not choice & 8:
            self._updated_seconds = int(self._host.clock.wall())
        if choice == 255:
            self._host.running = False
        if choice & 1:
            actual_kib = self._choices.number(MEMORY_KIB)
        stats: dict[str, Any] = {
            'actual': actual_kib,
            'rss': self._choices.number(MEMORY_KIB)
            if choice & 2
            else actual_kib,
            'available': MEMORY_KIB,
            'unused': max(0, actual_kib - 600 * 1024),
            'usable': max(0, actual_kib - 600 * 1024),
            'swap_out': 0,
            'last_update': self._updated_seconds,
        }
        if choice & 4:
            lie = self._choices.of(
                ('unused', 'usable', 'swap_out', 'available', 'disk_caches')
            )
            stats[lie] = self._choices.value()
        return stats


def run(data: bytes) -> None:
    """Migrate a guest that does so.

    :param data: what it does, see choices.py; ``\\x1f``; and what its agent
        answers, see script.py.
    """
    behaviour, _separator, answers = data.partition(_SEPARATOR)
    choices = fuzz_choices.Choices(behaviour)
    mode = choices.of(tuple(mode.value for mode in planner.Mode))
    with (
        handle.fake_time() as clock,
        mock.patch.object(threading, 'Thread', clock.thread),
        mock.patch.object(events.Event, 'record', _check_event),
        handle.reached_by_libvirt(),
        oracle.watched_log(),
        oracle.only_own_errors(),
    ):
        host = handle.Handle(clock)
        host.statistics = Guest(choices, host).statistics
        host.agent = script.agent(answers)
        _migrate(host, mode, clock)
    assert not clock.errors, clock.errors
    _check_targets(host)


def _migrate(host: handle.Handle, mode: str, clock: fakes.FakeClock) -> None:
    policy = fakes.make_policy(
        mode=mode,
        migration_bandwidth_mbps=1000,
        deadline_seconds=DEADLINE_SECONDS,
        agent_timeout_seconds=TIMEOUT_SECONDS,
    )
    engine = engines.Engine(
        policy,
        (
            guest_agent.GuestAgent('guest_agent', TIMEOUT_SECONDS),
            balloon_stats.BalloonStats('balloon_stats', TIMEOUT_SECONDS),
        ),
        balloon.Balloon(),
        bandwidths.Bandwidths(1000, lambda: None),
        release_rates.ReleaseRates(),
        backoffs.Backoff(),
        reclaim.GuestReclaim('guest_reclaim', TIMEOUT_SECONDS),
    )
    reporter = reporters.Reporter(
        events.Events(
            None,
            types.SimpleNamespace(uuid=host.UUIDString()),
            'source',
            event_queue.EventQueue(clock),
        )
    )
    restorer = reconciler.Reconciler(
        hosts.Connections(lambda: handle.Connection(host), 1).host,
        locks.Locks(clock),
        clock,
        policy.reconcile_interval_seconds,
        policy.restore_workers,
    )
    restorer.start()
    migration = source.SourceMigration(
        guests.Guest(host),
        engine,
        reporter,
        decision.Migration(
            uuid='7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2',
            host='source',
            dest='dest',
        ),
        clock,
        functools.partial(
            restorer.restore_and_wait, host.UUIDString(), reporter
        ),
    )
    started_at = clock.now()
    state = migration.prepare()
    assert not isinstance(state, states.Cancelled)
    late_seconds = clock.now() - started_at - DEADLINE_SECONDS
    assert late_seconds <= LATE_SECONDS, f'{late_seconds:.1f} s late'
    with migration.transfer(state):
        clock.wait(TRANSFER_SECONDS)
    learnt = engine.release_rates.of(host.UUIDString(), clock.now())
    for rate in (learnt.inflate_kib_per_second, learnt.reclaim_kib_per_second):
        assert 0 < rate < math.inf, learnt
    ended_at = clock.now()
    migration.restore()
    seconds = clock.now() - ended_at
    assert seconds <= reconciler.WAIT_SECONDS + 0.3, f'{seconds:.1f} s'
    restorer.stop()


def _check_event(event: events.Event) -> None:
    oracle.check_harmless(event.name)


def _check_targets(host: handle.Handle) -> None:
    floor_kib = (
        fakes.make_policy().headroom_kib(MEMORY_KIB)
        - memory_stats.TOLERANCE_KIB
    )
    for target_kib in host.targets_kib:
        assert floor_kib <= target_kib <= MEMORY_KIB, target_kib
    if host.targets_kib and host.running:
        # It may have ended between the two halves of a nudge.
        least_kib = MEMORY_KIB - schedule.NUDGE_KIB
        assert host.targets_kib[-1] >= least_kib, 'it stays shrunk'
