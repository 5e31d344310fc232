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

"""Giving memory back, and seeing that it arrives."""

import dataclasses
import datetime

from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class AssignTest(base.GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        journal.write(
            self.domain,
            journal.JournalEntry(
                4 * GIB,
                'host1',
                datetime.datetime.now(datetime.UTC),
                'uuid',
                10,
            ),
        )
        self.guest.stats_period_seconds = 1
        self.guest.definition_stats_period_seconds = 1
        self.guest.actual_kib = self.guest.target_kib = 1 * GIB
        self.guest.definition_kib = 1 * GIB
        self.domain.calls.clear()

    def test_a_guest_that_is_owed_nothing_is_left_alone(self) -> None:
        self.guest.metadata = None
        self.assertIsNone(restorations.begin(self.domain, self.clock))
        self.assertEqual([('read_metadata',)], self.domain.calls)

    def test_it_is_promised_live_and_in_the_definition_at_once(self) -> None:
        started_at = self.clock.now()
        restorations.begin(self.domain, self.clock)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.assertEqual(started_at, self.clock.now())

    def test_it_arrives_and_the_debt_is_gone(self) -> None:
        assigned = restorations.begin(self.domain, self.clock).watch(10)
        self.assertEqual(4 * GIB, assigned.after_kib)
        self.assertEqual(1 * GIB, assigned.before_kib)
        self.assertTrue(assigned.complete)
        self.assertAlmostEqual(
            3072 / 1200, assigned.seconds, delta=restorations.POLL_SECONDS
        )
        self.assertIsNone(self.guest.metadata)

    def test_statistics_come_as_seldom_as_before(self) -> None:
        restorations.begin(self.domain, self.clock).watch(10)
        self.assertEqual(10, self.guest.stats_period_seconds)
        self.assertEqual(10, self.guest.definition_stats_period_seconds)

    def test_the_debt_stands_until_that_is_so_again(self) -> None:
        assignment = restorations.begin(self.domain, self.clock)
        self.clock.wait(60)
        self.domain.fault_at[len(self.domain.calls) + 2] = fakes.libvirt_fault(
            exceptions.DomainBusy, 'busy'
        )
        self.assertRaises(exceptions.DomainBusy, assignment.watch, 10)
        self.assertIsNotNone(self.guest.metadata)

    def test_a_debt_that_somebody_else_settled_is_settled(self) -> None:
        assignment = restorations.begin(self.domain, self.clock)
        self.clock.after(1, lambda: setattr(self.guest, 'metadata', None))
        self.assertIsNone(assignment.watch(60))
        self.assertEqual([], self.domain.called('erase_metadata'))

    def test_a_newer_debt_is_not_taken_for_the_old_one(self) -> None:
        assignment = restorations.begin(self.domain, self.clock)
        self.clock.wait(60)
        for entry in (
            '<outstanding format="2"/>',
            dataclasses.replace(
                assignment.entry, migration='another'
            ).to_xml(),
        ):
            self.guest.metadata = entry
            self.assertFalse(assignment.is_current())
            self.assertIsNone(assignment.check())
            self.assertEqual(entry, self.guest.metadata)

    def test_the_debt_stands_until_the_last_kibibyte_is_back(self) -> None:
        self.guest.takes_up_to_kib = 4 * GIB - 1
        assigned = restorations.begin(self.domain, self.clock).watch(10)
        self.assertFalse(assigned.complete)
        self.assertEqual(4 * GIB - 1, assigned.after_kib)
        self.assertIsNotNone(self.guest.metadata)
        self.assertEqual([], self.domain.called('erase_metadata'))

    def test_a_slow_guest_is_watched_no_longer_than_asked_for(self) -> None:
        self.guest.deflate_kib_per_second = 1 * MIB
        assigned = restorations.begin(self.domain, self.clock).watch(10)
        self.assertFalse(assigned.complete)
        self.assertAlmostEqual(
            10, assigned.seconds, delta=restorations.POLL_SECONDS
        )

    def test_a_late_guest_can_be_watched_again(self) -> None:
        self.guest.deflate_kib_per_second = 100 * MIB
        assignment = restorations.begin(self.domain, self.clock)
        self.assertFalse(assignment.watch(10).complete)
        assigned = assignment.watch(3600)
        self.assertTrue(assigned.complete)
        self.assertEqual(1 * GIB, assigned.before_kib)
        self.assertAlmostEqual(
            30.72, assigned.seconds, delta=restorations.POLL_SECONDS
        )
        self.assertIsNone(self.guest.metadata)

    def test_a_promise_that_got_lost_is_renewed(self) -> None:
        assignment = restorations.begin(self.domain, self.clock)
        self.guest.target_kib = 1 * GIB
        self.assertTrue(assignment.watch(60).complete)
        whole_kib, less_kib = 4 * GIB, 4 * GIB - restorations.NUDGE_KIB
        self.assertEqual(
            [whole_kib, less_kib, whole_kib],
            [call[0] for call in self.domain.called('set_balloon_kib')],
        )

    def test_a_guest_that_was_started_anew_is_brought_to_tell(self) -> None:
        assignment = restorations.begin(self.domain, self.clock)
        self.guest.start_anew()
        self.assertFalse(assignment.watch(1).complete)
        assigned = assignment.watch(10)
        self.assertTrue(assigned.complete)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.assertIsNone(self.guest.metadata)

    def test_the_debt_stands_until_libvirts_description_says_so_too(
        self,
    ) -> None:
        missed = self.domain.xml()
        describe = self.patch_autospec(self.domain, 'xml', return_value=missed)
        assignment = restorations.begin(self.domain, self.clock)
        self.assertFalse(assignment.watch(4).complete)
        self.assertIsNotNone(self.guest.metadata)
        missed.find('currentMemory').text = str(4 * GIB)
        self.assertTrue(assignment.watch(4).complete)
        self.assertGreater(describe.call_count, 1)

    def test_one_look_takes_no_time(self) -> None:
        assignment = restorations.begin(self.domain, self.clock)
        started_at = self.clock.now()
        self.assertFalse(assignment.watch(0).complete)
        self.assertEqual(started_at, self.clock.now())

    def test_a_balloon_that_vanished_never_counts_as_whole(self) -> None:
        self.assertFalse(restorations.RestoreResult(4 * GIB, 0, 0, 1).complete)

    def test_an_entry_that_makes_no_sense_is_not_acted_on(self) -> None:
        self.guest.metadata = '<outstanding format="2" original_kib="1"/>'
        self.assertRaises(
            exceptions.JournalUnreadable,
            restorations.begin,
            self.domain,
            self.clock,
        )
        self.assertEqual(1 * GIB, self.guest.target_kib)
        self.assertIsNotNone(self.guest.metadata)

    def test_a_guest_that_was_switched_off_needs_nothing(self) -> None:
        self.domain.fault_at[1] = fakes.libvirt_fault(
            exceptions.OperationInvalid, 'domain is not running'
        )
        self.assertIsNone(restorations.begin(self.domain, self.clock))

    def test_a_balloon_that_cannot_be_set_is_told_of(self) -> None:
        self.domain.fault_at[3] = fakes.libvirt_fault(
            exceptions.OperationInvalid, 'no balloon'
        )
        self.assertRaises(
            exceptions.OperationInvalid,
            restorations.begin,
            self.domain,
            self.clock,
        )

    def test_a_fault_of_libvirt_keeps_the_debt(self) -> None:
        for call in (1, 2, 3, 4, 5, 6, 7):
            self.domain.calls.clear()
            self.domain.fault_at[call] = fakes.libvirt_fault(
                exceptions.DomainBusy, 'busy'
            )
            self.assertRaises(
                exceptions.DomainBusy,
                lambda: restorations.begin(self.domain, self.clock).watch(60),
            )
            self.assertIsNotNone(self.guest.metadata)
