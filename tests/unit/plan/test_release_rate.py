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

"""How fast guests of a host give up memory, as releases teach it."""

from nova_freemem.plan import release_rate as release_rates
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

GUESS = release_rates.ReleaseRate()


class ReleaseRatesTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.rates = release_rates.ReleaseRates()

    def learn(self, free_kib: float, cache_kib: float, seconds: float) -> None:
        self.rates.learn('guest', free_kib, cache_kib, seconds, 0.0)

    def rate(self, guest: str = 'guest') -> release_rates.ReleaseRate:
        return self.rates.of(guest, 0.0)

    def test_free_memory_and_cache_are_released_one_after_the_other(
        self,
    ) -> None:
        rate = release_rates.ReleaseRate(200.0, 100.0)
        self.assertEqual(8.0, rate.seconds(1000.0, 300.0))

    def test_until_a_release_was_seen_it_is_guessed(self) -> None:
        self.assertEqual(GUESS, self.rate())

    def test_a_release_of_free_memory_teaches_its_rate(self) -> None:
        self.learn(2 * GIB, 0, 2.0)
        self.assertEqual(1 * GIB, self.rate().inflate_kib_per_second)

    def test_a_faster_guest_is_expected_to_give_up_page_cache_faster(
        self,
    ) -> None:
        self.learn(2 * GIB, 0, 2.0)
        self.assertAlmostEqual(
            GUESS.reclaim_kib_per_second
            * (1 * GIB / GUESS.inflate_kib_per_second),
            self.rate().reclaim_kib_per_second,
        )

    def test_what_it_took_longer_than_free_memory_was_cache(self) -> None:
        free_seconds = 1 * GIB / GUESS.inflate_kib_per_second
        self.learn(1 * GIB, 1 * GIB, free_seconds + 4)
        self.assertAlmostEqual(
            256 * MIB, self.rate().reclaim_kib_per_second, delta=1
        )
        self.assertEqual(
            GUESS.inflate_kib_per_second, self.rate().inflate_kib_per_second
        )

    def test_a_guest_much_faster_than_guessed_is_learnt_from_a_mixture(
        self,
    ) -> None:
        self.learn(10 * GIB, 1 * GIB, 1.0)
        self.assertEqual(11 * GIB, self.rate().inflate_kib_per_second)
        self.assertEqual(11 * GIB, self.rate().reclaim_kib_per_second)

    def test_a_release_within_a_moment_was_at_least_so_fast(self) -> None:
        self.learn(2 * GIB, 0, 0.2)
        self.assertAlmostEqual(
            10 * GIB, self.rate().inflate_kib_per_second, delta=1
        )
        self.learn(128 * MIB, 0, 0.4)
        self.assertAlmostEqual(
            10 * GIB, self.rate().inflate_kib_per_second, delta=1
        )

    def test_a_small_release_teaches_nothing(self) -> None:
        self.learn(100 * MIB, 0, 10.0)
        self.learn(2 * GIB, 0, 0.0)
        self.assertEqual(GUESS, self.rate())

    def test_a_slow_guest_is_expected_to_be_slow_and_others_are_not(
        self,
    ) -> None:
        self.learn(200 * MIB, 0, 2.0)
        self.assertEqual(100 * MIB, self.rate().inflate_kib_per_second)
        self.assertEqual(GUESS, self.rate('another'))

    def test_how_much_slower_it_is_during_a_transfer_is_learnt(self) -> None:
        self.learn(1 * GIB, 0, 1.0)
        self.rates.learn_during('guest', 1 * GIB, 0, 2.0, 0.0)
        self.assertAlmostEqual(0.5, self.rate().busy_share)
        self.assertEqual(1 * GIB, self.rate().inflate_kib_per_second)

    def test_how_fast_a_new_guest_is_is_learnt_during_a_transfer_too(
        self,
    ) -> None:
        self.rates.learn_during('guest', 1 * GIB, 0, 10.0, 0.0)
        self.assertAlmostEqual(
            0.1 * GIB / GUESS.busy_share,
            self.rate().inflate_kib_per_second,
            delta=1,
        )
        self.assertEqual(GUESS.busy_share, self.rate().busy_share)

    def test_a_guest_faster_during_a_transfer_than_was_known_is_faster(
        self,
    ) -> None:
        self.learn(3 * GIB, 0, 3 * GIB / GUESS.inflate_kib_per_second)
        seconds = self.rate().seconds(3 * GIB, 2 * GIB)
        self.rates.learn_during('guest', 3 * GIB, 2 * GIB, seconds / 4, 0.0)
        self.assertAlmostEqual(
            4 * GUESS.inflate_kib_per_second,
            self.rate().inflate_kib_per_second,
        )
        self.assertAlmostEqual(
            4 * GUESS.reclaim_kib_per_second,
            self.rate().reclaim_kib_per_second,
        )
        self.assertEqual(GUESS.busy_share, self.rate().busy_share)

    def test_a_small_release_during_a_transfer_teaches_nothing(self) -> None:
        self.rates.learn_during('guest', 100 * MIB, 0, 10.0, 0.0)
        self.rates.learn_during('guest', 1 * GIB, 0, 0.0, 0.0)
        self.assertEqual(GUESS, self.rate())

    def test_one_within_a_moment_was_at_least_so_fast(self) -> None:
        self.rates.learn_during('guest', 1 * GIB, 0, 0.25, 0.0)
        self.assertAlmostEqual(
            4 * GIB, self.rate().inflate_kib_per_second, delta=1
        )
        self.rates.learn_during('guest', 128 * MIB, 0, 0.4, 0.0)
        self.assertAlmostEqual(
            4 * GIB, self.rate().inflate_kib_per_second, delta=1
        )

    def test_a_rate_is_fresh_where_the_guest_or_several_others_showed_it(
        self,
    ) -> None:
        self.assertFalse(self.rate().is_fresh)
        self.learn(10 * MIB, 0, 10.0)
        self.assertTrue(self.rate().is_fresh)
        self.assertFalse(self.rate('new').is_fresh)
        for number in range(release_rates.FRESH_GUESTS - 1):
            self.rates.note_trial(f'guest {number}', 1.0)
        self.assertTrue(self.rate('new').is_fresh)
        later = release_rates.FRESH_SECONDS
        self.assertFalse(self.rates.of('new', later).is_fresh)
        self.assertFalse(self.rates.of('guest', later).is_fresh)
        self.rates.note_trial('another', later + 1)
        self.assertEqual(1, len(self.rates._tried_at_seconds))

    def test_how_fast_qemu_looks_is_learnt(self) -> None:
        self.rates.learn_look(12 * GIB, 0.0)
        self.assertEqual(12 * GIB, self.rate('new').look_kib_per_second)


class OrderTest(base.TestCase):
    """Which of its free memory a guest gives up first."""

    def setUp(self) -> None:
        super().setUp()
        self.rates = release_rates.ReleaseRates()

    def share(self, guest: str = 'guest') -> float:
        return self.rates.of(guest, 0.0).nonresident_share

    def learn(self, *figures_kib: float, guest: str = 'guest') -> None:
        self.rates.learn_order(guest, *figures_kib, 0.0)

    def test_until_it_was_seen_what_saves_nothing_comes_first(self) -> None:
        self.assertEqual(1.0, self.share())

    def test_a_guest_shows_it_as_its_resident_size_falls(self) -> None:
        for released_mib, fall_mib, free_mib, nonresident_mib, share in (
            (1024, 1024, 4096, 2048, 0.0),
            (1024, 0, 4096, 2048, 1.0),
            (1024, 256, 4096, 2048, 0.75),
            (2048, 1792, 4096, 512, 0.5),
            # It has freed, or used, more meanwhile.
            (1024, 1500, 4096, 2048, 0.0),
            (1024, -300, 4096, 2048, 1.0),
            # Of 3 GiB that are not, 2 must have been among so much.
            (3072, 1024, 4096, 3072, 0.0),
            (3072, 0, 4096, 3072, 1.0),
            (3072, 512, 4096, 3072, 0.5),
            # Most of what is not is not free.
            (1024, 512, 4096, 9000, 0.5),
        ):
            self.learn(
                released_mib * MIB,
                fall_mib * MIB,
                free_mib * MIB,
                nonresident_mib * MIB,
            )
            self.assertEqual(share, self.share())

    def test_a_little_tells_nothing(self) -> None:
        self.learn(2 * GIB, 2 * GIB, 4 * GIB, 127 * MIB)
        self.learn(127 * MIB, 127 * MIB, 4 * GIB, 2 * GIB)
        self.assertEqual(1.0, self.share())

    def test_nor_does_a_guest_that_gives_up_all(self) -> None:
        self.learn(2 * GIB, 1 * GIB, 2 * GIB + 127 * MIB, 1 * GIB)
        self.assertEqual(1.0, self.share())

    def test_one_guest_does_not_speak_for_others(self) -> None:
        self.learn(1 * GIB, 1 * GIB, 4 * GIB, 2 * GIB)
        self.assertEqual(1.0, self.share('another'))
        self.learn(1 * GIB, 1 * GIB, 4 * GIB, 2 * GIB, guest='a second one')
        self.assertEqual(0.0, self.share('another'))
