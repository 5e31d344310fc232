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

"""Releasing memory of a guest, under watch."""

from typing import Any

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release import balloon
from nova_freemem.release import base as release_base
from nova_freemem.release import stop_rules
from nova_freemem.release import watch
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.base import Release
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.restore import journal
from nova_freemem.virt.transfer_progress import TransferProgress
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class WatchTestCase(GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.requests = Requests()
        self.plan = fakes.make_plan(
            nonresident_kib=512 * MIB, rss_kib=self.guest.rss_kib
        )
        self.record = journal.Record(self.domain)
        self.watch_balloon()

    def watch_balloon(self) -> None:
        self.watch = watch.Watch(
            balloon.Balloon(), self.domain, self.record, self.clock
        )

    def release(self, deadline_seconds: float = 120) -> Release:
        self.watch.start(self.plan)
        return self.watch.until_end(
            self.plan,
            Phase.BEFORE_TRANSFER,
            self.requests,
            clocks.Deadline(self.clock, deadline_seconds),
        )

    def assert_nothing_moves(self) -> None:
        self.guest.check()
        actual_kib = self.guest.actual_kib
        self.clock.wait(3600)
        self.guest.check()
        self.assertEqual(actual_kib, self.guest.actual_kib)


class BeforeTransferTest(WatchTestCase):
    """The transfer waits."""

    def test_an_entry_that_somebody_erases_is_there_a_tick_later(
        self,
    ) -> None:
        self.record.write(fakes.make_entry())
        self.clock.after(1, lambda: setattr(self.guest, 'metadata', None))
        there = []
        self.clock.after(
            1 + watch.TICK_SECONDS + 0.01,
            lambda: there.append(self.guest.metadata is not None),
        )
        self.release()
        self.assertEqual([True], there)

    def test_all_of_it_is_released(self) -> None:
        release = self.release()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertEqual(3 * GIB, release.released_kib)
        self.assertEqual(3 * GIB, release.resident_fall_kib)
        self.assertEqual(self.guest.rss_kib, release.rss_kib)
        self.assertAlmostEqual(
            3072 / 400, release.seconds, delta=watch.TICK_SECONDS
        )
        self.assertEqual([(1 * GIB,)], self.domain.called('set_balloon_kib'))
        self.assert_nothing_moves()

    def test_a_guest_that_stops_half_way_keeps_the_rest(
        self,
    ) -> None:
        self.guest.inflates_down_to_kib = 2 * GIB
        release = self.release()
        self.assertEqual(EndReason.NO_PROGRESS, release.end)
        self.assertEqual(2 * GIB, release.released_kib)
        self.assertEqual(2 * GIB, self.guest.target_kib)
        self.guest.inflates_down_to_kib = 0
        self.assert_nothing_moves()

    def test_at_the_deadline_the_balloon_stops_where_it_is(self) -> None:
        started_at = self.clock.now()
        release = self.release(deadline_seconds=2)
        self.assertEqual(EndReason.DEADLINE, release.end)
        self.assertAlmostEqual(
            2, self.clock.now() - started_at, delta=watch.TICK_SECONDS
        )
        self.assertEqual(release.released_kib, 4 * GIB - self.guest.actual_kib)
        self.assert_nothing_moves()

    def test_a_guest_that_trickles_for_hours_is_not_remembered_whole(
        self,
    ) -> None:
        # 1 TiB of 16 MiB a second, during a transfer: 18 hours, of which
        # five minutes are enough here.
        longest, end_reason = 0, stop_rules.end_reason

        def observed(
            seen: list[release_base.Observation], *args: Any
        ) -> EndReason | None:
            nonlocal longest
            longest = max(longest, len(seen))
            return end_reason(seen, *args)

        self.patch_autospec(stop_rules, 'end_reason', side_effect=observed)
        self.guest = fakes.SimulatedGuest(
            self.clock,
            memory_kib=1024 * GIB,
            used_kib=1 * GIB,
            touched_kib=1023 * GIB,
            inflate_kib_per_second=16 * MIB,
        )
        self.domain = fakes.FakeGuest(self.guest)
        self.watch_balloon()
        self.plan = fakes.make_plan(
            original_kib=1024 * GIB, rss_kib=1024 * GIB, target_kib=2 * GIB
        )
        release = self.release(deadline_seconds=300)
        self.assertEqual(EndReason.DEADLINE, release.end)
        self.assertAlmostEqual(300 * 16 * MIB, release.released_kib, delta=GIB)
        self.assertEqual(watch.MOST_OBSERVATIONS + 1, longest)

    def test_an_abort_ends_it_at_once(self) -> None:
        started_at = self.clock.now()
        self.clock.after(1.05, lambda: self.requests.submit(Request.ABORT))
        self.assertEqual(EndReason.ABORTED, self.release().end)
        self.assertAlmostEqual(1.05, self.clock.now() - started_at)

    def test_force_complete_keeps_what_was_released(self) -> None:
        self.clock.after(
            1.05, lambda: self.requests.submit(Request.FORCE_COMPLETE)
        )
        release = self.release()
        self.assertEqual(EndReason.FORCE_COMPLETE, release.end)
        self.assertAlmostEqual(420 * MIB, release.released_kib, delta=1)
        self.assert_nothing_moves()

    def test_a_resident_size_that_does_not_fall_is_noticed(self) -> None:
        self.guest.discards = False
        release = self.release()
        self.assertEqual(EndReason.NO_EFFECT, release.end)
        self.assertEqual(0, release.resident_fall_kib)

    def test_nonresident_memory_first_is_a_success_all_the_same(
        self,
    ) -> None:
        self.guest.touched_first = False
        self.guest.touched_kib = 3 * GIB
        self.plan = fakes.make_plan(
            nonresident_kib=512 * MIB, rss_kib=self.guest.rss_kib
        )
        release = self.release()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertEqual(3 * GIB, release.released_kib)
        self.assertEqual(2 * GIB + 512 * MIB, release.resident_fall_kib)

    def test_a_target_set_below_ours_is_somebody_elses(self) -> None:
        self.guest.used_kib = 0
        self.clock.after(1, lambda: setattr(self.guest, 'target_kib', 1))
        self.guest.inflate_kib_per_second = 8 * GIB
        self.guest.inflates_down_to_kib = 2 * GIB
        self.clock.after(
            1.1, lambda: setattr(self.guest, 'inflates_down_to_kib', 0)
        )
        self.plan = fakes.make_plan(headroom_kib=0)
        self.assertEqual(EndReason.NOT_OURS, self.release().end)
        self.assertEqual(1, self.guest.target_kib)

    def test_a_target_set_above_ours_is_not_fought_over(self) -> None:
        self.clock.after(1, lambda: setattr(self.guest, 'target_kib', 4 * GIB))
        self.assertEqual(EndReason.GREW, self.release().end)
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_a_guest_under_pressure_is_restored_at_once(self) -> None:
        def need() -> None:
            self.guest.used_kib += 3 * GIB

        self.clock.after(1, need)
        started_at = self.clock.now()
        release = self.release()
        self.assertEqual(EndReason.PRESSURE, release.end)
        self.assertAlmostEqual(
            1, self.clock.now() - started_at, delta=watch.TICK_SECONDS
        )
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_it_reports_statistics_often_enough_to_be_watched(self) -> None:
        self.release()
        self.assertEqual(
            watch.STATS_PERIOD_SECONDS, self.guest.stats_period_seconds
        )
        names = [call[0] for call in self.domain.calls]
        self.assertLess(
            names.index('set_stats_period_seconds'),
            names.index('set_balloon_kib'),
        )

    def test_a_guest_that_slows_down_is_waited_for(self) -> None:
        self.clock.after(
            3, lambda: setattr(self.guest, 'inflate_kib_per_second', 100 * MIB)
        )
        self.assertEqual(EndReason.TARGET_REACHED, self.release().end)
        self.assert_nothing_moves()

    def test_a_host_that_stops_reporting_is_an_error(self) -> None:
        self.clock.after(1, lambda: self.guest.tells.update(rss_kib=None))
        self.assertRaises(exceptions.SourceUnavailable, self.release)

    def test_nothing_is_released_of_a_guest_that_cannot_be_watched(
        self,
    ) -> None:
        self.domain.fault_at[1] = fakes.libvirt_error(
            exceptions.LibvirtError, 'no'
        )
        self.assertRaises(exceptions.LibvirtError, self.release)
        self.assertEqual([], self.domain.called('set_balloon_kib'))


class DuringTransferTestCase(WatchTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.plan = fakes.make_plan(
            mode=Mode.DURING, rss_kib=self.guest.rss_kib
        )
        self.watch.start(self.plan)
        self.guest.transferred_kib = 0
        self.started_at = self.clock.now()

    def until_end(self) -> Release:
        return self.watch.until_end(
            self.plan, Phase.DURING_TRANSFER, self.requests
        )

    def end_transfer_after(self, seconds: float) -> None:
        self.clock.after(
            seconds, lambda: self.requests.submit(Request.TRANSFER_ENDED)
        )


class DuringTransferTest(DuringTransferTestCase):
    """libvirt's own calls would wait for the transfer to end."""

    def test_all_of_it_is_released(self) -> None:
        self.assertEqual(EndReason.TARGET_REACHED, self.until_end().end)

    def test_no_deadline_ends_it(self) -> None:
        self.guest.inflate_kib_per_second = 10 * MIB
        release = self.until_end()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertGreater(release.seconds, 300)

    def test_a_guest_that_stops_half_way_is_stopped_by_the_monitor(
        self,
    ) -> None:
        self.guest.inflates_down_to_kib = 2 * GIB
        self.assertEqual(EndReason.NO_PROGRESS, self.until_end().end)
        self.assertEqual([(2 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_a_guest_under_pressure_is_restored_by_the_monitor(self) -> None:
        self.clock.after(
            1, lambda: setattr(self.guest, 'used_kib', 3 * GIB + 900 * MIB)
        )
        self.assertEqual(EndReason.PRESSURE, self.until_end().end)
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))
        self.assertLess(self.clock.now() - self.started_at, 1.5)

    def test_it_ends_with_the_transfer_and_moves_nothing(self) -> None:
        self.end_transfer_after(1.05)
        release = self.until_end()
        self.assertEqual(EndReason.TRANSFER_ENDED, release.end)
        self.assertAlmostEqual(1.05, release.seconds)
        self.assertEqual([], self.domain.called('steer_balloon_kib'))

    def test_it_tells_what_had_been_sent_by_its_end(self) -> None:
        meter = TransferMeter(1.0)
        meter.add(self.clock.now(), TransferProgress(700 * MIB))
        release = self.watch.until_end(
            self.plan, Phase.DURING_TRANSFER, self.requests, meter=meter
        )
        self.assertEqual(700 * MIB, release.sent_kib)

    def test_an_entry_that_is_gone_ends_it(self) -> None:
        """Within a tick: the journal cannot be written during a transfer."""
        self.record.entry = fakes.make_entry()
        self.guest.metadata = self.record.entry.to_xml()
        self.clock.after(1, lambda: setattr(self.guest, 'metadata', None))
        self.assertRaises(exceptions.JournalGone, self.until_end)
        self.assertAlmostEqual(
            1,
            self.clock.now() - self.started_at,
            delta=watch.TICK_SECONDS + 0.01,
        )
        self.assertEqual([], self.domain.called('write_metadata'))

    def test_a_guest_that_has_left_has_been_transferred(self) -> None:
        self.clock.after(1, lambda: setattr(self.guest, 'host', 'dest'))
        release = self.until_end()
        self.assertEqual(EndReason.TRANSFER_ENDED, release.end)
        self.assertGreater(release.released_kib, 300 * MIB)

    def test_libvirts_own_calls_are_not_made(self) -> None:
        self.until_end()
        self.assertLess(self.clock.now() - self.started_at, 30)
        self.assertEqual(1, len(self.domain.called('set_balloon_kib')))


class StartDuringTransferTest(DuringTransferTestCase):
    """The transfer runs when the release begins."""

    def test_the_guest_is_reached_by_calls_that_do_not_wait(self) -> None:
        self.domain.calls.clear()
        self.record.entry = fakes.make_entry()
        self.guest.metadata = self.record.entry.to_xml()
        self.watch.start(self.plan, Phase.DURING_TRANSFER)
        self.assertEqual([(1 * GIB,)], self.domain.called('steer_balloon_kib'))
        self.assertEqual(self.started_at, self.clock.now())

    def test_without_an_entry_nothing_is_released(self) -> None:
        self.domain.calls.clear()
        self.record.entry = fakes.make_entry()
        self.guest.metadata = None
        self.assertRaises(
            exceptions.JournalGone,
            self.watch.start,
            self.plan,
            Phase.DURING_TRANSFER,
        )
        self.assertEqual([], self.domain.called('steer_balloon_kib'))


class HoldTest(DuringTransferTestCase):
    """All is released, and the transfer goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.until_end()
        self.domain.calls.clear()
        self.started_at = self.clock.now()

    def hold(self) -> EndReason:
        return self.watch.hold(self.plan, self.requests)

    def seconds(self) -> float:
        return self.clock.now() - self.started_at

    def test_a_guest_that_can_do_without_is_held(self) -> None:
        self.end_transfer_after(20.05)
        self.assertEqual(EndReason.TRANSFER_ENDED, self.hold())
        self.assertAlmostEqual(20.05, self.seconds())
        self.assertEqual([], self.domain.called('steer_balloon_kib'))

    def test_a_guest_under_pressure_is_restored_at_once(self) -> None:
        self.clock.after(7, lambda: setattr(self.guest, 'used_kib', 1 * GIB))
        self.assertEqual(EndReason.PRESSURE, self.hold())
        self.assertAlmostEqual(7, self.seconds(), delta=watch.TICK_SECONDS)
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_a_guest_nobody_will_watch_is_restored_at_once(self) -> None:
        self.clock.after(7, lambda: self.requests.submit(Request.SHUTDOWN))
        self.end_transfer_after(20)
        self.assertEqual(EndReason.SHUTDOWN, self.hold())
        self.assertEqual(7, self.seconds())
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_a_guest_that_swaps_out_and_has_little_is_under_pressure(
        self,
    ) -> None:
        self.guest.used_kib = 700 * MIB
        self.guest.tells['swapped_out_kib'] = 1000
        self.clock.after(
            30, lambda: self.guest.tells.update(swapped_out_kib=4000)
        )
        self.assertEqual(EndReason.PRESSURE, self.hold())
        self.assertAlmostEqual(30, self.seconds(), delta=watch.TICK_SECONDS)

    def test_a_guest_that_waits_for_its_disks_and_has_little(self) -> None:
        self.guest.used_kib = 700 * MIB
        self.clock.after(30, lambda: setattr(self.guest, 'major_faults', 999))
        self.assertEqual(EndReason.READS_AGAIN, self.hold())
        self.assertAlmostEqual(30, self.seconds(), delta=watch.TICK_SECONDS)
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_a_guest_whose_kernel_killed_gets_everything_at_once(self) -> None:
        self.guest.oom_kills = 7
        self.clock.after(30, lambda: setattr(self.guest, 'oom_kills', 8))
        self.assertEqual(EndReason.KILLED, self.hold())
        self.assertAlmostEqual(30, self.seconds(), delta=watch.TICK_SECONDS)
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_a_guest_that_stops_reporting_gets_everything(self) -> None:
        self.guest.stats_lag = True
        self.clock.after(30, lambda: setattr(self.guest, 'frozen', True))
        self.assertEqual(EndReason.SILENT, self.hold())
        self.assertAlmostEqual(
            30 + stop_rules.SILENT_SECONDS, self.seconds(), delta=1.5
        )
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_a_guest_that_swaps_out_and_has_plenty_is_held(self) -> None:
        self.guest.tells['swapped_out_kib'] = 1000
        self.clock.after(
            3, lambda: self.guest.tells.update(swapped_out_kib=400_000)
        )
        self.end_transfer_after(10.05)
        self.assertEqual(EndReason.TRANSFER_ENDED, self.hold())

    def test_a_guest_that_grows_by_itself_is_restored(self) -> None:
        self.clock.after(3, lambda: setattr(self.guest, 'target_kib', 2 * GIB))
        self.assertEqual(EndReason.GREW, self.hold())
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_an_entry_that_is_gone_ends_it(self) -> None:
        self.record.entry = fakes.make_entry()
        self.guest.metadata = None
        self.assertRaises(exceptions.JournalGone, self.hold)
        self.assertEqual(0, self.seconds())

    def test_before_post_copy_a_guest_is_restored_at_once(self) -> None:
        self.clock.after(7, lambda: self.requests.submit(Request.POST_COPY))
        self.assertEqual(EndReason.POST_COPY, self.hold())
        self.assertAlmostEqual(7, self.seconds())
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_one_for_whom_disks_are_still_copied_is_restored(self) -> None:
        deadline = clocks.Deadline(self.clock, 7)
        self.assertEqual(
            EndReason.COPYING_DISKS,
            self.watch.hold(self.plan, self.requests, deadline),
        )
        self.assertAlmostEqual(7, self.seconds(), delta=watch.TICK_SECONDS)
        self.assertEqual([(4 * GIB,)], self.domain.called('steer_balloon_kib'))

    def test_it_is_waited_until_restored_memory_has_arrived(self) -> None:
        self.guest.deflate_kib_per_second = 2 * GIB
        self.watch.restore(4 * GIB)
        self.watch.until_restored(self.plan, 60)
        self.assertAlmostEqual(1.5, self.seconds(), delta=0.5)
        self.assertEqual(0, self.guest.missing_kib)

    def test_a_guest_that_is_slow_is_not_waited_for(self) -> None:
        self.guest.deflate_kib_per_second = 1 * MIB
        self.watch.restore(4 * GIB)
        self.watch.until_restored(self.plan, 2)
        self.assertAlmostEqual(2, self.seconds(), delta=watch.TICK_SECONDS)

    def test_one_that_has_left_is_not_waited_for(self) -> None:
        self.guest.host = 'dest'
        self.watch.until_restored(self.plan, 60)
        self.assertEqual(0, self.seconds())

    def test_a_guest_that_leaves_is_watched_no_longer(self) -> None:
        self.clock.after(3, lambda: setattr(self.guest, 'host', 'dest'))
        self.assertEqual(EndReason.TRANSFER_ENDED, self.hold())
        self.assertLess(self.seconds(), 3.5)

    def test_a_guest_that_had_left_before_is_not_watched_at_all(self) -> None:
        self.guest.host = 'dest'
        self.assertEqual(EndReason.TRANSFER_ENDED, self.hold())
        self.assertEqual(0, self.seconds())

    def test_a_long_transfer_takes_no_more_to_watch_than_a_short_one(
        self,
    ) -> None:
        self.end_transfer_after(3600)
        self.assertEqual(EndReason.TRANSFER_ENDED, self.hold())
        self.assertLess(len(self.domain.calls), 20_000)
