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

"""Taking memory from a guest, under watch."""

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.clock import Order
from nova_freemem.plan import Plan
from nova_freemem.release import balloon
from nova_freemem.release.base import End
from nova_freemem.release.base import Release
from tests.unit import base
from tests.unit import fakes
from tests.unit.fakes import GIB
from tests.unit.fakes import MIB


class BalloonTest(base.GuestTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.orders = clocks.Orders()
        self.plan = Plan(original_kib=4 * GIB, target_kib=1 * GIB,
                         never_touched_kib=512 * MIB,
                         expected_saving_kib=3 * GIB, source='agent')

    def release(self, deadline_seconds: float = 120) -> Release:
        return balloon.Balloon().release(
            self.domain, self.plan, self.orders, self.clock,
            clocks.Deadline(self.clock, deadline_seconds))

    def assert_nothing_moves(self) -> None:
        self.guest.look()
        actual_kib = self.guest.actual_kib
        self.clock.wait(3600)
        self.guest.look()
        self.assertEqual(actual_kib, self.guest.actual_kib)

    def test_all_of_it_is_taken(self) -> None:
        release = self.release()
        self.assertEqual(End.TARGET_REACHED, release.end)
        self.assertEqual(3 * GIB, release.taken_kib)
        self.assertEqual(3 * GIB, release.gained_kib)
        self.assertEqual(self.guest.rss_kib, release.rss_kib)
        self.assertAlmostEqual(3072 / 400, release.seconds,
                               delta=balloon.TICK_SECONDS)
        self.assertEqual([(1 * GIB,)], self.domain.called('set_balloon_kib'))
        self.assert_nothing_moves()

    def test_a_guest_that_stops_half_way_keeps_what_it_did_not_give(self
                                                                    ) -> None:
        self.guest.gives_down_to_kib = 2 * GIB
        release = self.release()
        self.assertEqual(End.NO_PROGRESS, release.end)
        self.assertEqual(2 * GIB, release.taken_kib)
        self.assertEqual(2 * GIB, self.guest.target_kib)
        self.guest.gives_down_to_kib = 0
        self.assert_nothing_moves()

    def test_at_the_deadline_the_balloon_stops_where_it_is(self) -> None:
        started_at = self.clock.now()
        release = self.release(deadline_seconds=2)
        self.assertEqual(End.DEADLINE, release.end)
        self.assertAlmostEqual(2, self.clock.now() - started_at,
                               delta=balloon.TICK_SECONDS)
        self.assertEqual(release.taken_kib, 4 * GIB - self.guest.actual_kib)
        self.assert_nothing_moves()

    def test_an_abort_ends_it_at_once(self) -> None:
        started_at = self.clock.now()
        self.clock.after(1.05, lambda: self.orders.give(Order.ABORT))
        self.assertEqual(End.ABORTED, self.release().end)
        self.assertAlmostEqual(1.05, self.clock.now() - started_at)

    def test_force_complete_keeps_what_was_given(self) -> None:
        self.clock.after(1.05, lambda: self.orders.give(Order.FORCE_COMPLETE))
        release = self.release()
        self.assertEqual(End.FORCE_COMPLETE, release.end)
        self.assertAlmostEqual(420 * MIB, release.taken_kib, delta=1)
        self.assert_nothing_moves()

    def test_a_host_that_gains_nothing_is_noticed(self) -> None:
        self.guest.discards = False
        release = self.release()
        self.assertEqual(End.NOTHING_GAINED, release.end)
        self.assertEqual(0, release.gained_kib)

    def test_never_touched_memory_first_is_a_success_all_the_same(self
                                                                  ) -> None:
        self.guest.touched_first = False
        release = self.release()
        self.assertEqual(End.TARGET_REACHED, release.end)
        self.assertEqual(3 * GIB, release.taken_kib)
        self.assertEqual(2 * GIB + 512 * MIB, release.gained_kib)

    def test_a_target_set_below_ours_is_somebody_elses(self) -> None:
        self.guest.used_kib = 0
        self.clock.after(1, lambda: setattr(self.guest, 'target_kib', 1))
        self.guest.inflate_kib_per_second = 8 * GIB
        self.plan = Plan(4 * GIB, 1 * GIB, 0, 3 * GIB, 'agent')
        self.guest.gives_down_to_kib = 2 * GIB
        self.clock.after(1.1, lambda: setattr(self.guest,
                                              'gives_down_to_kib', 0))
        self.assertEqual(End.NOT_OURS, self.release().end)

    def test_a_target_set_above_ours_is_not_fought_over(self) -> None:
        self.clock.after(1, lambda: setattr(self.guest, 'target_kib',
                                            4 * GIB))
        self.assertEqual(End.NO_PROGRESS, self.release().end)
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_a_host_that_stops_telling_is_a_fault(self) -> None:
        self.clock.after(1, lambda: self.guest.tells.update(rss_kib=None))
        self.assertRaises(exceptions.NoAnswer, self.release)

    def test_a_domain_that_goes_away_is_a_fault(self) -> None:
        self.clock.after(1, lambda: setattr(self.guest, 'host', 'elsewhere'))
        self.assertRaises(exceptions.DomainGone, self.release)

    def test_nothing_is_taken_where_the_guest_cannot_be_looked_at(self
                                                                  ) -> None:
        self.domain.fault_at[1] = fakes.libvirt_fault(
            exceptions.LibvirtFault, 'no')
        self.assertRaises(exceptions.LibvirtFault, self.release)
        self.assertEqual([], self.domain.called('set_balloon_kib'))
