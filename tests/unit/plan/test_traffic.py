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

"""What several migrations from a host send at the same time."""

import hypothesis
from hypothesis import strategies

from nova_freemem.plan import traffic
from tests import base
from tests.simulation.fakes import MIB


class TrafficTest(base.TestCase):
    """Two migrations: ours, and another."""

    def setUp(self) -> None:
        super().setUp()
        self.traffic = traffic.Traffic()
        self.ours, self.other = traffic.Sender(), traffic.Sender()
        for one in (self.ours, self.other):
            self.traffic.add(one, 0.0)

    def beside(self, from_seconds: float, to_seconds: float) -> float | None:
        return self.traffic.sent_beside_kib(
            self.ours, from_seconds, to_seconds
        )

    def test_those_that_have_not_ended_are_counted(self) -> None:
        self.assertEqual(2, self.traffic.beside())
        self.assertEqual(1, self.traffic.beside(self.ours))
        self.other.end(1.0)
        self.assertEqual(0, self.traffic.beside(self.ours))

    def test_one_that_has_not_begun_has_sent_nothing(self) -> None:
        self.assertEqual(0.0, self.beside(0.0, 1.0))
        self.other.read(2.0, None)
        self.assertEqual(0.0, self.beside(0.0, 1.0))
        self.other.read(3.0, 50.0)
        self.assertEqual(0.0, self.beside(0.0, 2.0))
        self.assertEqual(25.0, self.beside(1.0, 2.5))

    def test_between_two_readings_it_sends_evenly(self) -> None:
        self.other.read(1.0, 0.0)
        self.other.read(2.0, 100.0)
        self.other.read(4.0, 140.0)
        for since, until, kib in (
            (1.0, 2.0, 100.0),
            (1.5, 1.75, 25.0),
            (1.5, 3.0, 70.0),
            (2.0, 4.0, 40.0),
            (0.0, 4.0, 140.0),
        ):
            self.assertEqual(kib, self.beside(since, until))

    def test_what_has_not_been_read_yet_is_not_known(self) -> None:
        self.other.read(1.0, 0.0)
        self.other.read(2.0, 100.0)
        self.assertIsNone(self.beside(1.5, 2.1))

    def test_how_much_one_sent_as_it_ended_is_not_known(self) -> None:
        self.other.read(1.0, 0.0)
        self.other.read(2.0, 100.0)
        self.other.end(2.5)
        self.other.end(3.5)
        self.assertEqual(100.0, self.beside(1.0, 2.0))
        self.assertIsNone(self.beside(2.0, 2.6))
        self.assertEqual(0.0, self.beside(2.5, 3.0))

    def test_figures_that_fall_are_none(self) -> None:
        self.other.read(1.0, 100.0)
        self.other.read(2.0, 50.0)
        self.other.read(3.0, None)
        self.assertEqual(0.0, self.beside(1.0, 3.0))

    def test_two_readings_of_one_moment_do_no_harm(self) -> None:
        for kib in (0.0, 10.0, 20.0):
            self.other.read(1.0, kib)
        self.other.read(2.0, 40.0)
        self.assertLessEqual(self.beside(1.0, 2.0), 40.0)

    def test_one_that_ended_long_ago_is_forgotten(self) -> None:
        self.other.end(1.0)
        self.traffic.add(traffic.Sender(), traffic.KEPT_SECONDS)
        self.assertEqual(3, len(self.traffic._senders))
        self.traffic.add(traffic.Sender(), 1.0 + traffic.KEPT_SECONDS)
        self.assertEqual(3, len(self.traffic._senders))
        self.assertNotIn(self.other, self.traffic._senders)

    def test_no_more_is_kept_of_one_than_is_asked_for(self) -> None:
        for number in range(3 * traffic.MOST_READINGS):
            self.other.read(float(number), float(number))
        self.assertEqual(traffic.MOST_READINGS, len(self.other._readings))
        self.assertEqual(50.0, self.beside(240.0, 290.0))

    @hypothesis.given(
        rates=strategies.lists(
            strategies.floats(0, 1000 * MIB), min_size=2, max_size=8
        ),
        every=strategies.lists(
            strategies.floats(0.05, 1.0), min_size=8, max_size=8
        ),
        since=strategies.floats(0, 5),
        seconds=strategies.floats(0.1, 5),
    )
    def test_however_often_each_is_read_the_sum_is_right(
        self,
        rates: list[float],
        every: list[float],
        since: float,
        seconds: float,
    ) -> None:
        known = traffic.Traffic()
        for rate, period in zip(rates, every, strict=False):
            sender = traffic.Sender()
            known.add(sender, 0.0)
            for number in range(traffic.MOST_READINGS):
                at_seconds = number * period
                sender.read(at_seconds, rate * at_seconds)
                if at_seconds > since + seconds:
                    break
            else:
                hypothesis.reject()
        ours = traffic.Sender()
        known.add(ours, 0.0)
        self.assertAlmostEqual(
            sum(rates) * seconds,
            known.sent_beside_kib(ours, since, since + seconds),
            delta=1e-6 * sum(rates) + 1e-3,
        )
