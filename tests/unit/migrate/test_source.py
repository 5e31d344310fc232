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

"""A guest that leaves, on good days and on bad ones."""

import dataclasses
import functools
from typing import Any

import testtools

from nova_freemem import exceptions
from nova_freemem.clock import Request
from nova_freemem.migrate import restore_step
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import planner
from nova_freemem.plan.reasons import Reason
from nova_freemem.release import balloon
from nova_freemem.release.base import EndReason
from nova_freemem.restore import journal
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as journey


class WatchedByAnEraser(balloon.Balloon):
    """Somebody finds the guest whole as its balloon is about to move."""

    def start(self, domain: fakes.FakeDomain, plan: planner.Plan) -> None:
        super().start(domain, plan)
        domain.guest.metadata = None


class FirstTest(journey.JourneyTestCase):
    """Memory is released before the transfer starts."""

    def test_what_is_free_is_released_and_owed(self) -> None:
        world = self.make_world()
        self.assertTrue(world.migration.prepare('dest'))
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())
        headroom_kib = 4 * GIB * 5 // 100
        self.assertAlmostEqual(
            headroom_kib * 1.25, world.guest.free_kib, delta=MIB
        )
        owed = journal.read(world.source)
        self.assertEqual(
            (4 * GIB, 'source', journey.UUID),
            (owed.original_kib, owed.source, owed.migration),
        )
        self.assertAlmostEqual(
            world.clock.wall() - owed.released_at.timestamp(),
            world.clock.now() - 1000,
            3,
        )

    def test_what_is_not_resident_is_not_waited_for(self) -> None:
        world = self.make_world(touched_kib=2 * GIB)
        world.migration.prepare('dest')
        self.assertEqual([EndReason.RESIDENT_RELEASED], world.ends())
        self.assertAlmostEqual(
            2 * GIB, world.guest.missing_kib, delta=300 * MIB
        )
        self.assertEqual(world.guest.actual_kib, world.guest.target_kib)

    def test_a_balloon_that_moved_on_while_it_was_told_to_stop_comes_back(
        self,
    ) -> None:
        world = self.make_world(touched_kib=2 * GIB)
        set_balloon_kib = world.source.set_balloon_kib

        def set_late(target_kib: int, **kwargs: Any) -> None:
            if target_kib == world.guest.actual_kib:
                world.guest.actual_kib -= 20 * MIB
            set_balloon_kib(target_kib, **kwargs)

        self.patch(world.source, 'set_balloon_kib', set_late)
        world.migration.prepare('dest')
        with world.transfer():
            world.clock.wait(20)
            self.assertGreater(world.guest.missing_kib, 2 * GIB)
        self.assertEqual([EndReason.RESIDENT_RELEASED], world.ends())
        world.reporter.pressure_during_transfer.assert_not_called()

    def test_it_is_written_down_before_the_first_page_is_taken(self) -> None:
        world = self.make_world()
        world.migration.prepare('dest')
        names = [call[0] for call in world.source.calls]
        self.assertLess(
            names.index('write_metadata'), names.index('set_balloon_kib')
        )

    def test_the_second_source_is_asked_where_the_agent_is_silent(
        self,
    ) -> None:
        world = self.make_world(agent=fakes.FakeAgent(latency_seconds=3600))
        world.migration.prepare('dest')
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
        world.migration.prepare('dest')
        plan = world.reporter.released.call_args.args[0]
        self.assertEqual('balloon_stats', plan.source)

    def test_each_guest_left_alone_is_so_for_its_own_reason(self) -> None:
        silent = fakes.FakeAgent(latency_seconds=3600)
        for reason, guest in (
            (Reason.NOT_RUNNING, {'running': False}),
            (Reason.NO_BALLOON, {'tells': {'actual_kib': None}}),
            (Reason.NO_BALLOON_DRIVER, {'has_driver': False}),
            (Reason.NO_RSS, {'tells': {'rss_kib': None}}),
            (Reason.BALLOONED_ALREADY, {'tells': {'actual_kib': 3}}),
            (Reason.NO_SOURCE, {'agent': silent, 'tells': {'free_kib': None}}),
            (Reason.NOTHING_FREE, {'used_kib': 4000 * MIB, 'touched_kib': 0}),
            (Reason.NOT_WORTHWHILE, {'touched_kib': 10 * MIB}),
        ):
            world = self.make_world(**guest)
            if reason is Reason.NO_BALLOON:
                self.patch_autospec(
                    world.source, 'memory_stats', return_value=None
                )
            self.assertTrue(world.migration.prepare('dest'))
            with world.transfer():
                pass
            self.assertEqual([reason], world.reasons())
            self.assertEqual([], world.source.called('write_metadata'))
            self.assertEqual([], world.source.called('set_balloon_kib'))
            self.assertEqual(10, world.guest.stats_period_seconds)
            world.reporter.error.assert_not_called()

    def test_a_migration_to_the_same_host_is_not_even_looked_at(self) -> None:
        world = self.make_world()
        self.assertTrue(world.migration.prepare('source'))
        self.assertEqual([], world.source.calls)
        with world.transfer():
            pass
        self.assertEqual([Reason.SAME_HOST], world.reasons())

    def test_nothing_free_costs_no_time(self) -> None:
        world = self.make_world(used_kib=4000 * MIB, touched_kib=0)
        started_at = world.clock.now()
        world.migration.prepare('dest')
        self.assertLess(world.clock.now() - started_at, 0.05)
        self.assertEqual([], world.source.called('agent_command'))

    def test_an_abort_gives_everything_back_and_stops_the_migration(
        self,
    ) -> None:
        world = self.make_world()
        world.request_after(3, Request.ABORT)
        self.assertFalse(world.migration.prepare('dest'))
        self.assertEqual([EndReason.ABORTED], world.ends())
        self.assertTrue(world.is_whole())

    def test_an_abort_while_the_guest_is_asked_takes_nothing(self) -> None:
        world = self.make_world(agent=fakes.FakeAgent(latency_seconds=2))
        world.request_after(1, Request.ABORT)
        self.assertFalse(world.migration.prepare('dest'))
        self.assertEqual([], world.source.called('set_balloon_kib'))
        self.assertEqual([], world.source.called('write_metadata'))

    def test_an_abort_at_any_moment_is_obeyed_or_passed_on(self) -> None:
        for tenths in range(0, 120, 3):
            world = self.make_world()
            world.request_after(tenths / 10, Request.ABORT)
            goes_on = world.migration.prepare('dest')
            world.clock.wait(60)
            self.assertEqual(
                not goes_on, Request.ABORT in world.taken_requests
            )
            if not goes_on:
                self.assertTrue(world.is_whole())

    def test_force_complete_keeps_the_gain_and_goes_on(self) -> None:
        world = self.make_world()
        world.request_after(3, Request.FORCE_COMPLETE)
        self.assertTrue(world.migration.prepare('dest'))
        self.assertEqual([EndReason.FORCE_COMPLETE], world.ends())
        self.assertGreater(world.guest.missing_kib, 1000 * MIB)
        self.assertIsNotNone(world.guest.metadata)

    def test_a_guest_that_stops_half_way_keeps_a_partial_gain(self) -> None:
        world = self.make_world(gives_down_to_kib=2 * GIB)
        self.assertTrue(world.migration.prepare('dest'))
        self.assertEqual([EndReason.NO_PROGRESS], world.ends())
        self.assertEqual(2 * GIB, world.guest.missing_kib)

    def test_memory_that_the_host_does_not_gain_goes_back(self) -> None:
        world = self.make_world(discards=False)
        self.assertTrue(world.migration.prepare('dest'))
        self.assertEqual([EndReason.NO_EFFECT], world.ends())
        self.assertTrue(world.is_whole())

    def test_the_deadline_holds_for_asking_and_releasing_together(
        self,
    ) -> None:
        world = self.make_world(
            inflate_kib_per_second=20 * MIB,
            agent=fakes.FakeAgent(latency_seconds=4),
        )
        world.engine.links.rate.return_value = bandwidths.Bandwidth(
            10 * MIB, bandwidths.Origin.CONFIGURED
        )
        started_at = world.clock.now()
        self.assertTrue(world.migration.prepare('dest'))
        self.assertEqual([EndReason.DEADLINE], world.ends())
        self.assertAlmostEqual(120, world.clock.now() - started_at, delta=1)

    def test_a_slow_guest_is_waited_for_once_and_left_to_the_reconciler(
        self,
    ) -> None:
        world = self.make_world(deflate_kib_per_second=30 * MIB)
        world.request_after(3, Request.ABORT)
        started_at = world.clock.now()
        self.assertFalse(world.migration.prepare('dest'))
        world.migration.restore()
        self.assertAlmostEqual(
            3 + restore_step.WAIT_SECONDS,
            world.clock.now() - started_at,
            delta=0.3,
        )
        self.assertEqual(4 * GIB, world.guest.target_kib)
        self.assertIsNotNone(world.guest.metadata)
        world.start_compute('source')
        world.clock.wait(60)
        self.assertTrue(world.is_whole())

    def test_a_guest_that_left_is_none_to_complain_of(self) -> None:
        world = self.make_world()
        world.migration.prepare('dest')
        world.guest.host = 'dest'
        world.migration.restore()
        world.reporter.restore_failed.assert_not_called()

    def test_a_guest_that_leaves_while_it_is_watched_is_none_either(
        self,
    ) -> None:
        world = self.make_world(deflate_kib_per_second=1 * MIB)
        world.migration.prepare('dest')
        world.clock.after(1, lambda: setattr(world.guest, 'host', 'dest'))
        world.migration.restore()
        world.reporter.restore_failed.assert_not_called()
        self.assertIsNotNone(world.guest.metadata)

    def test_an_older_debt_is_paid_where_the_guest_stays(self) -> None:
        world = self.make_world()
        world.migration.prepare('dest')
        again = self.make_world()
        again.guest.metadata = world.guest.metadata
        again.guest.actual_kib = again.guest.target_kib = 2 * GIB
        again.guest.touched_kib = 0
        again.guest.stats_period_seconds = 1
        self.assertTrue(again.migration.prepare('dest'))
        with again.transfer():
            pass
        self.assertEqual([Reason.OUTSTANDING_MEMORY], again.reasons())
        again.migration.restore()
        self.assertTrue(again.is_whole())

    def test_an_entry_of_somebody_else_is_not_written_over(self) -> None:
        world = self.make_world()
        world.guest.metadata = '<outstanding format="2"/>'
        self.assertTrue(world.migration.prepare('dest'))
        world.migration.restore()
        self.assertEqual('<outstanding format="2"/>', world.guest.metadata)
        self.assertEqual(4 * GIB, world.guest.target_kib)
        self.assertFalse(world.reporter.error.called)

    def test_a_debt_that_somebody_erased_is_written_down_again(self) -> None:
        for mode in ('before', 'auto', 'during'):
            world = self.make_world(mode=mode)
            world.guest.check = functools.partial(
                fakes.FakeGuest.check, world.guest
            )
            world.migration._engine = dataclasses.replace(
                world.engine, releaser=WatchedByAnEraser()
            )
            world.migration.prepare('dest')
            world.land()
            self.assertTrue(world.is_whole(), mode)

    def test_windows_keeps_what_its_driver_needs(self) -> None:
        world = self.make_world(os_type='windows')
        world.migration.prepare('dest')
        self.assertGreaterEqual(world.guest.least_free_kib, 1 * GIB)

    def test_while_it_is_transferred_it_is_held(self) -> None:
        world = self.make_world()
        world.migration.prepare('dest')
        with world.transfer():
            world.clock.wait(20)
            self.assertGreater(world.guest.missing_kib, 3 * GIB)
        self.assertEqual([], world.source.called('steer_balloon_kib'))
        world.reporter.pressure_during_transfer.assert_not_called()


class BesideTest(journey.JourneyTestCase):
    """Memory is released while the transfer runs."""

    def depart(self, **guest: Any) -> journey.World:
        world = self.make_world(mode='during', **guest)
        self.assertTrue(world.migration.prepare('dest'))
        return world

    def test_the_transfer_starts_at_once_and_the_release_with_it(self) -> None:
        world = self.make_world(mode='during')
        started_at = world.clock.now()
        self.assertTrue(world.migration.prepare('dest'))
        self.assertLess(world.clock.now() - started_at, 0.15)
        with world.transfer():
            world.clock.wait(1)
            world.guest.check()
            self.assertGreater(world.guest.missing_kib, 300 * MIB)
            world.clock.wait(20)
            self.assertGreater(world.guest.missing_kib, 3 * GIB)
        self.assertEqual([EndReason.TARGET_REACHED], world.ends())
        self.assertIsNotNone(world.guest.metadata)
        world.reporter.error.assert_not_called()

    def test_a_transfer_quicker_than_the_release_ends_it(self) -> None:
        world = self.depart()
        with world.transfer():
            world.clock.wait(2)
            world.guest.host = 'dest'
        self.assertEqual([EndReason.TRANSFER_ENDED], world.ends())
        world.reporter.error.assert_not_called()
        world.reporter.pressure_during_transfer.assert_not_called()

    def test_no_thread_outlives_the_transfer(self) -> None:
        world = self.depart()
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
            world = self.depart()
            with (
                testtools.ExpectedException(ZeroDivisionError),
                world.transfer(),
            ):
                world.clock.wait(seconds)
                raise ZeroDivisionError
            world.migration.restore()
            self.assertTrue(world.is_whole(), seconds)

    def test_memory_can_be_back_before_novas_rollback(self) -> None:
        world = self.depart()
        with world.transfer():
            world.clock.wait(2)
            world.guest.transferred_kib = None
            world.migration.restore()
            self.assertTrue(world.is_whole())

    def test_a_guest_in_need_gets_everything_back_during_the_transfer(
        self,
    ) -> None:
        for seconds in (2, 20):
            world = self.depart()
            world.clock.after(
                seconds,
                lambda world=world: setattr(world.guest, 'used_kib', 4 * GIB),
            )
            with world.transfer():
                world.clock.wait(seconds + 10)
                world.guest.check()
                self.assertEqual(0, world.guest.missing_kib)
                # What is owed cannot be erased before the guest has landed.
                self.assertIsNotNone(world.guest.metadata)
            self.assertEqual(
                [(4 * GIB,)], world.source.called('steer_balloon_kib')
            )
            self.assertEqual(
                seconds == 20, world.reporter.pressure_during_transfer.called
            )
            world.land()
            self.assertTrue(world.is_whole())

    def test_it_is_left_alone_the_next_time(self) -> None:
        world = self.depart()
        world.clock.after(
            20, lambda: setattr(world.guest, 'used_kib', 4 * GIB)
        )
        with world.transfer():
            world.clock.wait(30)
        world.land()
        world.guest.host, world.guest.used_kib = 'source', 512 * MIB
        world.start_again()
        self.assertTrue(world.migration.prepare('dest'))
        self.assertEqual(0, world.guest.missing_kib)
        with world.transfer():
            pass
        self.assertEqual([Reason.BACKING_OFF], world.reasons())

    def test_memory_that_the_host_does_not_gain_goes_back(self) -> None:
        world = self.depart(discards=False)
        with world.transfer():
            world.clock.wait(20)
            world.guest.check()
            self.assertEqual(0, world.guest.missing_kib)
        self.assertEqual([EndReason.NO_EFFECT], world.ends())

    def test_a_host_that_stops_telling_is_a_fault_and_memory_goes_back(
        self,
    ) -> None:
        world = self.depart()
        world.clock.after(2, lambda: world.guest.tells.update(rss_kib=None))
        with world.transfer():
            world.clock.wait(20)
            world.guest.check()
            self.assertEqual(0, world.guest.missing_kib)
        world.reporter.error.assert_called_once()

    def test_a_host_without_threads_to_spare_transfers_everything(
        self,
    ) -> None:
        world = self.depart()
        self.have_no_threads()
        with world.transfer():
            self.assertTrue(world.is_whole())
        self.assertEqual(1, world.reporter.error.call_count)

    def test_what_cannot_even_be_steered_is_told_of_and_owed(self) -> None:
        world = self.depart()
        self.patch_autospec(
            world.source,
            'steer_balloon_kib',
            side_effect=fakes.libvirt_fault(exceptions.LibvirtError, 'no'),
        )
        world.clock.after(2, lambda: world.guest.tells.update(rss_kib=None))
        with world.transfer():
            world.clock.wait(20)
        world.reporter.error.assert_called_once()
        world.guest.tells.clear()
        world.land()
        self.assertTrue(world.is_whole())

    def test_what_the_link_carried_is_remembered(self) -> None:
        world = self.depart(used_kib=4000 * MIB, touched_kib=0)
        with world.transfer():
            for second in range(1, 10):
                world.clock.wait(1)
                world.guest.transferred_kib = second * 100 * MIB
        ((dest, rate),) = (
            call.args for call in world.engine.links.remember.call_args_list
        )
        self.assertEqual('dest', dest)
        self.assertAlmostEqual(100 * MIB, rate)
