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

"""Hosts that differ in all that the plugin cannot know.

``python -m tests.simulation.hosts [NUMBER]`` draws so many of them, 100
without one, and prints how far ``auto`` is from the best that could be done.
"""

from collections.abc import Mapping
import dataclasses
import logging
import math
import random
import statistics
import sys
import threading
from typing import Any
from unittest import mock

from nova_freemem.plan import forecast
from nova_freemem.plan import planner
from nova_freemem.plan.bandwidth import KIB_PER_SECOND_PER_MBPS
from tests.simulation import cloud as clouds
from tests.simulation.fake_clock import FakeClock
from tests.simulation.guest import Load
from tests.simulation.model import GIB
from tests.simulation.model import MIB
from tests.simulation.model import Model

# What a transfer takes for each of its connections at most.
CONNECTION_MBPS = 12_000

# Simulated seconds take their time as well.
LONGEST_PLAIN_SECONDS = 600

#: Page cache that a guest drops when it is asked to; measured with emulated
#: guests.
DROP_KIB_PER_SECOND = 1.6 * GIB

#: What else may be done than what ``auto`` decides.
FIXED = ('plain', 'before', 'during')

# ``auto`` knows nothing before the first; from the third on it is to know.
_MIGRATIONS, _BEFORE_IT_KNOWS = 4, 2
# Of the best, what is given away on purpose, and what is forecast wrongly.
_NEAR_SHARE = 1.15


@dataclasses.dataclass(frozen=True)
class Host:
    """What the plugin does not know.

    :ivar path_mbps: what the path carries
    :ivar connections: QEMU's
    :ivar inflate: what a guest releases in a second, KiB
    :ivar reclaim_share: page cache, of that
    :ivar busy_share: during a transfer, of that
    :ivar look: what QEMU looks through in a second, KiB
    :ivar far_end_share: see the model
    :ivar interface_mbps: what the interface says
    """

    path_mbps: float
    connections: int
    inflate: float
    reclaim_share: float
    busy_share: float
    look: float
    far_end_share: float
    interface_mbps: int | None

    def model(
        self, memory_kib: int, longest_seconds: float = math.inf
    ) -> Model:
        """Make the model of a guest of that size here.

        :param longest_seconds: in which the path carries all of its memory,
            whatever it carries otherwise.
        """
        mbps = min(self.path_mbps, self.connections * CONNECTION_MBPS)
        bandwidth = max(
            mbps * KIB_PER_SECOND_PER_MBPS, memory_kib / longest_seconds
        )
        return Model(
            inflate_kib_per_second=self.inflate,
            reclaim_kib_per_second=self.inflate * self.reclaim_share,
            bandwidth_kib_per_second=bandwidth,
            busy_balloon_share=self.busy_share,
            # QEMU looks at what it sends as well.
            look_kib_per_second=max(self.look, bandwidth),
            far_end_share=self.far_end_share,
            step_seconds=min(0.1, max(0.01, memory_kib / bandwidth / 200)),
        )


@dataclasses.dataclass(frozen=True)
class Guest:
    """A guest, by what the host gives it and what it does."""

    memory_kib: int
    load: Load


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What guests have done.

    :ivar about: for people
    :ivar shares: of their memory, by the names of a ``Load``
    :ivar behaviour: what else is different with them
    """

    about: str
    shares: Mapping[str, float]
    behaviour: Mapping[str, Any]

    def guest(self, memory_kib: int) -> Guest:
        """Make one of that size."""
        amounts = {
            name: int(share * memory_kib)
            for name, share in self.shares.items()
        }
        return Guest(memory_kib, Load(**amounts))


def draw(seed: int) -> tuple[Host, Guest]:
    """Draw a host and a guest, the same ones each time."""
    numbers = random.Random(seed)

    def log_uniform(least: float, most: float) -> float:
        return least * (most / least) ** numbers.random()

    host = Host(
        path_mbps=log_uniform(50, 100_000),
        connections=numbers.randint(1, 16),
        inflate=log_uniform(50 * MIB, 30 * GIB),
        reclaim_share=numbers.uniform(0.3, 1.0),
        busy_share=numbers.uniform(0.6, 1.0),
        look=log_uniform(1.4 * GIB, 16 * GIB),
        far_end_share=numbers.uniform(0.2, 0.6),
        interface_mbps=numbers.choice([None, 10, 1000, 10_000, 100_000]),
    )
    memory_kib = int(log_uniform(512 * MIB, 1024 * GIB))
    left_kib = memory_kib - 64 * MIB
    names = ['used_kib', 'hot_kib', 'cold_kib', 'freed_kib', 'fragments_kib']
    numbers.shuffle(names)
    amounts = {}
    for name in names:
        amounts[name] = int(left_kib * numbers.random())
        left_kib -= amounts[name]
    return host, Guest(memory_kib, Load(**amounts))


def migrate(
    host: Host,
    guest: Guest,
    mode: str,
    *,
    longest_seconds: float = LONGEST_PLAIN_SECONDS,
    clock: FakeClock | None = None,
    **behaviour: Any,
) -> tuple[clouds.Cloud, clouds.Outcome]:
    """Migrate a guest once, with nothing configured.

    :param mode: of the plugin, or ``plain``.
    :param longest_seconds: see :meth:`Host.model`.
    :param clock: goes on; without one, no time has passed since the last one.
    :param behaviour: of the guest; and what the cloud knows already.
    """
    clock = clock or FakeClock()
    with mock.patch.object(threading, 'Thread', clock.thread):
        cloud = clouds.Cloud(
            clock,
            host.model(guest.memory_kib, longest_seconds),
            guest.memory_kib,
            guest.load,
            migration_bandwidth_mbps=0,
            interface_mbps=host.interface_mbps,
            policy={'enabled': False} if mode == 'plain' else {'mode': mode},
            **behaviour,
        )
        outcome = cloud.migrate()
        clock.wait(1)
    assert not cloud.reporter.errors, cloud.reporter.errors
    assert not clock.errors, clock.errors
    return cloud, outcome


def migrate_when_known(
    host: Host, guest: Guest, mode: str, **behaviour: Any
) -> tuple[clouds.Cloud, clouds.Outcome]:
    """Migrate guests of a kind, from a host that knows nothing at first.

    :param mode: of the plugin, or ``plain``.
    :param behaviour: of the guests.
    :returns: the first migration of a host that has seen how fast they are.
    """
    cloud = None
    for number in range(_BEFORE_IT_KNOWS + 1):
        cloud, outcome = migrate(
            host,
            guest,
            mode,
            longest_seconds=math.inf,
            uuid=f'guest {number}',
            knows=cloud,
            **behaviour,
        )
    return cloud, outcome


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What ``auto`` comes to on one host.

    :ivar fixed_seconds: what a migration takes, by what else may be done.
    :ivar auto_seconds: what it takes, one migration after the other.
    """

    seed: int
    fixed_seconds: Mapping[str, float]
    auto_seconds: tuple[float, ...]

    @property
    def is_slower_than_plain(self) -> bool:
        """Whether one takes longer than a trial may cost."""
        plain_seconds = self.fixed_seconds['plain']
        return max(self.auto_seconds) > (
            plain_seconds * (1 + planner.MOST_LOSS_SHARE)
            + planner.LEAST_LOSS_SECONDS
        )

    @property
    def best_share(self) -> float:
        """Of the best, what the slowest takes of those that know."""
        return max(self._knowing) / min(self.fixed_seconds.values())

    @property
    def is_far_from_best(self) -> bool:
        """Whether one of those that know might have been much shorter."""
        return max(self._knowing) > (
            min(self.fixed_seconds.values()) * _NEAR_SHARE
            + forecast.LEAST_GAIN_SECONDS
        )

    @property
    def _knowing(self) -> tuple[float, ...]:
        return self.auto_seconds[_BEFORE_IT_KNOWS:]


def compare(seed: int) -> Comparison:
    """Draw a host, and migrate its guest in each way."""
    host, guest = draw(seed)
    knows, seconds = None, []
    for number in range(_MIGRATIONS):
        # Half of them migrate the same guest, half a new one each time.
        uuid = 'guest' if seed % 2 else f'guest {number}'
        knows, ours = migrate(host, guest, 'auto', knows=knows, uuid=uuid)
        seconds.append(ours.seconds)
    return Comparison(
        seed,
        {mode: migrate(host, guest, mode)[1].seconds for mode in FIXED},
        tuple(seconds),
    )


def main() -> None:
    """Compare on as many hosts as the command line says."""
    logging.disable()
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    compared = [compare(seed) for seed in range(number)]
    shares = sorted(one.best_share for one in compared)
    slower = sum(one.is_slower_than_plain for one in compared)
    far = [one.seed for one in compared if one.is_far_from_best]
    print(f'{number} hosts: {slower} are slower than without a release')
    print(f'{len(far)} are far from the best: {far}')
    print(
        f'of the best: {statistics.median(shares):.1%} in the median,'
        f' {shares[int(0.95 * number)]:.1%} in 95 of 100, {shares[-1]:.1%}'
        ' at most'
    )


if __name__ == '__main__':
    main()
