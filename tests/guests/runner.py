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

"""One run: a guest is put to work, migrated, and asked about it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import math
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

_GUEST = 'guest'
_VCPUS = 2
_SERVICE_SECONDS = 600
_LOAD = 'load.service'
# Emulated on a busy machine, a service may take longer than systemd waits.
_FLAGS = f'systemd.default_timeout_start_sec={_SERVICE_SECONDS}'
# Emulated, and while it has most to do.
_PREPARE_SECONDS = 300
_ASK_SECONDS = 120
# Memory that shows whether a migration corrupts it.
_HELD_MIB, _REWRITTEN_PER_SECOND = 16, 50
# libvirt carries no answer of more than 4 MiB.
_PORTION_BYTES = 2 * 1024 * 1024
_COUNTERS = ('pswpout', 'workingset_refault_file', 'allocstall_')
# What a case has changed in its guest, for one that has another case after it.
_UNDO = f"""
swapoff -a
echo 0 > /proc/sys/vm/overcommit_memory
echo n > /sys/kernel/mm/lru_gen/enabled
rm -f {cases.LOG}
sync
echo 3 > /proc/sys/vm/drop_caches
"""


@dataclasses.dataclass(frozen=True)
class _Spans:
    """For how long a guest is at work.

    :param warm_seconds: before anything is measured, at most; a case may need
        less.
    :param before_seconds: before its migration is asked for.
    :param after_seconds: after its landing.
    """

    warm_seconds: float
    before_seconds: float
    after_seconds: float


_FULL = _Spans(math.inf, 20.0, 60.0)
_QUICK = _Spans(3.0, 3.0, 10.0)

#: Makes one run: :func:`run` or :func:`run_quickly`.
MakeRun = Callable[[cases.Case, str, int, Method], results.Run]


def system(case: cases.Case) -> debian.Debian:
    """Say what a case's guest consists of."""
    return debian.Debian(packages=case.packages, setup=case.setup)


def spec(case: cases.Case) -> virt.GuestSpec:
    """Say how a case's guest is booted; several cases can have the same."""
    return virt.GuestSpec(
        _GUEST,
        case.memory_mib,
        _VCPUS,
        reporting=True,
        flags=_FLAGS,
        system=system(case),
    )


@contextlib.contextmanager
def booted(guest: virt.GuestSpec) -> Iterator[None]:
    """Boot a guest on the first host; end it wherever it is then."""
    try:
        virt.boot(room.hosts()[0], guest)
        virt.wait_booted(_GUEST, guest.boot_seconds)
        yield
    finally:
        for host in room.hosts():
            with contextlib.suppress(libvirt.libvirtError):
                virt.remove(host.libvirt().lookupByName(_GUEST))


def run(
    case: cases.Case, method: str, round_number: int, how: Method
) -> results.Run:
    """Make one run, in a guest of its own.

    :param method: its name.
    :param how: migrates the guest.
    :raises Unable: the method cannot migrate this guest.
    :raises LabError: the guest did not do what it should.
    :raises LookupError: it has ended.
    :raises TimeoutError: or not in time.
    :raises libvirtError: libvirt did not.
    """
    with booted(how.spec(spec(case))):
        return _run(case, method, round_number, how, _FULL)


def run_quickly(
    case: cases.Case, method: str, round_number: int, how: Method
) -> results.Run:
    """Make one run with the guest that is booted, which rests after it.

    It shows whether the guest is hurt, and little of how quick it is. What is
    given and what is raised is as of :func:`run`.
    """
    try:
        return _run(case, method, round_number, how, _QUICK)
    finally:
        _rest(_find(), case)


def _run(
    case: cases.Case,
    method: str,
    round_number: int,
    how: Method,
    spans: _Spans,
) -> results.Run:
    guest = _find()
    _put_to_work(guest, case, spans)
    with reserve.held(case.memory_mib) as at_hand:
        return _measure(case, method, round_number, guest, how, at_hand, spans)


def _find() -> lab_guest.Guest:
    _, domain = virt.find(_GUEST)
    guest = lab_guest.Guest(domain)
    guest.wait_ready(_PREPARE_SECONDS)
    return guest


def _rest(guest: lab_guest.Guest, case: cases.Case) -> None:
    """Have a guest end its work, and be as it was before."""
    guest.let_go()
    guest.exec(['systemctl', 'stop', _LOAD, *case.services], _PREPARE_SECONDS)
    # One that has ended with an error would keep its name.
    guest.exec(['systemctl', 'reset-failed'])
    guest.do('sh', '-ec', _UNDO, seconds=_ASK_SECONDS)


def _put_to_work(
    guest: lab_guest.Guest, case: cases.Case, spans: _Spans
) -> None:
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
    time.sleep(min(case.warm_seconds, spans.warm_seconds))
    guest.do('systemctl', 'is-active', _LOAD)


def _measure(
    case: cases.Case,
    method: str,
    round_number: int,
    guest: lab_guest.Guest,
    how: Method,
    at_hand: reserve.Reserve,
    spans: _Spans,
) -> results.Run:
    load_average, _, _ = os.getloadavg()
    witnessed = witness.question(guest)
    account = _account(guest, case)
    ahead_before = probe.clock_ahead_seconds(guest)
    time.sleep(spans.before_seconds)
    source, _ = virt.find(_GUEST)
    destination = room.other(source)
    migration = Migration(
        guest.domain, source, destination, witnessed.balloon_kib, at_hand
    )
    sent_before, _ = source.link_bytes()
    migration.run(how)
    sent, _ = source.link_bytes()
    time.sleep(
        max(0.0, migration.ended_at + spans.after_seconds - time.monotonic())
    )
    landed = lab_guest.Guest(migration.arrived())
    ahead_after = probe.clock_ahead_seconds(landed)
    asked_at = migration.asked_at + ahead_before
    ended_at = migration.ended_at + ahead_after
    hurt = harm.between(account, _account(landed, case))
    left = witness.question(landed)
    # Last, when what was done in these seconds has been written.
    pieces = work.parse(_log(landed, case))
    begin = asked_at - spans.before_seconds
    end = ended_at + spans.after_seconds
    before = work.pace(pieces, begin, asked_at)
    during = work.pace(pieces, asked_at, ended_at)
    after = work.pace(pieces, ended_at, end)
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
        seconds=migration.ended_at - migration.asked_at,
        bytes_sent=sent - sent_before,
        downtime_ms=migration.transferred.downtime_ms,
        work=tuple(
            (begin + at - ended_at, count)
            for at, count in work.each_second(pieces, begin, end)
        ),
        load=load_average,
        harm=hurt.lines,
        wrong=(
            *witness.changes(witnessed, left),
            *witness.losses(witnessed, left),
        ),
        told=tuple(how.told),
    )


def _log(guest: lab_guest.Guest, case: cases.Case) -> str:
    """Read what a guest's work has written down so far, portion by portion.

    It goes on writing meanwhile, which may be faster than this reads.
    """

    def ask(command: str) -> str:
        words = ('sh', '-c', f'cat {case.log} | {command}')
        return guest.do(*words, seconds=_ASK_SECONDS)

    length, log, portion = int(ask('wc -c')), '', None
    while len(log) < length and portion != '':
        most = min(_PORTION_BYTES, length - len(log))
        portion = ask(f'tail -c +{len(log) + 1} | head -c {most}')
        log += portion
    return log


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
