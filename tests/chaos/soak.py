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
from tests.lab import records
from tests.lab import steps
from tests.lab import witness

# Written and freed before each migration: what the plugin can release.
_FREED_MIB = 400
_WORK = ('throughput', '/run/throughput')
_RESTORED_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Process:
    """Memory and threads of a nova-compute at one moment.

    :param rss_kib: its resident size, without its child processes.
    :param threads: the number of its threads.
    """

    rss_kib: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Soak:
    """The result of all migrations.

    :param migrations: the number of migrations.
    :param released: in how many of them memory was released.
    :param seconds: from the first request to the last check.
    :param drift: every difference, with the number of its migration.
    :param computes: both nova-computes, by moment and host.
    """

    migrations: int
    released: int
    seconds: float
    drift: Sequence[str]
    computes: Mapping[str, Mapping[str, Process]]


def drift(
    number: int,
    before: record.Account,
    after: record.Account,
    journal_entry: bool,
) -> Iterator[str]:
    """Find what one migration has changed of a guest, to the KiB; pure.

    :param number: of the migration, from 1.
    :param journal_entry: whether there is a journal entry.
    """
    found = [
        *verdict.differences(before, after),
        *witness.changes(before, after),
    ]
    if after.oom_kills > before.oom_kills:
        found.append('its kernel killed a process')
    if journal_entry:
        found.append('its journal entry is still there')
    for one in found:
        yield f'migration {number}: {one}'


def run(stage: Stage, count: int) -> Soak:
    """Migrate the guest so many times.

    :raises LabError: a migration did not complete.
    """
    began = time.monotonic()
    stage.guest().do(*_WORK)
    before = account.question(stage.guest())
    computes = {'start': _read_computes(stage)}
    found: list[str] = []
    for number in range(1, count + 1):
        found += _migrate(stage, number, before)
        if number == (count + 1) // 2:
            computes['middle'] = _read_computes(stage)
    computes['end'] = _read_computes(stage)
    return Soak(
        migrations=count,
        released=_releases(stage.server.id),
        seconds=time.monotonic() - began,
        drift=found,
        computes=computes,
    )


def _migrate(stage: Stage, number: int, before: record.Account) -> list[str]:
    """Migrate the guest once, and compare it with before."""
    stage.guest().fill_dirty(_FREED_MIB)
    stage.cloud.migrate(stage.server, to=stage.destination.name)
    stage.turn()
    guest = stage.wait_answering()
    with contextlib.suppress(TimeoutError):  # It is checked below.
        steps.wait_for(
            lambda: not account.has_journal_entry(stage),
            'the journal',
            _RESTORED_SECONDS,
        )
    after = account.question(guest)
    journal_entry = account.has_journal_entry(stage)
    return list(drift(number, before, after, journal_entry))


def _read_computes(stage: Stage) -> dict[str, Process]:
    found = {}
    for one in stage.cloud.computes:
        process = psutil.Process(one.daemon.pid)
        found[one.host.name] = Process(
            rss_kib=process.memory_info().rss // 1024,
            threads=process.num_threads(),
        )
    return found


def _releases(server_id: str) -> int:
    """Count the releases of a guest's memory, in the nova-computes' logs."""
    lines = records.plugin_lines(server_id)
    return sum(': Released ' in line for line in lines)
