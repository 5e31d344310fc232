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


"""Many migrations of one guest, back and forth: nothing may drift."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import time

import psutil

from tests.chaos import account
from tests.chaos import record
from tests.chaos import verdict
from tests.chaos.stage import Stage
from tests.lab import layout
from tests.lab import steps

# Written to and freed before each migration: what the plugin releases.
_FREED_MIB = 400
_WORK = ('throughput', '/run/throughput')
_PAID_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Process:
    """What a nova-compute takes at one moment.

    :param rss_kib: its resident size, without what it has started.
    :param threads: how many it has.
    """

    rss_kib: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Soak:
    """What came of all migrations.

    :param migrations: how many were made.
    :param released: in how many of them memory was taken.
    :param seconds: from the first request to the last look.
    :param drift: what was another than before, by migration.
    :param computes: both nova-computes, by moment and host.
    """

    migrations: int
    released: int
    seconds: float
    drift: Sequence[str]
    computes: Mapping[str, Mapping[str, Process]]


def drift(
    number: int, before: record.Account, after: record.Account, noted: bool
) -> Iterator[str]:
    """Find what one migration has changed of a guest, to the kibibyte; pure.

    :param number: of the migration, from 1.
    :param noted: whether there is a journal entry.
    """
    found = list(verdict.differences(before, after))
    if after.boot_id != before.boot_id:
        found.append('the guest was restarted')
    if after.mismatches or after.checksum != before.checksum:
        found.append('memory it holds was changed')
    if after.oom_kills > before.oom_kills:
        found.append('its kernel killed a process')
    if noted:
        found.append('the journal says that it is owed memory')
    for one in found:
        yield f'migration {number}: {one}'


def run(stage: Stage, count: int) -> Soak:
    """Make so many migrations.

    :raises LabError: one did not arrive.
    """
    began = time.monotonic()
    stage.guest().do(*_WORK)
    before = account.question(stage.guest())
    computes = {'start': _look_at_computes(stage)}
    found: list[str] = []
    for number in range(1, count + 1):
        found += _migrate(stage, number, before)
        if number == (count + 1) // 2:
            computes['middle'] = _look_at_computes(stage)
    computes['end'] = _look_at_computes(stage)
    return Soak(
        migrations=count,
        released=_releases(stage.server.id),
        seconds=time.monotonic() - began,
        drift=found,
        computes=computes,
    )


def _migrate(stage: Stage, number: int, before: record.Account) -> list[str]:
    """Make one migration, and look at the guest."""
    stage.guest().fill_dirty(_FREED_MIB)
    stage.cloud.migrate(stage.server, to=stage.destination.name)
    stage.turn()
    guest = stage.wait_answering()
    with contextlib.suppress(TimeoutError):  # It is found out below.
        steps.wait_for(
            lambda: not account.is_noted(stage),
            'the journal',
            _PAID_SECONDS,
        )
    after = account.question(guest)
    noted = account.is_noted(stage)
    return list(drift(number, before, after, noted))


def _look_at_computes(stage: Stage) -> dict[str, Process]:
    found = {}
    for one in stage.cloud.computes:
        process = psutil.Process(one.daemon.pid)
        found[one.host.name] = Process(
            rss_kib=process.memory_info().rss // 1024,
            threads=process.num_threads(),
        )
    return found


def _releases(server_id: str) -> int:
    """Count the releases of a guest's memory, in the computes' logs."""
    count = 0
    for host in layout.HOSTS:
        log = layout.LAB.log / f'{host}-nova-compute.log'
        with log.open(errors='replace') as lines:
            count += sum(
                server_id in line and '] Released ' in line for line in lines
            )
    return count
