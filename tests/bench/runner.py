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

"""One run: a fresh guest, made ready, migrated, and looked at."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import os
import time

import libvirt

from tests.bench import matrix
from tests.bench import probe
from tests.bench import reserve
from tests.bench import results
from tests.bench import scenarios
from tests.bench.base import Method
from tests.bench.migration import Migration
from tests.lab import guest as lab_guest
from tests.lab import room
from tests.lab import steps
from tests.lab import virt
from tests.lab import witness

_GUEST = 'bench'

# Free page reporting returns what it finds each two seconds: a resident size
# that has not fallen for longer is what it stays.
_LOOKS, _LOOK_SECONDS = 6, 1.0
_NOISE_KIB = 8 * 1024
_MOST_LOOKS = 90

# Of the guest's /proc/vmstat: counted since it booted.
_COUNTERS = ('oom_kill', 'pswpout', 'workingset_refault_file')


def run(
    turn: matrix.Turn, make: Callable[[], Method], memory_mib: int
) -> results.Run:
    """Make one run.

    :param make: makes the method to measure.
    :raises Unable: the method cannot migrate this guest.
    :raises LabError: the guest did not do what it should.
    :raises libvirtError: libvirt did not.
    """
    scenario = scenarios.SCENARIOS[turn.cell.scenario]
    method = make()
    with _booted(turn.cell, memory_mib, method.spec) as guest:
        _prepare(guest, scenario, memory_mib)
        with reserve.held(memory_mib) as at_hand:
            return _measure(turn, guest, scenario, method, at_hand, memory_mib)


@contextlib.contextmanager
def _booted(
    cell: matrix.Cell,
    memory_mib: int,
    adapt: Callable[[virt.GuestSpec], virt.GuestSpec],
) -> Iterator[lab_guest.Guest]:
    """Boot a guest on the first host; end it wherever it is then.

    :param adapt: changes how it is made, for the method that it is for.
    """
    spec = virt.GuestSpec(_GUEST, memory_mib, reporting=cell.reporting)
    try:
        guest = lab_guest.Guest(virt.boot(room.hosts()[0], adapt(spec)))
        guest.wait_ready()
        yield guest
    finally:
        _end()


def _end() -> None:
    """End the guest and forget it, on both hosts."""
    for host in room.hosts():
        with contextlib.suppress(libvirt.libvirtError):
            virt.remove(host.libvirt().lookupByName(_GUEST))


def _prepare(
    guest: lab_guest.Guest, scenario: scenarios.Scenario, memory_mib: int
) -> None:
    scenario.prepare(guest, memory_mib)
    scenario.hold(guest, memory_mib)
    probe.start(guest, scenario.hot_file)


def _measure(
    turn: matrix.Turn,
    guest: lab_guest.Guest,
    scenario: scenarios.Scenario,
    method: Method,
    at_hand: reserve.Reserve,
    memory_mib: int,
) -> results.Run:
    load, _, _ = os.getloadavg()
    before = witness.question(guest)
    _settle(guest)
    counters = _counters(guest)
    rss_before_kib = guest.rss_kib()
    ahead_before = probe.clock_ahead_seconds(guest)
    source, destination = room.hosts()
    migration = Migration(
        guest.domain,
        source,
        destination,
        before.balloon_kib,
        at_hand,
        matrix.patience_seconds(turn.cell, memory_mib),
    )
    if scenario.grows:
        guest.grow_held()
    sent_before, _ = source.link_bytes()
    migration.run(method)
    sent, _ = source.link_bytes()
    _wait_until(migration.ended_at + scenario.after_seconds)
    landed = lab_guest.Guest(migration.arrived())
    ahead_after = probe.clock_ahead_seconds(landed)
    work = probe.read(landed)
    gone = _gone(counters, _counters(landed))
    after = witness.question(landed)
    ended_at = migration.ended_at + ahead_after
    return results.Run(
        scenario=turn.cell.scenario,
        reporting=turn.cell.reporting,
        migration_bandwidth_mbps=turn.cell.migration_bandwidth_mbps,
        method=turn.method,
        round=turn.round,
        seconds=migration.ended_at - migration.asked_at,
        delay_seconds=migration.transfer_at - migration.asked_at,
        bytes_sent=sent - sent_before,
        downtime_ms=migration.transferred.downtime_ms,
        rss_before_kib=rss_before_kib,
        rss_after_kib=landed.rss_kib(),
        balloon_before_kib=before.balloon_kib,
        balloon_after_kib=after.balloon_kib,
        back_seconds=migration.back_seconds,
        oom_kills=gone['oom_kill'],
        swapped_out_pages=gone['pswpout'],
        refaulted_pages=gone['workingset_refault_file'],
        pace=probe.pace(
            work,
            migration.asked_at + ahead_before,
            ended_at,
            scenario.after_seconds,
        ),
        work=tuple(
            (one.at_seconds - ended_at, one.bytes_per_second) for one in work
        ),
        cpu_seconds=migration.cpu_seconds,
        load=load,
        wrong=(
            *witness.changes(before, after),
            *witness.losses(before, after),
        ),
        told=tuple(method.told),
    )


def _settle(guest: lab_guest.Guest) -> None:
    """Wait until the guest's resident size falls no more."""
    seen: list[int] = []
    while not has_settled(seen) and len(seen) < _MOST_LOOKS:
        time.sleep(_LOOK_SECONDS)
        seen.append(guest.rss_kib())


def has_settled(rss_kib: Sequence[int]) -> bool:
    """Tell whether a resident size has stopped falling; pure.

    :param rss_kib: one look a second, the newest last.
    """
    recent = rss_kib[-_LOOKS:]
    return len(recent) == _LOOKS and recent[0] - recent[-1] < _NOISE_KIB


def _counters(guest: lab_guest.Guest) -> dict[str, int]:
    lines = map(str.split, guest.do('cat', '/proc/vmstat').splitlines())
    every = {name: int(value) for name, value in lines}
    return {name: every[name] for name in _COUNTERS}


def _gone(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in before}


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def teach(kit_make: Callable[[], Method], memory_mib: int) -> None:
    """Have the plugin see what an unshaped link carries.

    It is what earlier migrations have taught a host that is at work. The
    guest has nothing to release, so that all of it is transferred.
    """
    cell, method = matrix.Cell('full', False, None), kit_make()
    scenario = scenarios.SCENARIOS[cell.scenario]
    source, destination = room.hosts()
    with (
        steps.step('have the plugin learn what the link carries'),
        _booted(cell, memory_mib, method.spec) as guest,
        reserve.held(memory_mib) as at_hand,
    ):
        scenario.prepare(guest, memory_mib)
        Migration(
            guest.domain, source, destination, guest.balloon_kib(), at_hand
        ).run(method)
