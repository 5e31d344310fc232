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

"""What a drain of many guests takes, by how many leave at a time.

As root, with the lab's environment: ``python -m tests.lab.drain [GUESTS]``.
All guests are on one host, have used memory and freed most of it, and leave
for the other; then for the first again. Half of these drains are without the
plugin. ``max_concurrent_live_migrations`` is 1, 3 and 10.
"""

from collections.abc import Sequence
import dataclasses
import functools
import re
import time

import tabulate

from tests.lab import arguments
from tests.lab import cloud as lab_cloud
from tests.lab import command
from tests.lab import host as lab_host
from tests.lab import images
from tests.lab import layout
from tests.lab import preflight
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab import witness

_GUESTS, _MEMORY_MIB, _HELD_MIB, _FREED_MIB = 10, 768, 32, 512
_AT_A_TIME = (1, 3, 10)
_RESTORE_SECONDS = 60

# All of them fit on one host. What the link carries is to be seen: the file
# sorts after the drop-in that knows its limit.
_LINES = """\
[DEFAULT]
cpu_allocation_ratio = 64
max_concurrent_live_migrations = {at_a_time}
[freemem]
migration_bandwidth_mbps = 0
"""

# What is logged of a migration: what it was expected to get of the path.
_EXPECTED = re.compile(r' at (\d+) Mbit/s \([^)]*\)')


@dataclasses.dataclass(frozen=True)
class Drain:
    """One drain in figures.

    :param at_a_time: how many guests leave at a time.
    :param plugin: whether the plugin was enabled.
    :param seconds: from the first request until Nova has ended the last.
    :param bytes_sent: over the link.
    :param expected_mbps: what each migration was expected to get of it.
    :param wrong: what a guest has lost, one sentence each.
    """

    at_a_time: int
    plugin: bool
    seconds: float
    bytes_sent: int
    expected_mbps: Sequence[int]
    wrong: Sequence[str]

    @property
    def row(self) -> dict[str, str]:
        """This drain as a row of the table."""
        expected = self.expected_mbps
        return {
            'at a time': str(self.at_a_time),
            'plugin': 'with' if self.plugin else 'without',
            'seconds': f'{self.seconds:.0f}',
            'sent (MB)': f'{self.bytes_sent / 1e6:,.0f}',
            'expected (Mbit/s)': (
                f'{min(expected)} to {max(expected)}' if expected else ''
            ),
        }


def main() -> int:
    """Drain hosts, and print a table.

    :returns: 0; 1 where something failed or a guest has lost something; 2
        where the request was refused and nothing has been changed.
    """
    return command.run(_act)


def _act(words: Sequence[str]) -> int:
    parser = arguments.Parser(prog='python -m tests.lab.drain')
    parser.add_argument(
        'guests',
        nargs='?',
        type=int,
        choices=range(1, 2 * _GUESTS + 1),
        metavar='GUESTS',
        default=_GUESTS,
        help=f'how many leave (default: {_GUESTS})',
    )
    count = parser.parse_args(words).guests
    need = preflight.cloud(count * _MEMORY_MIB)
    preflight.refuse(list(words), lambda _words: need)
    cloud = lab_cloud.Cloud()
    try:
        cloud.up(plugin=False)
        drains = _measure(cloud, count)
    finally:
        cloud.down()
    print(tabulate.tabulate([one.row for one in drains], 'keys', 'rst'))
    wrong = [sentence for one in drains for sentence in one.wrong]
    for sentence in wrong:
        print(sentence)
    return 1 if wrong else 0


def _measure(cloud: lab_cloud.Cloud, count: int) -> list[Drain]:
    """Boot the guests, and have them leave again and again."""
    here, there = room.hosts()
    _configure(cloud, _AT_A_TIME[0], plugin=False)
    images.flavor(cloud.api, _MEMORY_MIB)  # once, not by each
    guests = steps.in_parallel(
        *(functools.partial(_boot, cloud, number) for number in range(count))
    )
    drains = []
    for turn, at_a_time in enumerate(_AT_A_TIME):
        for plugin in (turn % 2 == 1, turn % 2 == 0):
            _configure(cloud, at_a_time, plugin)
            drains.append(_drain(cloud, guests, here, there, at_a_time))
            here, there = there, here
    return drains


def _configure(cloud: lab_cloud.Cloud, at_a_time: int, plugin: bool) -> None:
    for one in cloud.computes:
        one.set_lines('other', _LINES.format(at_a_time=at_a_time))
    cloud.plugin(plugin)


def _boot(cloud: lab_cloud.Cloud, number: int) -> servers.Server:
    server = cloud.boot(
        f'drained-{number}', _MEMORY_MIB, reporting=False, host='host1'
    )
    cloud.guest(server).hold(_HELD_MIB)
    return server


def _drain(
    cloud: lab_cloud.Cloud,
    guests: Sequence[servers.Server],
    here: lab_host.Host,
    there: lab_host.Host,
    at_a_time: int,
) -> Drain:
    """Have all guests use memory, free it, and leave."""
    with steps.step('have all guests use memory and free it'):
        before = {}
        for server in guests:
            cloud.guest(server).fill_dirty(_FREED_MIB)
            before[server.id] = witness.question(cloud.guest(server))
    log = layout.LAB.log / f'{here.name}-nova-compute.log'
    logged_before = len(log.read_text(errors='replace'))
    sent_before, _ = here.link_bytes()
    plugin = cloud.plugins[here.name]
    with steps.step(
        f'drain {here.name}, {at_a_time} at a time,'
        f' {"with" if plugin else "without"} the plugin',
        log,
    ):
        began = time.monotonic()
        started = [
            cloud.begin_migration(server, to=there.name) for server in guests
        ]
        ends = [
            cloud.finish_migration(server, when).status
            for server, when in zip(guests, started, strict=True)
        ]
        seconds = time.monotonic() - began
    sent, _ = here.link_bytes()
    with steps.step('examine all guests'):
        wrong = [
            f'it did not leave: {end}' for end in ends if end != 'completed'
        ]
        for server in guests:
            steps.wait_for(
                functools.partial(_is_whole, cloud, server, before[server.id]),
                f'all memory of {server.name}',
                _RESTORE_SECONDS,
            )
            now = witness.question(cloud.guest(server))
            wrong += witness.changes(before[server.id], now)
            wrong += witness.losses(before[server.id], now)
    lines = log.read_text(errors='replace')[logged_before:]
    return Drain(
        at_a_time,
        plugin,
        seconds,
        sent - sent_before,
        [int(mbps) for mbps in _EXPECTED.findall(lines)],
        wrong,
    )


def _is_whole(
    cloud: lab_cloud.Cloud, server: servers.Server, before: witness.Witness
) -> bool:
    return cloud.guest(server).balloon_kib() >= before.balloon_kib


if __name__ == '__main__':
    raise SystemExit(main())
