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

"""One run: a guest is booted, put to work, migrated, and asked about it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import time

import libvirt

from tests.bench import probe
from tests.bench import reserve
from tests.bench.base import Method
from tests.bench.migration import Migration
from tests.guests import cases
from tests.guests import harm
from tests.guests import results
from tests.guests import work
from tests.guests.inside import load
from tests.lab import debian
from tests.lab import guest as lab_guest
from tests.lab import room
from tests.lab import virt
from tests.lab import witness

#: For how long the guest is watched after the landing.
AFTER_SECONDS = 60.0

_GUEST = 'guest'
_VCPUS = 2
_SERVICE_SECONDS = 600
_LOAD = 'load.service'
_BEFORE_SECONDS = 20.0
# Emulated on a busy machine, a service may take longer than systemd waits.
_FLAGS = f'systemd.default_timeout_start_sec={_SERVICE_SECONDS}'
# Emulated, and while it has most to do.
_PREPARE_SECONDS = 300
_ASK_SECONDS = 120
# Memory that shows whether a migration corrupts it.
_HELD_MIB, _REWRITTEN_PER_SECOND = 16, 50
_COUNTERS = ('pswpout', 'workingset_refault_file', 'allocstall_')


def system(case: cases.Case) -> debian.Debian:
    """Say what a case's guest consists of."""
    return debian.Debian(packages=case.packages, setup=case.setup)


def run(
    case: cases.Case,
    method: str,
    round_number: int,
    make: Callable[[], Method],
) -> results.Run:
    """Make one run.

    :param method: its name.
    :param make: makes the method to measure.
    :raises LabError: the guest did not do what it should.
    :raises TimeoutError: or not in time.
    :raises libvirtError: libvirt did not.
    """
    with _booted(case) as guest:
        _put_to_work(guest, case)
        with reserve.held(case.memory_mib) as at_hand:
            return _measure(case, method, round_number, guest, make(), at_hand)


@contextlib.contextmanager
def _booted(case: cases.Case) -> Iterator[lab_guest.Guest]:
    """Boot a guest on the first host; end it wherever it is then."""
    spec = virt.GuestSpec(
        _GUEST,
        case.memory_mib,
        _VCPUS,
        reporting=True,
        flags=_FLAGS,
        system=system(case),
    )
    try:
        guest = lab_guest.Guest(virt.boot(room.hosts()[0], spec))
        virt.wait_booted(_GUEST, spec.boot_seconds)
        guest.wait_ready(spec.boot_seconds)
        yield guest
    finally:
        for host in room.hosts():
            with contextlib.suppress(libvirt.libvirtError):
                virt.remove(host.libvirt().lookupByName(_GUEST))


def _put_to_work(guest: lab_guest.Guest, case: cases.Case) -> None:
    guest.do('sh', '-ec', case.prepare, seconds=_PREPARE_SECONDS)
    guest.hold(_HELD_MIB, _REWRITTEN_PER_SECOND)
    words = case.load
    if words[0] in load.KINDS:
        source = pathlib.Path(load.__file__).read_text()
        words = ('python3', '-c', source, cases.LOG, *words)
    # One that ends is to be seen as such, and not to be forgotten.
    guest.do('systemd-run', f'--unit={_LOAD}', *words)
    # Emulated, a service may need longer to start than it is to be warm.
    first = (
        f'until cat {case.log} 2> /dev/null | grep -q .;'
        f' do systemctl -q is-active {_LOAD}; sleep 1; done'
    )
    guest.do('sh', '-ec', first, seconds=_PREPARE_SECONDS)
    time.sleep(case.warm_seconds)
    guest.do('systemctl', 'is-active', _LOAD)


def _measure(
    case: cases.Case,
    method: str,
    round_number: int,
    guest: lab_guest.Guest,
    how: Method,
    at_hand: reserve.Reserve,
) -> results.Run:
    load_average, _, _ = os.getloadavg()
    witnessed = witness.question(guest)
    account = _account(guest, case)
    ahead_before = probe.clock_ahead_seconds(guest)
    time.sleep(_BEFORE_SECONDS)
    source, destination = room.hosts()
    migration = Migration(
        guest.domain, source, destination, witnessed.balloon_kib, at_hand
    )
    sent_before, _ = source.link_bytes()
    migration.run(how)
    sent, _ = source.link_bytes()
    time.sleep(
        max(0.0, migration.landed_at + AFTER_SECONDS - time.monotonic())
    )
    landed = lab_guest.Guest(migration.arrived())
    ahead_after = probe.clock_ahead_seconds(landed)
    asked_at = migration.asked_at + ahead_before
    landed_at = migration.landed_at + ahead_after
    hurt = harm.between(account, _account(landed, case))
    left = witness.question(landed)
    # Last, when what was done in these seconds has been written.
    pieces = work.parse(
        landed.do('sh', '-c', f'cat {case.log}', seconds=_ASK_SECONDS)
    )
    before = work.pace(pieces, asked_at - _BEFORE_SECONDS, asked_at)
    during = work.pace(pieces, asked_at, landed_at)
    after = work.pace(pieces, landed_at, landed_at + AFTER_SECONDS)
    begin = asked_at - _BEFORE_SECONDS
    return results.Run(
        case=case.name,
        method=method,
        round=round_number,
        killed=hurt.killed,
        failed_allocations=(
            hurt.failed_allocations + during.failed + after.failed
        ),
        swapped_out_kib=hurt.swapped_out_kib,
        refaulted_kib=hurt.refaulted_kib,
        stalls=hurt.stalls,
        throughput_before=before.throughput,
        throughput_during=during.throughput,
        throughput_after=after.throughput,
        p99_ms_before=before.p99_ms,
        p99_ms_during=during.p99_ms,
        p99_ms_after=after.p99_ms,
        seconds=migration.landed_at - migration.asked_at,
        bytes_sent=sent - sent_before,
        downtime_ms=migration.transferred.downtime_ms,
        work=tuple(
            (begin + at - landed_at, count)
            for at, count in work.each_second(
                pieces, begin, landed_at + AFTER_SECONDS
            )
        ),
        load=load_average,
        harm=hurt.lines,
        wrong=(
            *witness.changes(witnessed, left),
            *witness.losses(witnessed, left),
        ),
        told=tuple(how.told),
    )


def _account(guest: lab_guest.Guest, case: cases.Case) -> harm.Account:
    """Ask a guest how it stands."""
    lines = map(str.split, guest.do('cat', '/proc/vmstat').splitlines())
    journal = guest.do(
        *('journalctl', '--boot', '--no-pager', '--quiet'),
        seconds=_ASK_SECONDS,
    )
    services = (*case.services, _LOAD)
    # Its exit code says that one of them is not active.
    states = guest.exec(['systemctl', 'is-active', *services]).out.split()
    return harm.Account(
        counters={
            name: int(value)
            for name, value in lines
            if name.startswith(_COUNTERS)
        },
        journal=journal.splitlines(),
        inactive=frozenset(
            name
            for name, state in zip(services, states, strict=True)
            if state != 'active'
        ),
    )
