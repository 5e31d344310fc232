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

"""A guest that is migrated from this host, on good days and on bad ones."""

import contextlib
import dataclasses
import functools
from typing import Any
from unittest import mock

import testtools

from nova_freemem import exceptions
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import traffic
from nova_freemem.plan.reasons import Reason
from nova_freemem.release import balloon
from nova_freemem.release import reclaim
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Request
from nova_freemem.restore import journal
from nova_freemem.restore import reconciler
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base


class ErasedJournal(balloon.Balloon):
    """Somebody finds the guest whole as its balloon is about to move."""

    def set_target(
        self, guest: fakes.FakeGuest, target_kib: int, phase: Phase
    ) -> None:
        super().set_target(guest, target_kib, phase)
        guest.guest.metadata = None


class BeforeTransferTest(migrate_base.MigrationTestCase):
    """Memory is released before the transfer starts."""

    def test_what_is_free_is_released_and_in_the_journal(self) -> None:
        world = self.make_world()
        self.assertTrue(world.prepare())
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())
        headroom_kib = 4 * GIB * 12 // 100
        self.assertAlmostEqual(
            headroom_kib * 1.25, world.guest.free_kib, delta=MIB
        )
        entry = journal.read(world.source)
        self.assertEqual(
            (4 * GIB, 'source', migrate_base.UUID),
            (entry.original_kib, entry.source, entry.migration),
        )
        self.assertAlmostEqual(
            world.clock.wall() - entry.released_at.timestamp(),
            world.clock.now() - 1000,
            3,
        )

    def test_what_is_not_resident_is_not_waited_for(self) -> None:
        world = self.make_world(touched_kib=2 * GIB)
        world.prepare()
        self.assertEqual([EndReason.RESIDENT_RELEASED], world.ends())
        self.assertAlmostEqual(
            2 * GIB, world.guest.missing_kib, delta=300 * MIB
        )
        self.assertEqual(world.guest.actual_kib, world.guest.target_kib)

    def test_where_nobody_asks_it_to_no_guest_is_to_drop_cache_by_itself(
        self,
    ) -> None:
        for reclaimer, drops in (
            (None, False),
            (reclaim.GuestReclaim('guest_reclaim', 5), True),
        ):
            world = self.make_world(cold_kib=2 * GIB)
            world.engine = dataclasses.replace(
                world.engine, reclaimer=reclaimer
            )
            world.start_again()
            self.assertTrue(world.prepare())
            plan = world.reporter.released.call_args.args[0]
            self.assertEqual(drops, plan.cold_kib > 0)
            self.assertGreater(plan.cache_kib, 1 * GIB)

    def test_a_balloon_that_moved_on_while_it_was_stopped_returns(
        self,
    ) -> None:
        world = self.make_world(touched_kib=2 * GIB)
        set_balloon_kib = world.source.set_balloon_kib

        def set_late(target_kib: int, **kwargs: Any) -> None:
            if target_kib == world.guest.actual_kib:
                world.guest.actual_kib -= 20 * MIB
            set_balloon_kib(target_kib, **kwargs)

        self.patch(world.source, 'set_balloon_kib', set_late)
        world.prepare()
        with world.transfer():
            world.clock.wait(20)
            self.assertGreater(world.guest.missing_kib, 2 * GIB)
        self.assertEqual([EndReason.RESIDENT_RELEASED], world.ends())
        world.reporter.restored_during_transfer.assert_not_called()

    def test_the_journal_is_written_before_the_first_page_is_released(
        self,
    ) -> None:
        world = self.make_world()
        world.prepare()
        names = [call[0] for call in world.source.calls]
        self.assertLess(
            names.index('write_metadata'), names.index('set_balloon_kib')
        )

    def test_the_second_source_is_asked_where_the_agent_is_silent(
        self,
    ) -> None:
        world = self.make_world(
            agent=fakes.SimulatedAgent(latency_seconds=3600)
        )
        world.prepare()
        plan = world.reporter.released.call_args.args[0]
        self.assertEqual('balloon_stats', plan.source)

    def test_an_agent_of_another_guest_is_not_believed(self) -> None:
        world = self.make_world(
            tells={
                'total_kib': 3 * GIB,
                'free_kib': 2 * GIB,
                'available_kib': 2 * GIB,
            }
        )
        world.prepare()
        plan = world.reporter.released.call_args.args[0]
        self.assertEqual('balloon_stats', plan.source)

    def test_each_guest_that_is_skipped_has_its_own_reason(self) -> None:
        silent = fakes.SimulatedAgent(latency_seconds=3600)
        for reason, guest in (
            (Reason.NOT_RUNNING, {'running': False}),
            (Reason.NO_BALLOON, {'tells': {'actual_kib': None}}),
            (Reason.NO_BALLOON_DRIVER, {'has_driver': False}),
            (
                Reason.NO_BALLOON_DRIVER,
                {'tells': {'available_kib': None, 'free_kib': None}},
            ),
            (Reason.NO_RSS, {'tells': {'rss_kib': None}}),
            (Reason.BALLOONED_ALREADY, {'tells': {'actual_kib': 3}}),
            (Reason.NO_SOURCE, {'agent': silent, 'tells': {'free_kib': None}}),
            (Reason.NOTHING_FREE, {'used_kib': 4000 * MIB, 'touched_kib': 0}),
            (Reason.NOT_WORTHWHILE, {'touched_kib': 10 * MIB}),
        ):
            world = self.make_skipped(reason, **guest)
            self.assertEqual([], world.source.called('write_metadata'))
            self.assertEqual([], world.source.called('set_balloon_kib'))
            self.assertEqual(10, world.guest.stats_period_seconds)
            world.reporter.error.assert_not_called()

    def test_free_memory_that_may_be_zeros_is_not_released(self) -> None:
        """The guest may have landed, and used none of it since."""
        world = self.make_world()
        world.engine = dataclasses.replace(world.engine, holds_zeros=True)
        world.start_again()
        world.prepare()
        with world.transfer():
            pass
        self.assertEqual([Reason.NOT_WORTHWHILE], world.reasons())
        self.assertEqual([], world.source.called('set_balloon_kib'))

    def test_a_migration_to_the_same_host_is_skipped_without_a_look(
        self,
    ) -> None:
        world = self.make_world()
        world.start_again(dest='source')
        world.prepare()
        self.assertEqual([], world.source.calls)
        with world.transfer():
            pass
        self.assertEqual([Reason.SAME_HOST], world.reasons())

    def test_nothing_free_costs_no_time(self) -> None:
        world = self.make_world(used_kib=4000 * MIB, touched_kib=0)
        started_at = world.clock.now()
        world.prepare()
        self.assertLess(world.clock.now() - started_at, 0.05)
        self.assertEqual([], world.source.called('agent_command'))

    def test_an_abort_restores_everything_and_cancels_the_migration(
        self,
    ) -> None:
        world = self.make_world()
        world.request_after(3, Request.ABORT)
        self.assertFalse(world.prepare())
        self.assertEqual([EndReason.ABORTED], world.ends())
        self.assertTrue(world.is_whole())

    def test_an_abort_while_acquiring_releases_nothing(self) -> None:
        world = self.make_world(agent=fakes.SimulatedAgent(latency_seconds=2))
        world.request_after(1, Request.ABORT)
        self.assertFalse(world.prepare())
        self.assertEqual([], world.source.called('set_balloon_kib'))
        self.assertEqual([], world.source.called('write_metadata'))

    def test_an_abort_at_any_moment_is_obeyed_or_left_for_the_transfer(
        self,
    ) -> None:
        for tenths in range(0, 120, 3):
            world = self.make_world()
            world.request_after(tenths / 10, Request.ABORT)
            goes_on = world.prepare()
            self.assertEqual(
                not goes_on, Request.ABORT in world.accepted_requests
            )
            if goes_on:
                world.clock.wait(60)
                self.assertEqual(
                    Request.ABORT, world.migration.requests.close()
                )
            else:
                self.assertTrue(world.is_whole())

    def test_force_complete_keeps_what_was_released_and_transfers(
        self,
    ) -> None:
        world = self.make_world()
        world.request_after(3, Request.FORCE_COMPLETE)
        self.assertTrue(world.prepare())
        self.assertEqual([EndReason.FORCE_COMPLETE], world.ends())
        self.assertGreater(world.guest.missing_kib, 1000 * MIB)
        self.assertIsNotNone(world.guest.metadata)

    def test_a_shutdown_restores_everything_and_cancels_the_migration(
        self,
    ) -> None:
        world = self.make_world()
        world.clock.after(3, world.migration.shut_down)
        started_at = world.clock.now()
        self.assertFalse(world.prepare())
        self.assertEqual([EndReason.SHUTDOWN], world.ends())
        self.assertTrue(world.is_whole())
        self.assertFalse(world.migration.is_settled())
        self.assertLess(world.clock.now() - started_at, 10)

    def test_a_shutdown_before_a_release_leaves_the_migration_to_nova(
        self,
    ) -> None:
        world = self.make_world(agent=fakes.SimulatedAgent(latency_seconds=2))
        world.clock.after(1, world.migration.shut_down)
        self.assertTrue(world.prepare())
        self.assertEqual([], world.source.called('write_metadata'))
        with world.transfer():
            world.clock.wait(0)
            self.assertTrue(world.migration.is_settled())
        self.assertEqual([Reason.INTERRUPTED], world.reasons())

    def test_a_shutdown_at_any_moment_leaves_the_guest_whole(self) -> None:
        for mode in ('before', 'auto', 'during'):
            for tenths in range(0, 120, 3):
                world = self.make_world(mode=mode)
                world.clock.after(tenths / 10, world.migration.shut_down)
                if world.prepare():
                    with world.transfer():
                        world.clock.wait(20)
                        self.assertTrue(world.migration.is_settled())
                        world.guest.check()
                        self.assertEqual(0, world.guest.missing_kib)
                    world.land()
                self.assertTrue(world.is_whole(), (mode, tenths))

    def test_a_guest_that_stops_half_way_keeps_a_partial_gain(self) -> None:
        world = self.make_world(inflates_down_to_kib=2 * GIB)
        self.assertTrue(world.prepare())
        self.assertEqual([EndReason.NO_PROGRESS], world.ends())
        self.assertEqual(2 * GIB, world.guest.missing_kib)

    def test_a_release_without_effect_is_undone(self) -> None:
        world = self.make_world(discards=False)
        self.assertTrue(world.prepare())
        self.assertEqual([EndReason.NO_EFFECT], world.ends())
        self.assertTrue(world.is_whole())

    def test_the_deadline_holds_for_acquiring_and_releasing_together(
        self,
    ) -> None:
        world = self.make_world(
            inflate_kib_per_second=20 * MIB,
            agent=fakes.SimulatedAgent(latency_seconds=4),
        )
        world.engine.bandwidths.to.return_value = bandwidths.Bandwidth(
            10 * MIB, bandwidths.Origin.CONFIGURED
        )
        started_at = world.clock.now()
        self.assertTrue(world.prepare())
        self.assertEqual([EndReason.DEADLINE], world.ends())
        self.assertAlmostEqual(120, world.clock.now() - started_at, delta=1)

    def test_it_expects_the_share_that_others_leave_by_now(self) -> None:
        world = self.make_world()
        known, clock = world.engine.bandwidths, world.clock
        with world.migration.sharing_the_path():
            self.assertEqual(1, known.traffic.beside())
            for seconds in (0.0, 1.5):
                clock.after(
                    seconds,
                    lambda: known.traffic.add(traffic.Sender(), clock.now()),
                )
            clock.wait(0.1)
            self.assertTrue(world.prepare())
        beside = [one.args[2] for one in known.to.call_args_list]
        self.assertEqual([1, 2], sorted(set(beside)))
        self.assertEqual(sorted(beside), beside)
        self.assertEqual(2, known.traffic.beside())

    def test_a_slow_guest_is_waited_for_once_and_then_the_reconcilers(
        self,
    ) -> None:
        world = self.make_world(deflate_kib_per_second=30 * MIB)
        world.request_after(3, Request.ABORT)
        started_at = world.clock.now()
        self.assertFalse(world.prepare())
        world.migration.restore()
        self.assertAlmostEqual(
            3 + reconciler.WAIT_SECONDS,
            world.clock.now() - started_at,
            delta=0.3,
        )
        self.assertEqual(4 * GIB, world.guest.target_kib)
        self.assertIsNotNone(world.guest.metadata)
        world.start_compute('source')
        world.clock.wait(60)
        self.assertTrue(world.is_whole())

    def test_a_guest_that_has_left_is_no_error(self) -> None:
        world = self.make_world()
        world.prepare()
        world.guest.host = 'dest'
        world.migration.restore()
        world.reporter.restore_failed.assert_not_called()

    def test_a_guest_that_leaves_while_it_is_watched_is_none_either(
        self,
    ) -> None:
        world = self.make_world(deflate_kib_per_second=1 * MIB)
        world.prepare()
        world.clock.after(1, lambda: setattr(world.guest, 'host', 'dest'))
        world.migration.restore()
        world.reporter.restore_failed.assert_not_called()
        self.assertIsNotNone(world.guest.metadata)

    def test_what_the_transfer_waited_for_a_release_is_known(self) -> None:
        for mode in ('before', 'during'):
            world = self.make_world(mode=mode)
            began_at = world.clock.now()
            self.assertTrue(world.prepare())
            prepared_seconds = world.clock.now() - began_at
            with world.transfer():
                world.clock.wait(5)
            (waited, is_completed), _ = world.reporter.transferred.call_args
            self.assertTrue(is_completed)
            if mode == 'during':
                self.assertEqual(0, waited)
            else:
                self.assertGreater(waited, 1)
                self.assertLessEqual(waited, prepared_seconds)

    def test_a_transfer_that_fails_is_known_as_such(self) -> None:
        world = self.make_world()
        world.prepare()
        with world.transfer():
            world.migration.fail()
        (_, is_completed), _ = world.reporter.transferred.call_args
        self.assertFalse(is_completed)
        world = self.make_world()
        world.prepare()
        with contextlib.suppress(ZeroDivisionError), world.transfer():
            raise ZeroDivisionError
        (_, is_completed), _ = world.reporter.transferred.call_args
        self.assertFalse(is_completed)

    def test_an_abort_during_the_start_of_a_release_ends_its_event(
        self,
    ) -> None:
        world = self.make_world(mode='during')
        set_balloon_kib = world.source.set_balloon_kib

        def abort(target_kib: int, **kwargs: Any) -> None:
            world.migration.requests.submit(Request.ABORT)
            set_balloon_kib(target_kib, **kwargs)

        self.patch(world.source, 'set_balloon_kib', abort)
        self.assertFalse(world.prepare())
        event = world.reporter.releasing.return_value
        event.__exit__.assert_called_once()
        self.assertTrue(world.is_whole())

    def test_an_error_before_the_release_is_a_skip(self) -> None:
        for failing in ('read_metadata', 'write_metadata'):
            world = self.make_world()
            self.patch_autospec(
                world.source,
                failing,
                side_effect=fakes.libvirt_error(exceptions.LibvirtError, 'no'),
            )
            self.assertTrue(world.prepare())
            with world.transfer():
                pass
            self.assertEqual([Reason.ERROR], world.reasons(), failing)
            world.reporter.error.assert_called_once()
            self.assertEqual([], world.source.called('set_balloon_kib'))

    def test_memory_outstanding_from_before_is_restored_where_it_stays(
        self,
    ) -> None:
        world = self.make_world()
        world.prepare()
        again = self.make_world()
        again.guest.metadata = world.guest.metadata
        again.guest.actual_kib = again.guest.target_kib = 2 * GIB
        again.guest.touched_kib = 0
        again.guest.stats_period_seconds = 1
        self.assertTrue(again.prepare())
        with again.transfer():
            pass
        self.assertEqual([Reason.OUTSTANDING_MEMORY], again.reasons())
        again.migration.restore()
        self.assertTrue(again.is_whole())

    def test_an_entry_of_somebody_else_is_not_written_over(self) -> None:
        world = self.make_world()
        world.guest.metadata = '<outstanding format="2"/>'
        self.assertTrue(world.prepare())
        world.migration.restore()
        self.assertEqual('<outstanding format="2"/>', world.guest.metadata)
        self.assertEqual(4 * GIB, world.guest.target_kib)
        self.assertFalse(world.reporter.error.called)

    def test_an_entry_that_somebody_erased_is_written_again(self) -> None:
        for mode in ('before', 'auto', 'during'):
            world = self.make_world(mode=mode)
            world.guest.check = functools.partial(
                fakes.SimulatedGuest.check, world.guest
            )
            world.engine = dataclasses.replace(
                world.engine, releaser=ErasedJournal()
            )
            world.start_again()
            world.prepare()
            world.land()
            self.assertTrue(world.is_whole(), mode)

    def test_windows_keeps_what_its_driver_needs(self) -> None:
        world = self.make_world(os_type='windows')
        world.prepare()
        self.assertGreaterEqual(
            world.guest.least_kib - world.guest.used_kib, 1 * GIB
        )

    def test_while_it_is_transferred_it_keeps_its_size(self) -> None:
        world = self.make_world()
        world.prepare()
        with world.transfer():
            world.clock.wait(20)
            self.assertGreater(world.guest.missing_kib, 2 * GIB)
        self.assertEqual([], world.source.called('steer_balloon_kib'))
        world.reporter.restored_during_transfer.assert_not_called()


class ErasedEntryTest(migrate_base.MigrationTestCase):
    """Somebody erases the entry of a guest whose memory is outstanding."""

    def make_released(self, mode: str) -> migrate_base.World:
        world = self.make_world(mode=mode)
        # What a watch cannot prevent, it makes good.
        world.guest.check = functools.partial(
            fakes.SimulatedGuest.check, world.guest
        )
        self.assertTrue(world.prepare())
        return world

    def test_during_the_transfer_all_memory_is_restored(self) -> None:
        """A guest that landed without an entry would never get it back."""
        for mode in ('before', 'auto', 'during'):
            world = self.make_released(mode)
            with world.transfer():
                world.clock.wait(3)
                world.guest.metadata = None
                world.clock.wait(0.3)
                self.assertEqual(4 * GIB, world.guest.target_kib)
                world.clock.wait(10)
            world.land()
            world.guest.check()
            self.assertEqual(0, world.guest.missing_kib, mode)
            (call,) = world.reporter.error.call_args_list
            self.assertIsInstance(call.args[1], exceptions.JournalGone)

    def test_a_failed_migration_restores_from_what_it_knows(self) -> None:
        for mode in ('before', 'auto', 'during'):
            world = self.make_released(mode)
            with world.transfer():
                world.clock.wait(10)
            world.guest.metadata = None
            world.migration.restore()
            world.migration.restore()
            self.assertTrue(world.is_whole(), mode)

    def test_a_guest_that_is_off_then_needs_nothing(self) -> None:
        world = self.make_released('before')
        world.guest.metadata = None
        calls = len(world.source.calls)
        for call in (1, 2):
            world.source.fault_at[calls + call] = fakes.libvirt_error(
                exceptions.OperationInvalid, 'domain is not running'
            )
        world.migration.restore()
        world.reporter.restore_failed.assert_not_called()


class DuringTransferTest(migrate_base.MigrationTestCase):
    """Memory is released while the transfer runs."""

    def make_releasing(self, **guest: Any) -> migrate_base.World:
        world = self.make_world(mode='during', **guest)
        self.assertTrue(world.prepare())
        return world

    def test_the_transfer_starts_at_once_and_the_release_with_it(self) -> None:
        world = self.make_world(mode='during')
        started_at = world.clock.now()
        self.assertTrue(world.prepare())
        self.assertLess(world.clock.now() - started_at, 0.15)
        with world.transfer():
            world.clock.wait(1)
            world.guest.check()
            self.assertGreater(world.guest.missing_kib, 300 * MIB)
            world.clock.wait(20)
            self.assertGreater(world.guest.missing_kib, 2 * GIB)
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())
        self.assertIsNotNone(world.guest.metadata)
        world.reporter.error.assert_not_called()

    def test_a_transfer_quicker_than_the_release_ends_it(self) -> None:
        world = self.make_releasing()
        with world.transfer():
            world.clock.wait(2)
            world.guest.host = 'dest'
        self.assertEqual([EndReason.TRANSFER_ENDED], world.ends())
        world.reporter.error.assert_not_called()
        world.reporter.restored_during_transfer.assert_not_called()

    def test_no_thread_outlives_the_transfer(self) -> None:
        world = self.make_releasing()
        threads = []
        make = self.thread.side_effect

        def keep(*args: Any, **kwargs: Any) -> Any:
            threads.append(make(*args, **kwargs))
            return threads[-1]

        self.thread.side_effect = keep
        with world.transfer():
            world.clock.wait(2)
            self.assertEqual(
                [True, True], [thread.is_alive() for thread in threads]
            )
        self.assertEqual(
            [False, False], [thread.is_alive() for thread in threads]
        )

    def test_a_transfer_that_fails_leaves_the_guest_whole(self) -> None:
        for seconds in (0, 0.1, 1, 5, 20):
            world = self.make_releasing()
            with (
                testtools.ExpectedException(ZeroDivisionError),
                world.transfer(),
            ):
                world.clock.wait(seconds)
                raise ZeroDivisionError
            world.migration.restore()
            self.assertTrue(world.is_whole(), seconds)

    def test_memory_can_be_restored_before_novas_rollback(self) -> None:
        world = self.make_releasing()
        with world.transfer():
            world.clock.wait(2)
            world.guest.transferred_kib = None
            world.migration.restore()
            self.assertTrue(world.is_whole())

    def test_a_guest_under_pressure_is_restored_during_the_transfer(
        self,
    ) -> None:
        for seconds in (2, 20):
            world = self.make_releasing()
            world.clock.after(
                seconds,
                lambda world=world: setattr(world.guest, 'used_kib', 4 * GIB),
            )
            with world.transfer():
                world.clock.wait(seconds + 10)
                world.guest.check()
                self.assertEqual(0, world.guest.missing_kib)
                # The entry cannot be erased before the guest has landed.
                self.assertIsNotNone(world.guest.metadata)
            self.assertEqual(
                [(4 * GIB,)], world.source.called('steer_balloon_kib')
            )
            self.assertEqual(
                seconds == 20, world.reporter.restored_during_transfer.called
            )
            world.land()
            self.assertTrue(world.is_whole())

    def test_a_shutdown_restores_the_guest_and_the_transfer_goes_on(
        self,
    ) -> None:
        for seconds in (2, 20):
            world = self.make_releasing()
            with world.transfer():
                world.clock.wait(seconds)
                self.assertFalse(world.migration.is_settled())
                world.migration.shut_down()
                world.clock.wait(1)
                self.assertTrue(world.migration.is_settled())
                self.assertEqual(4 * GIB, world.guest.target_kib)
                # The destination will see that it is whole.
                self.assertIsNotNone(world.guest.metadata)
            self.assertFalse(world.migration.is_settled())
            self.assertEqual(
                seconds == 20, world.reporter.restored_during_transfer.called
            )
            world.land()
            self.assertTrue(world.is_whole())

    def test_a_shutdown_as_the_transfer_starts_is_not_missed(self) -> None:
        world = self.make_releasing()
        world.migration.shut_down()
        with world.transfer():
            world.clock.wait(1)
            self.assertEqual(4 * GIB, world.guest.target_kib)

    def test_after_a_shutdown_nobody_backs_off(self) -> None:
        world = self.make_releasing()
        with world.transfer():
            world.clock.wait(20)
            world.migration.shut_down()
        world.migration.restore()
        world.start_again()
        self.assertTrue(world.prepare())
        with world.transfer():
            pass
        self.assertNotIn(Reason.BACKING_OFF, world.reasons())

    def test_a_guest_that_takes_memory_back_and_does_not_need_it(self) -> None:
        """No fight, and nobody backs off."""
        world = self.make_releasing()
        world.clock.after(
            20, lambda: setattr(world.guest, 'target_kib', 3 * GIB)
        )
        with world.transfer():
            world.clock.wait(30)
            self.assertEqual(4 * GIB, world.guest.target_kib)
        world.reporter.restored_during_transfer.assert_called_once_with(
            mock.ANY, EndReason.GREW
        )
        world.land()
        world.guest.host = 'source'
        world.start_again()
        self.assertTrue(world.prepare())
        with world.transfer():
            pass
        self.assertNotIn(Reason.BACKING_OFF, world.reasons())

    def test_after_pressure_the_next_release_is_skipped(self) -> None:
        world = self.make_releasing()
        world.clock.after(
            20, lambda: setattr(world.guest, 'used_kib', 4 * GIB)
        )
        with world.transfer():
            world.clock.wait(30)
        world.land()
        world.guest.host, world.guest.used_kib = 'source', 512 * MIB
        world.start_again()
        self.assertTrue(world.prepare())
        self.assertEqual(0, world.guest.missing_kib)
        with world.transfer():
            pass
        self.assertEqual([Reason.BACKING_OFF], world.reasons())

    def test_a_release_without_effect_is_undone(self) -> None:
        world = self.make_releasing(discards=False)
        with world.transfer():
            world.clock.wait(20)
            world.guest.check()
            self.assertEqual(0, world.guest.missing_kib)
        self.assertEqual([EndReason.NO_EFFECT], world.ends())

    def test_a_host_that_stops_reporting_is_an_error_and_memory_is_restored(
        self,
    ) -> None:
        world = self.make_releasing()
        world.clock.after(2, lambda: world.guest.tells.update(rss_kib=None))
        with world.transfer():
            world.clock.wait(20)
            world.guest.check()
            self.assertEqual(0, world.guest.missing_kib)
        world.reporter.error.assert_called_once()

    def test_a_host_without_threads_to_spare_transfers_everything(
        self,
    ) -> None:
        world = self.make_releasing()
        self.have_no_threads()
        with world.transfer():
            self.assertTrue(world.is_whole())
        self.assertEqual(1, world.reporter.error.call_count)

    def test_what_cannot_be_restored_is_reported_and_stays_in_the_journal(
        self,
    ) -> None:
        world = self.make_releasing()
        self.patch_autospec(
            world.source,
            'steer_balloon_kib',
            side_effect=fakes.libvirt_error(exceptions.LibvirtError, 'no'),
        )
        world.clock.after(2, lambda: world.guest.tells.update(rss_kib=None))
        with world.transfer():
            world.clock.wait(20)
        world.reporter.error.assert_called_once()
        world.guest.tells.clear()
        world.land()
        self.assertTrue(world.is_whole())

    def test_what_the_path_carried_is_learnt(self) -> None:
        world = self.make_releasing(used_kib=4000 * MIB, touched_kib=0)
        world.guest.remaining_kib = 1 * GIB
        with world.transfer():
            for tenth in range(1, 20):
                world.guest.transferred_kib = tenth * 10 * MIB
                world.clock.wait(0.1)
        ((dest, carried, _now),) = (
            call.args for call in world.engine.bandwidths.learn.call_args_list
        )
        self.assertEqual('dest', dest)
        self.assertAlmostEqual(
            100 * MIB, carried.alone_kib_per_second, delta=MIB
        )

    def test_a_guest_that_auto_converge_slows_down_is_waited_for(self) -> None:
        world = self.make_world(mode='during')
        guessed = world.engine.release_rates.of(world.source.uuid, 0.0)
        world.prepare()
        with world.transfer():
            world.guest.transferred_kib = 100 * MIB
            world.clock.wait(1)
            world.guest.throttle_percent = 99
            world.clock.wait(20)
            self.assertEqual([], world.ends())
        self.assertEqual([EndReason.TRANSFER_ENDED], world.ends())
        self.assertEqual(
            guessed,
            world.engine.release_rates.of(
                world.source.uuid, world.clock.now()
            ),
        )
        world.land()
        self.assertTrue(world.is_whole())

    def test_how_fast_the_guest_is_is_learnt_before_and_during_a_transfer(
        self,
    ) -> None:
        rates = {'inflate_kib_per_second', 'reclaim_kib_per_second'}
        for mode, learnt in (
            ('before', {*rates, 'is_fresh'}),
            ('during', rates),
        ):
            world = self.make_world(mode=mode, busy_balloon_share=0.5)
            guessed = world.engine.release_rates.of(world.source.uuid, 0.0)
            world.prepare()
            with world.transfer():
                world.clock.wait(60)
            now = world.engine.release_rates.of(
                world.source.uuid, world.clock.now()
            )
            self.assertEqual(
                learnt,
                {
                    field.name
                    for field in dataclasses.fields(now)
                    if getattr(now, field.name) != getattr(guessed, field.name)
                },
            )
