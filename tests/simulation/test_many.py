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

"""Several guests leave a host at the same time, and others come to it."""

from collections.abc import Sequence
import dataclasses
from typing import Any

import hypothesis
from hypothesis import strategies

from tests.simulation import cloud as clouds
from tests.simulation.guest import Load
from tests.simulation.model import GIB
from tests.simulation.model import MIB
from tests.simulation.model import Model
from tests.simulation.test_deciding import EXAMPLES
from tests.simulation.test_simulation import SimulationTestCase

FREED = Load(500 * MIB, freed_kib=3 * GIB)
FULL = Load(3900 * MIB)

# In the manual: seconds by how many guests Nova migrates at a time, without
# the plugin and by each mode, and for what share of them the path is idle.
PLAIN = {'min_saving_mib': 1 << 20}
MODES = (PLAIN, {'mode': 'auto'}, {'mode': 'before'}, {'mode': 'during'})
DRAINS = {
    1: ((190, 0.05), (75, 0.62), (81, 0.69), (78, 0.41)),
    2: ((184, 0.02), (51, 0.43), (53, 0.52), (52, 0.31)),
    3: ((183, 0.02), (43, 0.31), (43, 0.42), (43, 0.24)),
    6: ((182, 0.01), (35, 0.15), (35, 0.27), (35, 0.15)),
}


@dataclasses.dataclass
class Drain:
    """The guests of one host, all of which are migrated to the other.

    :ivar guests: each in a cloud of its own; they share path and engine
    :ivar outcomes: how each was migrated, by its UUID
    :ivar seconds: how long it took, once it is over
    """

    guests: Sequence[clouds.Cloud]
    outcomes: dict[str, clouds.Outcome] = dataclasses.field(
        default_factory=dict
    )
    seconds: float = 0.0

    @property
    def sent_kib(self) -> float:
        return sum(one.sent_kib for one in self.outcomes.values())


class ManyTestCase(SimulationTestCase):
    def guests(
        self,
        loads: Sequence[Load],
        model: Model,
        host: str = 'source',
        knows: clouds.Cloud | None = None,
        **kwargs: Any,
    ) -> list[clouds.Cloud]:
        """:returns: guests of 4 GiB on a host, and the path away from it."""
        found: list[clouds.Cloud] = []
        path = clouds.Path()
        for number, load in enumerate(loads):
            found.append(
                clouds.Cloud(
                    self.clock,
                    model,
                    4 * GIB,
                    load,
                    knows=found[0] if found else knows,
                    path=path,
                    uuid=f'guest {number} of {host}',
                    **{'migration_bandwidth_mbps': 0, **kwargs},
                )
            )
            found[-1].guest.host = host
        return found

    def drain(
        self,
        guests: Sequence[clouds.Cloud],
        at_a_time: int,
        every_seconds: float = 0.3,
    ) -> Drain:
        """Migrate guests, as many at a time as Nova would."""
        begun = self.begin_drain(guests, at_a_time, every_seconds)
        return self.end_drain(*begun)

    def begin_drain(
        self,
        guests: Sequence[clouds.Cloud],
        at_a_time: int,
        every_seconds: float = 0.3,
    ) -> tuple[Drain, list[Any]]:
        drain = Drain(guests)
        queue, started_at = iter(guests), self.clock.now()

        def work() -> None:
            for one in queue:
                drain.outcomes[one.uuid] = one.migrate()
            drain.seconds = self.clock.now() - started_at

        workers = [self.clock.thread(work) for _number in range(at_a_time)]
        for number, worker in enumerate(workers):
            self.clock.after(number * every_seconds, worker.start)
        self.clock.wait(at_a_time * every_seconds)
        return drain, workers

    def end_drain(self, drain: Drain, workers: list[Any]) -> Drain:
        for one in workers:
            one.join()
        self.clock.wait(10)
        self.assertEqual([], self.clock.errors)
        for one in drain.guests:
            self.assert_well(one)
            self.assertTrue(drain.outcomes[one.uuid].succeeded)
            self.assertEqual(
                0, one.engines['source'].bandwidths.traffic.beside()
            )
        return drain

    def learnt(self, guests: Sequence[clouds.Cloud], beside: int = 0) -> float:
        """:returns: what one of a host's migrations expects by now."""
        host = 'dest' if guests[0].guest.host == 'source' else 'source'
        return (
            guests[0]
            .engines[host]
            .bandwidths.to(guests[0].guest.host, self.clock.now(), beside)
            .kib_per_second
        )


class ManyTest(ManyTestCase):
    """One path each way, and as many guests as Nova migrates at a time."""

    @hypothesis.settings(max_examples=25, **EXAMPLES)
    @hypothesis.given(
        at_a_time=strategies.integers(1, 10),
        loads=strategies.lists(
            strategies.builds(
                Load,
                used_kib=strategies.integers(1 * GIB, 2 * GIB),
                cold_kib=strategies.integers(0, 1 * GIB),
                freed_kib=strategies.integers(0, 800 * MIB),
            ),
            min_size=3,
            max_size=10,
        ),
        mib_per_second=strategies.sampled_from([60, 119, 600]),
        back=strategies.sampled_from([0.5, 2.0]),
        every_seconds=strategies.sampled_from([0.0, 0.3, 1.7]),
    )
    def test_each_learns_what_its_own_path_carries(
        self,
        at_a_time: int,
        loads: list[Load],
        mib_per_second: int,
        back: float,
        every_seconds: float,
    ) -> None:
        """And nothing of what comes the other way."""
        bandwidth = float(mib_per_second * MIB)
        there = self.guests(loads, Model(bandwidth_kib_per_second=bandwidth))
        here = self.guests(
            loads[:3],
            Model(bandwidth_kib_per_second=back * bandwidth),
            host='dest',
            knows=there[0],
        )
        drains = [
            self.begin_drain(guests, at_a_time, every_seconds)
            for guests in (there, here)
        ]
        for begun in drains:
            self.end_drain(*begun)
        for guests, each in ((there, bandwidth), (here, back * bandwidth)):
            for beside in range(4):
                self.assertAlmostEqual(
                    1.0,
                    self.learnt(guests, beside) * (beside + 1) / each,
                    delta=0.05,
                )

    def test_each_gets_what_it_is_expected_to_get(self) -> None:
        for number in (1, 2, 3, 10):
            guests = self.guests([FULL] * number, Model())
            drain, workers = self.begin_drain(guests, number)
            self.clock.wait(3)
            before = [one.guest.transferred_kib for one in guests]
            self.clock.wait(5)
            traffic = guests[0].engines['source'].bandwidths.traffic
            self.assertEqual(number, traffic.beside())
            expected = (
                guests[0]
                .engines['source']
                .bandwidths.to('dest', self.clock.now(), number - 1)
                .kib_per_second
            )
            for one, kib in zip(guests, before, strict=True):
                self.assertAlmostEqual(
                    1.0,
                    (one.guest.transferred_kib - kib) / 5 / expected,
                    delta=0.05,
                )
            self.end_drain(drain, workers)

    def test_a_drain_takes_what_the_manual_says(self) -> None:
        model = Model()
        for at_a_time, by_mode in DRAINS.items():
            for policy, (seconds, idle) in zip(MODES, by_mode, strict=True):
                guests = self.guests([FREED] * 6, model, policy=policy)
                drain = self.drain(guests, at_a_time)
                busy_seconds = drain.sent_kib / model.bandwidth_kib_per_second
                self.assertAlmostEqual(seconds, drain.seconds, delta=1)
                self.assertAlmostEqual(
                    idle, 1 - busy_seconds / drain.seconds, delta=0.01
                )

    def test_a_drain_of_full_guests_takes_no_longer(self) -> None:
        for at_a_time in (1, 3):
            plain, ours = (
                self.drain(
                    self.guests([FULL] * 6, Model(), policy=policy), at_a_time
                )
                for policy in (PLAIN, {'mode': 'auto'})
            )
            self.assertLessEqual(
                ours.seconds, plain.seconds * 1.03 + 0.15 * 6 / at_a_time
            )

    def test_a_share_of_a_fast_path_pays_where_all_of_it_does_not(
        self,
    ) -> None:
        """At 10 Gb/s; what the first one expects is all of the path."""
        model = Model(bandwidth_kib_per_second=1192.0 * MIB)
        skipped = {}
        for number in (1, 10):
            guests = self.guests(
                [FREED] * number, model, migration_bandwidth_mbps=10_000
            )
            for name in ('one', 'two', 'three'):  # else it would be tried
                guests[0].engines['source'].release_rates.note_trial(
                    name, self.clock.now()
                )
            self.drain(guests, number)
            skipped[number] = sum(len(one.reporter.reasons) for one in guests)
        self.assertEqual(1, skipped[1])
        self.assertLessEqual(skipped[10], 2)
