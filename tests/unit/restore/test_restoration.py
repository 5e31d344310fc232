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

"""Restoring memory, and seeing that it arrives."""

import dataclasses
import datetime

from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt.memory_stats import TOLERANCE_KIB
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class RestorationTest(GuestTestCase):
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

    def test_a_guest_without_outstanding_memory_is_not_touched(self) -> None:
        self.guest.metadata = None
        self.assertIsNone(restorations.begin(self.domain, self.clock))
        self.assertEqual([('read_metadata',)], self.domain.calls)

    def test_memory_is_requested_live_and_in_the_definition_at_once(
        self,
    ) -> None:
        started_at = self.clock.now()
        restorations.begin(self.domain, self.clock)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.assertEqual(started_at, self.clock.now())

    def test_once_all_has_arrived_the_entry_is_erased(self) -> None:
        result = restorations.begin(self.domain, self.clock).watch(10)
        self.assertEqual(4 * GIB, result.after_kib)
        self.assertEqual(1 * GIB, result.before_kib)
        self.assertTrue(result.complete)
        self.assertAlmostEqual(
            3072 / 1200, result.seconds, delta=restorations.POLL_SECONDS
        )
        self.assertIsNone(self.guest.metadata)

    def test_the_statistics_period_is_as_before(self) -> None:
        restorations.begin(self.domain, self.clock).watch(10)
        self.assertEqual(10, self.guest.stats_period_seconds)
        self.assertEqual(10, self.guest.definition_stats_period_seconds)

    def test_the_entry_stays_until_the_period_is_as_before(self) -> None:
        restoration = restorations.begin(self.domain, self.clock)
        self.clock.wait(60)
        self.domain.fault_at[len(self.domain.calls) + 2] = fakes.libvirt_error(
            exceptions.DomainBusy, 'busy'
        )
        self.assertRaises(exceptions.DomainBusy, restoration.watch, 10)
        self.assertIsNotNone(self.guest.metadata)

    def test_an_entry_erased_by_another_ends_it(self) -> None:
        restoration = restorations.begin(self.domain, self.clock)
        self.clock.after(1, lambda: setattr(self.guest, 'metadata', None))
        self.assertIsNone(restoration.watch(60))
        self.assertEqual([], self.domain.called('erase_metadata'))

    def test_a_newer_entry_is_not_erased(self) -> None:
        restoration = restorations.begin(self.domain, self.clock)
        self.clock.wait(60)
        for entry in (
            '<outstanding format="2"/>',
            dataclasses.replace(
                restoration.entry, migration='another'
            ).to_xml(),
        ):
            self.guest.metadata = entry
            self.assertFalse(restoration.is_current())
            self.assertIsNone(restoration.check())
            self.assertEqual(entry, self.guest.metadata)

    def test_a_driver_that_stops_a_little_short_ends_it(self) -> None:
        self.guest.deflates_up_to_kib = 4 * GIB - 4
        result = restorations.begin(self.domain, self.clock).watch(10)
        self.assertTrue(result.complete)
        self.assertLessEqual(result.after_kib, 4 * GIB - 4)
        self.assertIsNone(self.guest.metadata)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)

    def test_the_entry_stays_while_more_than_the_tolerance_is_missing(
        self,
    ) -> None:
        self.guest.deflates_up_to_kib = 4 * GIB - TOLERANCE_KIB - 1
        result = restorations.begin(self.domain, self.clock).watch(10)
        self.assertFalse(result.complete)
        self.assertEqual(4 * GIB - TOLERANCE_KIB - 1, result.after_kib)
        self.assertIsNotNone(self.guest.metadata)
        self.assertEqual([], self.domain.called('erase_metadata'))

    def test_a_slow_guest_is_watched_no_longer_than_requested(self) -> None:
        self.guest.deflate_kib_per_second = 1 * MIB
        result = restorations.begin(self.domain, self.clock).watch(10)
        self.assertFalse(result.complete)
        self.assertAlmostEqual(
            10, result.seconds, delta=restorations.POLL_SECONDS
        )

    def test_a_late_guest_can_be_watched_again(self) -> None:
        self.guest.deflate_kib_per_second = 100 * MIB
        restoration = restorations.begin(self.domain, self.clock)
        self.assertFalse(restoration.watch(10).complete)
        result = restoration.watch(3600)
        self.assertTrue(result.complete)
        self.assertEqual(1 * GIB, result.before_kib)
        self.assertAlmostEqual(
            30.72, result.seconds, delta=restorations.POLL_SECONDS
        )
        self.assertIsNone(self.guest.metadata)

    def test_a_request_that_got_lost_is_repeated(self) -> None:
        restoration = restorations.begin(self.domain, self.clock)
        self.guest.target_kib = 1 * GIB
        self.assertTrue(restoration.watch(60).complete)
        all_kib, less_kib = 4 * GIB, 4 * GIB - restorations.NUDGE_KIB
        self.assertEqual(
            [all_kib, less_kib, all_kib],
            [call[0] for call in self.domain.called('set_balloon_kib')],
        )

    def test_a_rebooted_guest_is_made_to_report(self) -> None:
        restoration = restorations.begin(self.domain, self.clock)
        self.guest.start_anew()
        self.assertFalse(restoration.watch(1).complete)
        result = restoration.watch(10)
        self.assertTrue(result.complete)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.assertIsNone(self.guest.metadata)

    def test_the_entry_stays_until_libvirts_xml_says_so_too(
        self,
    ) -> None:
        missed = self.domain.xml()
        describe = self.patch_autospec(self.domain, 'xml', return_value=missed)
        restoration = restorations.begin(self.domain, self.clock)
        self.assertFalse(restoration.watch(4).complete)
        self.assertIsNotNone(self.guest.metadata)
        missed.find('currentMemory').text = str(4 * GIB)
        self.assertTrue(restoration.watch(4).complete)
        self.assertGreater(describe.call_count, 1)

    def test_one_check_takes_no_time(self) -> None:
        restoration = restorations.begin(self.domain, self.clock)
        started_at = self.clock.now()
        self.assertFalse(restoration.watch(0).complete)
        self.assertEqual(started_at, self.clock.now())

    def test_a_balloon_that_vanished_never_counts_as_complete(self) -> None:
        for original_kib in (4 * GIB, TOLERANCE_KIB):
            self.assertFalse(
                restorations.RestoreResult(original_kib, 0, 0, 1).complete
            )

    def test_an_unreadable_entry_is_not_acted_on(self) -> None:
        self.guest.metadata = '<outstanding format="2" original_kib="1"/>'
        self.assertRaises(
            exceptions.JournalUnreadable,
            restorations.begin,
            self.domain,
            self.clock,
        )
        self.assertEqual(1 * GIB, self.guest.target_kib)
        self.assertIsNotNone(self.guest.metadata)

    def test_a_guest_that_is_off_needs_nothing(self) -> None:
        self.domain.fault_at[1] = fakes.libvirt_error(
            exceptions.OperationInvalid, 'domain is not running'
        )
        self.assertIsNone(restorations.begin(self.domain, self.clock))

    def test_a_balloon_that_cannot_be_set_is_an_error(self) -> None:
        self.domain.fault_at[3] = fakes.libvirt_error(
            exceptions.OperationInvalid, 'no balloon'
        )
        self.assertRaises(
            exceptions.OperationInvalid,
            restorations.begin,
            self.domain,
            self.clock,
        )

    def test_an_error_of_libvirt_keeps_the_entry(self) -> None:
        for call in (1, 2, 3, 4, 5, 6, 7):
            self.domain.calls.clear()
            self.domain.fault_at[call] = fakes.libvirt_error(
                exceptions.DomainBusy, 'busy'
            )
            self.assertRaises(
                exceptions.DomainBusy,
                lambda: restorations.begin(self.domain, self.clock).watch(60),
            )
            self.assertIsNotNone(self.guest.metadata)
