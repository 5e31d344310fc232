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

"""How much a migration is foretold to send, with a release and without."""

from hypothesis import given
from hypothesis import strategies as st

from nova_freemem.plan import forecast
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.bandwidth import Origin
from nova_freemem.plan.eligibility import QEMU_OWN_KIB
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.release_rate import FIRST_GUESS
from tests import base
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class SentTest(base.TestCase):
    def foretold(
        self,
        free_kib: int,
        cache_kib: int,
        nonresident_kib: int,
        mbps: int,
        deadline_seconds: float = 3600.0,
    ) -> tuple[Eligible, forecast.Releasable, tuple[forecast.Forecast, ...]]:
        """:returns: a guest of 4 GiB, and how it may be migrated."""
        guest = Eligible(4 * GIB, 4 * GIB - nonresident_kib + QEMU_OWN_KIB)
        first_kib = min(free_kib, nonresident_kib)
        releasable = forecast.Releasable(
            128 * MIB,
            free_kib,
            cache_kib,
            first_kib,
            first_kib,
            min(guest.resident_kib, free_kib + cache_kib - first_kib),
        )
        bandwidth = Bandwidth.of_mbps(mbps, Origin.CONFIGURED)
        return (
            guest,
            releasable,
            (
                forecast.before_transfer(
                    guest,
                    releasable,
                    bandwidth,
                    FIRST_GUESS,
                    deadline_seconds,
                ),
                forecast.during_transfer(
                    guest, releasable, bandwidth, FIRST_GUESS
                ),
                forecast.at_best(guest, releasable, bandwidth),
                forecast.plain(guest, bandwidth),
            ),
        )

    @given(
        free_kib=st.integers(0, 3 * GIB),
        cache_kib=st.integers(0, 1 * GIB),
        nonresident_kib=st.integers(0, 4 * GIB),
        mbps=st.integers(10, 100_000),
        deadline_seconds=st.floats(2.0, 3600.0),
    )
    def test_no_more_than_plain_and_no_less_than_what_is_kept(
        self,
        free_kib: int,
        cache_kib: int,
        nonresident_kib: int,
        mbps: int,
        deadline_seconds: float,
    ) -> None:
        guest, releasable, ways = self.foretold(
            free_kib, cache_kib, nonresident_kib, mbps, deadline_seconds
        )
        for one in ways:
            self.assertLessEqual(one.sent_kib, guest.resident_kib)
            self.assertGreaterEqual(
                one.sent_kib, guest.resident_kib - releasable.saving_kib - 1
            )

    def test_a_transfer_that_waits_sends_least(self) -> None:
        _guest, _releasable, (before, during, best, plain) = self.foretold(
            3 * GIB, 0, 0, 1000
        )
        self.assertEqual(best.sent_kib, before.sent_kib)
        self.assertLess(before.sent_kib, during.sent_kib)
        self.assertLess(during.sent_kib, plain.sent_kib / 2)

    def test_what_is_not_released_by_the_deadline_is_sent(self) -> None:
        _guest, _releasable, (late, *_others) = self.foretold(
            3 * GIB, 0, 0, 1000, deadline_seconds=2.0
        )
        _guest, _releasable, (in_time, *_others) = self.foretold(
            3 * GIB, 0, 0, 1000
        )
        self.assertLess(in_time.sent_kib, late.sent_kib)


class OrderTest(base.TestCase):
    """Of 3 GiB that are free, the host does not hold one."""

    def seconds(self, ahead_kib: int, cache_kib: int) -> tuple[float, float]:
        """:returns: of a transfer that waits, and of one that does not"""
        guest = Eligible(4 * GIB, 3 * GIB + QEMU_OWN_KIB)
        releasable = forecast.Releasable(
            128 * MIB,
            3 * GIB,
            cache_kib,
            1 * GIB,
            ahead_kib,
            2 * GIB + cache_kib,
        )
        bandwidth = Bandwidth.of_mbps(2000, Origin.CONFIGURED)
        return (
            forecast.before_transfer(
                guest, releasable, bandwidth, FIRST_GUESS, 3600.0
            ).released_seconds,
            forecast.during_transfer(
                guest, releasable, bandwidth, FIRST_GUESS
            ).released_seconds,
        )

    def test_what_saves_nothing_costs_nothing_where_it_comes_last(
        self,
    ) -> None:
        first, last = self.seconds(1 * GIB, 0), self.seconds(0, 0)
        gib_seconds = 1 * GIB / FIRST_GUESS.inflate_kib_per_second
        self.assertAlmostEqual(gib_seconds, first[0] - last[0])
        self.assertLess(last[1], first[1])

    def test_page_cache_comes_after_all_that_is_free(self) -> None:
        cache_kib = 512 * MIB
        first = self.seconds(1 * GIB, cache_kib)
        last = self.seconds(0, cache_kib)
        self.assertAlmostEqual(first[0], last[0])
        self.assertLess(last[1], first[1])
