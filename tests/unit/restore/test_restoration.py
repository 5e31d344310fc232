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

import datetime
from typing import Any
from unittest import mock

from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.restore import schedule
from nova_freemem.virt import guest as guests
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

    def begin(self) -> restorations.Restoration:
        return restorations.Restoration(self.domain, self.clock)

    def watch(
        self, restoration: restorations.Restoration, wait_seconds: float
    ) -> schedule.RestoreResult:
        """:returns: what had arrived at the last look."""
        result = restoration.watch(wait_seconds).result
        assert result is not None
        return result

    def test_a_guest_without_outstanding_memory_is_not_touched(self) -> None:
        self.guest.metadata = None
        self.assertEqual(schedule.Seen(), self.begin().watch(10))
        self.assertEqual([('read_metadata',)], self.domain.calls)

    def test_memory_is_requested_live_and_in_the_definition_at_once(
        self,
    ) -> None:
        started_at = self.clock.now()
        self.begin()
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.assertEqual(started_at, self.clock.now())

    def test_once_all_has_arrived_the_entry_is_erased(self) -> None:
        result = self.watch(self.begin(), 10)
        self.assertEqual(4 * GIB, result.after_kib)
        self.assertEqual(1 * GIB, result.before_kib)
        self.assertTrue(result.complete)
        self.assertAlmostEqual(
            3072 / 1200,
            result.seconds,
            delta=schedule.WATCHED_SHARE * 3072 / 1200,
        )
        self.assertIsNone(self.guest.metadata)

    def test_the_statistics_period_is_as_before(self) -> None:
        self.begin().watch(10)
        self.assertEqual(10, self.guest.stats_period_seconds)
        self.assertEqual(10, self.guest.definition_stats_period_seconds)

    def test_the_entry_stays_until_the_period_is_as_before(self) -> None:
        restoration = self.begin()
        self.clock.wait(60)
        self.domain.fault_at[len(self.domain.calls) + 2] = fakes.libvirt_error(
            exceptions.DomainBusy, 'busy'
        )
        self.assertRaises(exceptions.DomainBusy, restoration.watch, 10)
        self.assertIsNotNone(self.guest.metadata)

    def test_an_entry_erased_by_another_ends_it(self) -> None:
        restoration = self.begin()
        self.clock.after(1, lambda: setattr(self.guest, 'metadata', None))
        self.assertIsNone(restoration.watch(60).entry)
        self.assertEqual([], self.domain.called('erase_metadata'))

    def begin_until_half_nudged(self) -> restorations.Restoration:
        """Have a guest miss no more than it is asked to by a nudge."""
        self.guest.deflates_up_to_kib = 4 * GIB - TOLERANCE_KIB - 4
        restoration = self.begin()
        restoration.watch(schedule.NUDGE_INTERVAL_SECONDS)
        self.assertEqual(4 * GIB - schedule.NUDGE_KIB, self.guest.target_kib)
        self.guest.deflates_up_to_kib = 4 * GIB
        return restoration

    def test_an_entry_erased_in_the_midst_of_a_nudge_leaves_nothing_missing(
        self,
    ) -> None:
        restoration = self.begin_until_half_nudged()
        self.guest.metadata = None
        self.assertIsNone(restoration.watch(10).entry)
        self.clock.wait(1)
        self.guest.check()
        self.assertEqual(0, self.guest.missing_kib)
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_one_that_is_transferred_by_then_gets_it_during_the_transfer(
        self,
    ) -> None:
        restoration = self.begin_until_half_nudged()
        self.guest.metadata = None
        self.guest.transferred_kib = 4.0
        self.assertIsNone(restoration.watch(10).entry)
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def leave_in_the_midst_of_a_nudge(self, change: dict[str, Any]) -> None:
        """Have a guest change just after its entry is seen to be gone."""
        restoration = self.begin_until_half_nudged()
        self.guest.metadata = None
        read = self.domain.read_metadata

        def read_and_change() -> str | None:
            text = read()
            for name, value in change.items():
                setattr(self.guest, name, value)
            self.guest.actual_kib = self.guest.target_kib
            return text

        self.patch(self.domain, 'read_metadata', read_and_change)
        restoration.watch(10)

    def test_a_guest_that_has_been_resized_then_keeps_its_size(self) -> None:
        self.leave_in_the_midst_of_a_nudge(
            {'memory_kib': 8 * GIB, 'target_kib': 8 * GIB}
        )
        self.assertEqual(8 * GIB, self.guest.target_kib)

    def test_a_guest_that_is_about_to_leave_then_is_not_disturbed(
        self,
    ) -> None:
        self.leave_in_the_midst_of_a_nudge(
            {'metadata': fakes.make_entry().to_xml(), 'target_kib': 1 * GIB}
        )
        self.assertEqual(1 * GIB, self.guest.target_kib)

    def test_one_that_was_shut_down_then_is_no_error(self) -> None:
        restoration = self.begin_until_half_nudged()
        self.patch_autospec(
            self.domain,
            'read_metadata',
            side_effect=fakes.libvirt_error(
                exceptions.OperationInvalid, 'domain is not running'
            ),
        )
        self.assertIsNone(restoration.watch(10).entry)

    def test_an_entry_of_another_is_left_to_it(self) -> None:
        newer = fakes.make_entry(migration='another')
        restoration = restorations.Restoration(
            self.domain, self.clock, is_anothers=lambda entry: entry == newer
        )
        self.guest.metadata = newer.to_xml()
        self.domain.calls.clear()
        self.assertIsNone(restoration.watch(60).entry)
        self.assertEqual([('read_metadata',)], self.domain.calls)

    def replace_at_the_last_moment(
        self, restoration: restorations.Restoration, newer: str | None
    ) -> None:
        """Have a step taken, and an entry replaced once it was read."""
        read, entries = self.domain.read_metadata, []

        def read_and_replace() -> str | None:
            entries.append(read())
            self.guest.metadata = newer
            return entries[-1]

        self.patch(self.domain, 'read_metadata', read_and_replace)
        self.domain.calls.clear()
        restoration.watch(0)
        self.assertNotEqual(newer, entries[0])

    def test_an_entry_written_at_the_last_moment_is_not_erased(self) -> None:
        restoration = self.begin()
        self.clock.wait(60)
        newer = fakes.make_entry(migration='another').to_xml()
        self.replace_at_the_last_moment(restoration, newer)
        self.assertEqual(newer, self.guest.metadata)
        self.assertEqual([], self.domain.called('erase_metadata'))

    def test_a_guest_restored_at_the_last_moment_is_not_nudged(self) -> None:
        self.guest.deflates_up_to_kib = 4 * GIB - TOLERANCE_KIB - 4
        restoration = self.begin()
        self.clock.wait(schedule.NUDGE_INTERVAL_SECONDS)
        self.replace_at_the_last_moment(restoration, None)
        self.assertEqual([], self.domain.called('set_balloon_kib'))
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_a_newer_entry_is_restored_in_its_turn(self) -> None:
        restoration = self.begin()
        self.guest.metadata = fakes.make_entry(original_kib=3 * GIB).to_xml()
        self.assertEqual(3 * GIB, self.watch(restoration, 10).original_kib)
        self.assertEqual(3 * GIB, self.guest.target_kib)
        self.assertIsNone(self.guest.metadata)

    def test_a_guest_is_whole_only_after_the_second_half_of_a_nudge(
        self,
    ) -> None:
        self.guest.deflate_kib_per_second = 600 * MIB
        targets_kib = []
        restoration = self.begin()
        erase = self.domain.erase_metadata

        def keep_target() -> None:
            targets_kib.append(self.guest.target_kib)
            erase()

        self.patch(self.domain, 'erase_metadata', keep_target)
        self.watch(restoration, 10)
        self.assertEqual(2, len(self.domain.called('set_balloon_kib')[1:]))
        self.assertEqual([4 * GIB], targets_kib)

    def test_a_driver_that_stops_a_little_short_ends_it(self) -> None:
        self.guest.deflates_up_to_kib = 4 * GIB - 4
        result = self.watch(self.begin(), 10)
        self.assertTrue(result.complete)
        self.assertLessEqual(result.after_kib, 4 * GIB - 4)
        self.assertIsNone(self.guest.metadata)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)

    def test_a_guest_that_is_about_to_take_the_last_of_it_gets_that_too(
        self,
    ) -> None:
        """Its definition at the destination is made of what it has then."""
        self.guest.deflates_up_to_kib = 4 * GIB - TOLERANCE_KIB
        self.clock.after(
            3.0, lambda: setattr(self.guest, 'deflates_up_to_kib', 8 * GIB)
        )
        result = self.watch(self.begin(), 10)
        self.assertEqual(4 * GIB, result.after_kib)
        self.assertIsNone(self.guest.metadata)

    def test_the_entry_stays_while_more_than_the_tolerance_is_missing(
        self,
    ) -> None:
        self.guest.deflates_up_to_kib = 4 * GIB - TOLERANCE_KIB - 1
        result = self.watch(self.begin(), 10)
        self.assertFalse(result.complete)
        self.assertEqual(4 * GIB - TOLERANCE_KIB - 1, result.after_kib)
        self.assertIsNotNone(self.guest.metadata)
        self.assertEqual([], self.domain.called('erase_metadata'))

    def test_a_slow_guest_is_watched_no_longer_than_requested(self) -> None:
        self.guest.deflate_kib_per_second = 1 * MIB
        result = self.watch(self.begin(), 10)
        self.assertFalse(result.complete)
        self.assertEqual(10, result.seconds)

    def test_a_late_guest_can_be_watched_again(self) -> None:
        self.guest.deflate_kib_per_second = 100 * MIB
        restoration = self.begin()
        self.assertFalse(self.watch(restoration, 10).complete)
        result = self.watch(restoration, 3600)
        self.assertTrue(result.complete)
        self.assertEqual(1 * GIB, result.before_kib)
        self.assertAlmostEqual(
            30.72,
            result.seconds,
            delta=schedule.WATCHED_LONGEST_SECONDS,
        )
        self.assertIsNone(self.guest.metadata)

    def test_a_request_that_got_lost_is_repeated(self) -> None:
        restoration = self.begin()
        self.guest.target_kib = 1 * GIB
        self.assertTrue(self.watch(restoration, 60).complete)
        all_kib, less_kib = 4 * GIB, 4 * GIB - schedule.NUDGE_KIB
        self.assertEqual(
            [all_kib, less_kib, all_kib],
            [call[0] for call in self.domain.called('set_balloon_kib')],
        )

    def test_a_rebooted_guest_is_made_to_report(self) -> None:
        restoration = self.begin()
        self.guest.start_anew()
        self.assertFalse(self.watch(restoration, 1).complete)
        result = self.watch(restoration, 10)
        self.assertTrue(result.complete)
        self.assertEqual(4 * GIB, self.guest.target_kib)
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.assertIsNone(self.guest.metadata)

    def test_the_entry_stays_until_libvirts_xml_says_so_too(
        self,
    ) -> None:
        missed = self.domain.xml()
        describe = self.patch_autospec(self.domain, 'xml', return_value=missed)
        restoration = self.begin()
        self.assertFalse(self.watch(restoration, 4).complete)
        self.assertIsNotNone(self.guest.metadata)
        missed.find('currentMemory').text = str(4 * GIB)
        self.assertTrue(self.watch(restoration, 4).complete)
        self.assertGreater(describe.call_count, 1)

    def test_a_guest_gets_its_memory_while_nova_takes_a_snapshot(
        self,
    ) -> None:
        self.guest.persistent = False
        result = self.watch(self.begin(), 60)
        self.assertEqual(4 * GIB, result.after_kib)
        self.assertLess(result.seconds, 5)
        self.assertIsNotNone(self.guest.metadata)

    def end_snapshot(self, restoration: restorations.Restoration) -> None:
        """Have the domain defined by what it said before, and watch it."""
        self.assertTrue(restoration.awaits_definition)
        self.guest.persistent = True
        self.guest.definition_kib = 1 * GIB
        self.guest.definition_stats_period_seconds = 1
        self.watch(restoration, 60)
        self.assertTrue(restoration.is_done)
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.assertEqual(10, self.guest.definition_stats_period_seconds)
        self.assertIsNone(self.guest.metadata)

    def test_what_nova_defines_after_a_snapshot_is_set_right(self) -> None:
        self.guest.persistent = False
        restoration = self.begin()
        self.watch(restoration, 60)
        self.end_snapshot(restoration)

    def test_a_definition_that_was_right_before_a_snapshot_is_as_well(
        self,
    ) -> None:
        restoration = self.begin()
        self.assertEqual(4 * GIB, self.guest.definition_kib)
        self.guest.persistent = False
        self.watch(restoration, 60)
        self.end_snapshot(restoration)

    def test_memory_is_requested_once_where_the_definition_stays(
        self,
    ) -> None:
        self.watch(self.begin(), 10)
        self.assertEqual(1, len(self.domain.called('set_balloon_kib')))

    def test_one_check_takes_no_time(self) -> None:
        restoration = self.begin()
        started_at = self.clock.now()
        self.assertFalse(self.watch(restoration, 0).complete)
        self.assertEqual(started_at, self.clock.now())

    def test_a_balloon_that_vanished_never_counts_as_complete(self) -> None:
        for original_kib in (4 * GIB, TOLERANCE_KIB):
            self.assertFalse(
                schedule.RestoreResult(original_kib, 0, 0, 1).complete
            )

    def test_an_unreadable_entry_is_not_acted_on(self) -> None:
        self.guest.metadata = '<outstanding format="2" original_kib="1"/>'
        self.assertIsNotNone(self.begin().seen.unreadable)
        self.assertEqual(1 * GIB, self.guest.target_kib)
        self.assertIsNotNone(self.guest.metadata)

    def test_a_guest_that_is_paused_or_has_a_job_is_not_touched(self) -> None:
        for attribute, value in (('running', False), ('transferred_kib', 7)):
            with mock.patch.object(self.guest, attribute, value):
                seen = self.begin().watch(10)
            self.assertIsNot(guests.Situation.RUNNING, seen.situation)
            self.assertEqual([], self.domain.called('set_balloon_kib'))

    def test_a_guest_that_is_off_needs_nothing(self) -> None:
        self.domain.fault_at[1] = fakes.libvirt_error(
            exceptions.OperationInvalid, 'domain is not running'
        )
        self.assertEqual(schedule.Seen(), self.begin().seen)

    def test_a_balloon_that_cannot_be_set_is_an_error(self) -> None:
        self.domain.fault_at[5] = fakes.libvirt_error(
            exceptions.OperationInvalid, 'no balloon'
        )
        self.assertRaises(exceptions.OperationInvalid, self.begin)

    def test_an_error_of_libvirt_keeps_the_entry(self) -> None:
        for call in range(1, 9):
            self.domain.calls.clear()
            self.domain.fault_at[call] = fakes.libvirt_error(
                exceptions.DomainBusy, 'busy'
            )
            self.assertRaises(
                exceptions.DomainBusy,
                lambda: self.begin().watch(60),
            )
            self.assertIsNotNone(self.guest.metadata)
