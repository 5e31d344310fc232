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


"""The balloon's statistics, through libvirt to the second source."""

from collections.abc import Callable
import json
from typing import Any

from nova_freemem import clock as clocks
from nova_freemem.acquire import balloon_stats
from nova_freemem.virt import guest as guests
from tests.fuzz import choices as fuzz_choices
from tests.fuzz import handle
from tests.fuzz import oracle
from tests.fuzz.targets import tables
from tests.simulation import fakes

MODULES = (
    'nova_freemem.acquire.balloon_stats',
    'nova_freemem.virt.memory_stats',
    'nova_freemem.virt.guest',
)

NAMES = (
    'actual',
    'rss',
    'available',
    'unused',
    'usable',
    'disk_caches',
    'swap_out',
    'minor_fault',
    'last_update',
)


def seeds() -> list[bytes]:
    """:returns: statistics that are fresh, late and never fresh."""
    return [b'\0\x01\x00', b'\x01' * 40, b'\xff\0\x10\x04' * 12]


def run(data: bytes) -> None:
    """Read such statistics of a balloon.

    :param data: see choices.py.
    """
    choices = fuzz_choices.Choices(data)
    source = balloon_stats.BalloonStats('balloon_stats', 5)
    with handle.fake_time() as clock, handle.reached_by_libvirt():
        guest = handle.Handle(clock)
        guest.statistics = answers(choices, clock)
        guest.balloon = lambda: json.dumps(
            {'return': {'stats': {'stat-oom-kills': choices.amount()}}}
        )
        kills = guests.Guest(guest).oom_kills()
        assert kills is None or 0 <= kills < 1 << 63, f'{kills} kills'
        started_at = clock.now()
        with oracle.only_own_errors():
            tables.check(
                source.acquire(
                    guests.Guest(guest), clock, clocks.Deadline(clock, 60)
                )
            )
    seconds = clock.now() - started_at
    assert seconds <= 2 * guests.FRESH_STATS_SECONDS + 0.01, f'{seconds} s'


def answers(
    choices: fuzz_choices.Choices, clock: fakes.FakeClock
) -> Callable[[], dict[str, Any]]:
    """:returns: what ``memoryStats`` answers, each time something else."""

    def statistics() -> dict[str, Any]:
        present = choices.number(511)
        stats = {
            name: choices.value()
            for index, name in enumerate(NAMES)
            if present >> index & 1
        }
        if choices.number(1):
            stats |= {
                'actual': 4 * fakes.GIB,
                'last_update': int(clock.wall()),
            }
        return stats

    return statistics
