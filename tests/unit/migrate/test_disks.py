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

"""A guest whose disks libvirt copies before it sends memory."""

from typing import Any
from unittest import mock

from nova_freemem import exceptions
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.bandwidth import Origin
from nova_freemem.plan.reasons import Reason
from nova_freemem.release.base import EndReason
from nova_freemem.release.requests import Request
from nova_freemem.restore import journal
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base

# What the guest gives up in a second, by what is assumed of guests: 3 GiB in
# 5 s. The simulated one is slower.
FORETOLD_SECONDS = 3.2 * 1024 / 650


class BlockMigrationTest(migrate_base.MigrationTestCase):
    """3.2 of 4 GiB are free, and are released when it is time."""

    def make_waiting(self, **guest: Any) -> migrate_base.World:
        """:returns: a world whose transfer is to start."""
        world = self.make_world(copies_disks=True, **guest)
        self.assertTrue(world.prepare())
        return world

    def missing_kib(self, world: migrate_base.World) -> int:
        world.guest.check()
        return world.guest.missing_kib

    def test_before_the_transfer_nothing_moves_and_all_is_ready(self) -> None:
        for mode in ('before', 'during', 'auto'):
            world = self.make_waiting(mode=mode)
            self.assertEqual(1000.0, world.clock.now())
            self.assertEqual(0, self.missing_kib(world))
            self.assertEqual(4 * GIB, journal.read(world.source).original_kib)
            self.assertEqual(1, world.guest.stats_period_seconds)
            self.assertEqual([], world.source.called('agent_command'))
            self.assertEqual([], world.source.called('set_balloon_kib'))

    def test_the_guest_keeps_all_it_has_for_an_hour(self) -> None:
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(3600)
            for _minute in range(59):
                world.clock.wait(60)
                self.assertEqual(0, self.missing_kib(world))
            self.assertEqual([], world.source.called('agent_command'))
            world.clock.wait(60 + 10)
            self.assertGreater(self.missing_kib(world), 2 * GIB)
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())
        world.reporter.error.assert_not_called()

    def test_the_release_ends_with_the_copy(self) -> None:
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(60)
            world.clock.wait(60 - FORETOLD_SECONDS - 1)
            self.assertEqual(0, self.missing_kib(world))
            world.clock.wait(FORETOLD_SECONDS + 1)
            self.assertGreater(self.missing_kib(world), 1.5 * GIB)
            world.clock.wait(10)
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())

    def test_a_copy_that_is_not_foretold_is_followed_by_the_release(
        self,
    ) -> None:
        """libvirt shows no figures of disks."""
        world = self.make_waiting()
        with world.transfer():
            world.clock.wait(60)
            self.assertEqual(0, self.missing_kib(world))
            world.send_memory()
            world.clock.wait(1)
            self.assertGreater(self.missing_kib(world), 200 * MIB)
            world.clock.wait(20)
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())

    def test_disks_with_next_to_nothing_in_them_delay_it_by_little(
        self,
    ) -> None:
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(0.1)
            world.clock.wait(0.5)
            self.assertGreater(self.missing_kib(world), 0)
            world.clock.wait(20)
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())

    def test_what_is_released_is_decided_by_what_is_free_then(self) -> None:
        world = self.make_waiting(
            wants_kib=1 * GIB, wants_after_seconds=30.0, touched_first=False
        )
        with world.transfer():
            world.copy_disks(60)
            world.clock.wait(80)
            self.assertAlmostEqual(
                1.9 * GIB, self.missing_kib(world), delta=100 * MIB
            )
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())
        world.reporter.restored_during_transfer.assert_not_called()

    def test_a_guest_that_needs_its_memory_by_then_is_skipped(self) -> None:
        world = self.make_waiting(
            wants_kib=4 * GIB, wants_after_seconds=30.0, touched_kib=0
        )
        with world.transfer():
            world.copy_disks(60)
            world.clock.wait(80)
        self.assertEqual([Reason.NOTHING_FREE], world.reasons())
        self.assertEqual(4 * GIB, world.guest.least_kib)

    def test_a_release_that_pays_only_if_it_costs_no_time_is_made(
        self,
    ) -> None:
        """At 12 Gb/s a transfer is done before the guest has released."""
        for is_foretold, reasons in (
            (True, []),
            (False, [Reason.NOT_WORTHWHILE]),
        ):
            world = self.make_waiting(mode='auto')
            world.engine.bandwidths.to.return_value = Bandwidth.of_mbps(
                12_000, Origin.CONFIGURED
            )
            # Else a release would be tried that does not pay.
            world.engine.release_rates.note_trial(
                fakes.UUID, world.clock.now()
            )
            with world.transfer():
                if is_foretold:
                    world.copy_disks(60)
                else:
                    world.clock.after(60, world.send_memory)
                world.clock.wait(80)
            self.assertEqual(reasons, world.reasons())

    def test_a_guest_that_frees_memory_at_the_last_moment_is_asked_again(
        self,
    ) -> None:
        world = self.make_waiting(touched_kib=0)
        with world.transfer():
            world.copy_disks(60)
            world.clock.after(
                60, lambda: setattr(world.guest, 'touched_kib', 3 * GIB)
            )
            world.clock.wait(80)
            self.assertGreater(self.missing_kib(world), 2 * GIB)
        self.assertEqual([], world.reasons())
        # Before the transfer, at the end of the copy, and after it.
        self.assertEqual(3, len(world.source.called('fresh_memory_stats')))

    def test_a_guest_that_is_paused_by_then_is_skipped(self) -> None:
        """As Nova does where it forces a migration to complete."""
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(60)
            world.clock.after(30, lambda: setattr(world.guest, 'running', 0))
            world.clock.wait(80)
        self.assertEqual([Reason.NOT_RUNNING], world.reasons())
        self.assertEqual(4 * GIB, world.guest.least_kib)

    def test_a_guest_that_reports_nothing_any_more_is_skipped(self) -> None:
        """It reboots, or hangs."""
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(60)
            world.clock.after(30, lambda: setattr(world.guest, 'frozen', True))
            world.clock.wait(80)
        self.assertEqual([Reason.NO_BALLOON_DRIVER], world.reasons())

    def test_whatever_else_forbids_a_release_is_seen_at_once(self) -> None:
        for reason, guest in (
            (Reason.NOT_RUNNING, {'running': False}),
            (Reason.NO_BALLOON, {}),
            (Reason.NO_BALLOON_DRIVER, {'has_driver': False}),
            (Reason.BALLOONED_ALREADY, {'tells': {'actual_kib': 3}}),
        ):
            world = self.make_skipped(reason, copies_disks=True, **guest)
            self.assertIsNone(world.guest.metadata)

    def test_a_copy_that_takes_longer_than_foretold_costs_no_memory(
        self,
    ) -> None:
        """The path breaks down when the disks have nearly been copied."""
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(60, ends=False)
            world.clock.after(59, lambda: world.copy_disks(3600))
            world.clock.wait(70)
            self.assertGreater(self.missing_kib(world), 2 * GIB)
            world.clock.wait(120)
            self.assertEqual(0, self.missing_kib(world))
            world.clock.wait(3500 - 131)
            self.assertEqual(0, self.missing_kib(world))
            world.reporter.restored_during_transfer.assert_called_once_with(
                mock.ANY, EndReason.COPYING_DISKS
            )
            world.clock.wait(200)
            self.assertEqual(0, self.missing_kib(world))
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())
        # The host does not hold what the balloon had taken.
        self.assertEqual([Reason.NOT_WORTHWHILE], world.reasons())

    def test_a_slow_release_ends_with_a_copy_that_never_does(self) -> None:
        world = self.make_waiting(inflate_kib_per_second=20 * MIB)
        with world.transfer():
            world.copy_disks(60, ends=False)
            world.clock.after(59, lambda: world.copy_disks(3600))
            world.clock.wait(55 + 121)
            self.assertEqual(4 * GIB, world.guest.target_kib)
            world.clock.wait(10)
            self.assertEqual(0, self.missing_kib(world))
        self.assertEqual([EndReason.DEADLINE], world.ends())

    def test_a_guest_under_pressure_while_disks_are_copied_is_restored(
        self,
    ) -> None:
        world = self.make_waiting(
            wants_kib=2 * GIB, wants_after_seconds=58.0, autodeflate=True
        )
        with world.transfer():
            world.copy_disks(60)
            world.clock.wait(80)
            self.assertEqual(0, self.missing_kib(world))
        self.assertEqual(0, world.guest.short_kib)
        (plan,) = world.reporter.released.call_args.args[:1]
        self.assertGreater(
            world.engine.backoff.remaining_seconds(
                fakes.UUID, world.clock.now()
            ),
            0,
            plan,
        )

    def test_an_abort_during_the_copy_leaves_the_guest_whole(self) -> None:
        for seconds in (0, 10, 54.9, 55.5, 59, 61, 70):
            world = self.make_waiting()
            with world.transfer():
                world.copy_disks(60)
                world.clock.wait(seconds)
            world.migration.restore()
            self.assertTrue(world.is_whole(), seconds)
            world.reporter.error.assert_not_called()
            if seconds < 50:
                self.assertEqual([Reason.INTERRUPTED], world.reasons())

    def test_an_abort_before_the_transfer_cancels_the_migration(self) -> None:
        world = self.make_world(copies_disks=True)
        world.request_after(0.0, Request.ABORT)
        world.clock.wait(0.0)
        self.assertFalse(world.prepare())
        self.assertTrue(world.is_whole())

    def test_what_is_requested_during_the_copy_keeps_it_from_releasing(
        self,
    ) -> None:
        """Post-copy, which cannot begin before memory is sent."""
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(60)
            world.request_after(30, Request.FORCE_COMPLETE)
            world.clock.wait(80)
        self.assertEqual([Reason.INTERRUPTED], world.reasons())
        self.assertEqual(4 * GIB, world.guest.least_kib)

    def test_post_copy_need_not_wait_for_a_guest_that_has_all(self) -> None:
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(60)
            world.clock.wait(30)
            world.migration.restore_for_post_copy()
            self.assertEqual(1030.0, world.clock.now())
        self.assertEqual([Reason.INTERRUPTED], world.reasons())

    def test_a_shutdown_leaves_the_migration_to_libvirt(self) -> None:
        for seconds in (-1.0, 0.0, 30.0):
            world = self.make_world(copies_disks=True)
            if seconds < 0:
                world.migration.shut_down()
            self.assertTrue(world.prepare())
            with world.transfer():
                world.copy_disks(60)
                world.clock.wait(max(0.0, seconds))
                if seconds >= 0:
                    world.migration.shut_down()
                world.clock.wait(1)
                self.assertTrue(world.migration.is_settled())
                world.clock.wait(80)
            self.assertEqual([Reason.INTERRUPTED], world.reasons())
            self.assertEqual(4 * GIB, world.guest.least_kib)
            world.land()
            self.assertTrue(world.is_whole())

    def test_where_it_lands_the_journal_and_the_period_are_set_back(
        self,
    ) -> None:
        for seconds in (59, 63, 80):
            world = self.make_waiting()
            with world.transfer():
                world.copy_disks(60)
                world.clock.wait(seconds)
            world.land()
            self.assertTrue(world.is_whole(), seconds)

    def test_an_entry_that_was_erased_meanwhile_forbids_a_release(
        self,
    ) -> None:
        world = self.make_waiting()
        with world.transfer():
            world.copy_disks(60)
            world.clock.after(
                30, lambda: setattr(world.guest, 'metadata', None)
            )
            world.clock.wait(80)
        self.assertEqual(4 * GIB, world.guest.least_kib)
        (call,) = world.reporter.error.call_args_list
        self.assertIsInstance(call.args[1], exceptions.JournalGone)

    def test_a_transfer_that_cannot_be_seen_is_one_without_a_release(
        self,
    ) -> None:
        for error, errors in (
            (exceptions.LibvirtError, 1),
            (exceptions.DomainGone, 0),
            (exceptions.OperationInvalid, 0),
        ):
            world = self.make_waiting()
            with world.transfer():
                world.copy_disks(60)
                world.clock.wait(30)
                self.patch(
                    world.source,
                    'transfer_progress',
                    self.failing(fakes.libvirt_error(error, 'no')),
                )
                world.clock.wait(80)
            self.assertEqual(
                [Reason.ERROR if errors else Reason.INTERRUPTED],
                world.reasons(),
            )
            self.assertEqual(errors, world.reporter.error.call_count)
            self.assertEqual(4 * GIB, world.guest.least_kib)

    def failing(self, error: Exception) -> Any:
        def fail() -> None:
            raise error

        return fail

    def test_a_host_without_threads_to_spare_transfers_everything(
        self,
    ) -> None:
        world = self.make_waiting()
        self.have_no_threads()
        with world.transfer():
            pass
        self.assertTrue(world.is_whole())
