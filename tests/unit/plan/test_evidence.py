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

"""What several guests showed, and what that says of the next one."""

import hypothesis
from hypothesis import strategies

from nova_freemem.plan import evidence as evidences
from tests import base

GUESS = 650.0
DAY_SECONDS = 24 * 3600.0

figures = strategies.floats(1e-6, 1e12)


class EvidenceTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.evidence = evidences.Evidence(GUESS)

    def add(self, *values: float, at_seconds: float = 0.0) -> None:
        """Have a guest of its own show each of these."""
        for number, value in enumerate(values):
            self.evidence.add(f'guest {number}', value, at_seconds)

    def expected(self, guest: str = 'new', at_seconds: float = 0.0) -> float:
        return self.evidence.expected(guest, at_seconds)

    def test_what_nobody_has_shown_is_guessed(self) -> None:
        self.assertEqual(GUESS, self.expected())

    def test_of_itself_a_guest_is_believed_at_once(self) -> None:
        self.add(300.0)
        self.assertEqual(300.0, self.expected('guest 0'))
        self.evidence.add('guest 0', 400.0, 1.0)
        self.assertEqual(400.0, self.expected('guest 0', 1.0))

    def test_one_guest_changes_nothing_for_others(self) -> None:
        self.add(1.0)
        self.assertEqual(GUESS, self.expected())

    def test_one_guest_that_comes_again_and_again_is_still_one(self) -> None:
        for second in range(100):
            self.evidence.add('guest', 1.0, float(second))
        self.assertEqual(GUESS, self.expected(at_seconds=100.0))

    def test_what_two_guests_agree_on_is_believed(self) -> None:
        self.add(2000.0, 2100.0)
        self.assertEqual(2000.0, self.expected())

    def test_one_of_several_that_is_starved_changes_little(self) -> None:
        self.add(2000.0, 2100.0, 2200.0, 1.0)
        self.assertEqual(2000.0, self.expected())

    def test_nothing_is_learnt_that_is_far_from_the_guess(self) -> None:
        self.add(1e-9, 1e-9, 1e-9)
        self.assertEqual(GUESS * evidences.LEAST_SHARE, self.expected())
        self.add(1e12, 1e12, 1e12)
        self.assertEqual(GUESS * evidences.MOST_TIMES, self.expected())

    def test_what_was_learnt_ages_back_to_the_guess(self) -> None:
        self.add(4 * GUESS, 4 * GUESS)
        self.assertAlmostEqual(
            2 * GUESS,
            self.expected(at_seconds=evidences.HALF_LIFE_SECONDS),
        )
        self.assertAlmostEqual(
            2 * GUESS,
            self.expected('guest 0', evidences.HALF_LIFE_SECONDS),
        )
        for value in (100 * GUESS, GUESS / 100):
            self.add(value, value)
            self.assertAlmostEqual(
                GUESS,
                self.expected(at_seconds=2 * DAY_SECONDS),
                delta=0.05 * GUESS,
            )

    def test_the_guest_seen_longest_ago_makes_room(self) -> None:
        for number in range(evidences.MOST_GUESTS + 1):
            self.evidence.add(str(number), 100.0, 0.0)
        self.evidence.add('1', 200.0, 0.0)
        self.evidence.add('new', 200.0, 0.0)
        self.assertEqual(evidences.MOST_GUESTS, len(self.evidence._guests))
        self.assertNotIn('0', self.evidence._guests)
        self.assertNotIn('2', self.evidence._guests)
        self.assertIn('1', self.evidence._guests)

    @hypothesis.given(
        honest=strategies.floats(GUESS / 4, GUESS * 32),
        hostile=figures,
        number=strategies.integers(2, 20),
    )
    def test_a_hostile_guest_does_not_decide_for_others(
        self, honest: float, hostile: float, number: int
    ) -> None:
        self.evidence = evidences.Evidence(GUESS)
        self.add(*[honest] * number, hostile)
        self.assertLessEqual(min(honest, GUESS) * 0.999, self.expected())
        self.assertLessEqual(self.expected(), max(honest, GUESS) * 1.001)

    @hypothesis.given(
        shown=strategies.lists(
            strategies.tuples(figures, strategies.floats(0, 1e6)), max_size=9
        ),
        at_seconds=strategies.floats(0, 1e9),
    )
    def test_it_is_always_within_its_bounds(
        self, shown: list[tuple[float, float]], at_seconds: float
    ) -> None:
        evidence = evidences.Evidence(GUESS)
        for number, (value, seconds) in enumerate(shown):
            evidence.add(str(number % 5), value, seconds)
        for guest in ('0', 'new'):
            expected = evidence.expected(guest, at_seconds)
            self.assertGreaterEqual(
                expected, GUESS * evidences.LEAST_SHARE * 0.999
            )
            self.assertLessEqual(
                expected, GUESS * evidences.MOST_TIMES * 1.001
            )
