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

"""One guest's journey, on good days and on bad ones."""

import threading
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies

from nova_freemem import engine as engines
from nova_freemem import exceptions
from nova_freemem import journal
from nova_freemem import migration
from nova_freemem import report
from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import guest_agent
from nova_freemem.clock import Order
from nova_freemem.reasons import Reason
from nova_freemem.release import balloon
from nova_freemem.release.base import End
from tests.unit import base
from tests.unit import fakes
from tests.unit.fakes import GIB
from tests.unit.fakes import MIB

UUID = '7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2'


class WatchedGuest(fakes.FakeGuest):
    """A guest that must never miss what nobody has written down."""

    def look(self) -> None:
        super().look()
        if self.missing_kib > 0:
            assert self.metadata is not None, 'missing and not owed'
            owed = journal.Owed.from_xml(self.metadata)
            assert owed.original_kib == self.memory_kib
            assert self.free_kib >= fakes.make_policy().headroom_kib(
                self.memory_kib), 'below its headroom'


class World:
    """A guest, two hosts, and one migration between them."""

    def __init__(self, **guest: Any) -> None:
        self.clock = fakes.FakeClock()
        self.guest = WatchedGuest(self.clock, **guest)
        self.source = fakes.FakeDomain(self.guest, 'source')
        self.destination = fakes.FakeDomain(self.guest, 'dest')
        self.reporter = mock.create_autospec(report.Reporter, instance=True)
        self.engine = engines.Engine(
            fakes.make_policy(),
            (guest_agent.GuestAgent('guest_agent', 5),
             balloon_stats.BalloonStats('balloon_stats', 5)),
            balloon.Balloon())
        self.departure = migration.Departure(
            self.source, self.engine, self.reporter, 'source', UUID,
            self.clock)

        self.taken_orders: list[Order] = []

    def order_after(self, seconds: float, order: Order) -> None:
        def give() -> None:
            if self.departure.orders.give(order):
                self.taken_orders.append(order)

        self.clock.after(seconds, give)

    def land(self, *, fails: bool = False) -> None:
        """Let the guest land, and Nova do its own first steps there."""
        self.guest.host = 'dest'
        arrival = migration.Arrival(self.destination, self.reporter,
                                    self.clock)
        with arrival.memory_given_back():
            if fails:
                raise ZeroDivisionError

    def is_whole(self) -> bool:
        """:returns: whether the guest has all, and is owed nothing."""
        self.guest.look()
        return (self.guest.missing_kib == 0 and self.guest.metadata is None
                and self.guest.target_kib == self.guest.memory_kib
                and self.guest.definition_kib == self.guest.memory_kib)

    def reasons(self) -> list[Reason]:
        return [call.args[0].reason for call
                in self.reporter.left_alone.call_args_list]

    def ends(self) -> list[End]:
        return [call.args[1].end for call
                in self.reporter.released.call_args_list]


class MigrationTestCase(base.TestCase):

    def setUp(self) -> None:
        super().setUp()
        self.thread = self.patch_autospec(threading, 'Thread')
        self.thread.return_value.is_alive.return_value = True


class DepartureTest(MigrationTestCase):

    def test_what_is_free_is_released_and_owed(self) -> None:
        world = World()
        self.assertTrue(world.departure.prepare('dest'))
        self.assertEqual([End.TARGET_REACHED], world.ends())
        headroom_kib = 4 * GIB * 5 // 100
        self.assertAlmostEqual(headroom_kib, world.guest.free_kib,
                               delta=MIB)
        owed = journal.read(world.source)
        self.assertEqual((4 * GIB, 'source', UUID),
                         (owed.original_kib, owed.taken_by, owed.migration))
        self.assertAlmostEqual(
            world.clock.wall() - owed.taken_at.timestamp(),
            world.clock.now() - 1000, 3)

    def test_it_is_written_down_before_the_first_page_is_taken(self) -> None:
        world = World()
        world.departure.prepare('dest')
        names = [call[0] for call in world.source.calls]
        self.assertLess(names.index('write_metadata'),
                        names.index('set_balloon_kib'))

    def test_the_second_source_is_asked_where_the_agent_is_silent(self
                                                                  ) -> None:
        world = World(agent=fakes.FakeAgent(latency_seconds=3600))
        world.departure.prepare('dest')
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
                (Reason.NO_ANSWER, {'agent': silent,
                                    'tells': {'free_kib': None}}),
                (Reason.NOTHING_FREE, {'used_kib': 4000 * MIB,
                                       'touched_kib': 0}),
                (Reason.WOULD_NOT_PAY, {'touched_kib': 10 * MIB})):
            world = World(**guest)
            if reason is Reason.NO_BALLOON:
                self.patch_autospec(world.source, 'balloon',
                                    return_value=None)
            self.assertTrue(world.departure.prepare('dest'))
            self.assertEqual([reason], world.reasons())
            self.assertEqual([], world.source.called('write_metadata'))
            self.assertEqual([], world.source.called('set_balloon_kib'))
            world.reporter.fault.assert_not_called()

    def test_a_migration_to_the_same_host_is_not_even_looked_at(self
                                                                ) -> None:
        world = World()
        self.assertTrue(world.departure.prepare('source'))
        self.assertEqual([Reason.SAME_HOST], world.reasons())
        self.assertEqual([], world.source.calls)

    def test_nothing_free_costs_no_time(self) -> None:
        world = World(used_kib=4000 * MIB, touched_kib=0)
        started_at = world.clock.now()
        world.departure.prepare('dest')
        self.assertLess(world.clock.now() - started_at, 0.15)

    def test_an_abort_gives_everything_back_and_stops_the_migration(self
                                                                    ) -> None:
        world = World()
        world.order_after(3, Order.ABORT)
        self.assertFalse(world.departure.prepare('dest'))
        self.assertEqual([End.ABORTED], world.ends())
        self.assertTrue(world.is_whole())

    def test_an_abort_while_the_guest_is_asked_takes_nothing(self) -> None:
        world = World(agent=fakes.FakeAgent(latency_seconds=2))
        world.order_after(1, Order.ABORT)
        self.assertFalse(world.departure.prepare('dest'))
        self.assertEqual([Reason.ORDERED], world.reasons())
        self.assertEqual([], world.source.called('set_balloon_kib'))

    def test_an_abort_at_any_moment_is_obeyed_or_passed_on(self) -> None:
        for tenths in range(0, 120, 3):
            world = World()
            world.order_after(tenths / 10, Order.ABORT)
            goes_on = world.departure.prepare('dest')
            world.clock.wait(60)
            self.assertEqual(not goes_on, Order.ABORT in world.taken_orders)
            if not goes_on:
                self.assertTrue(world.is_whole())

    def test_force_complete_keeps_the_gain_and_goes_on(self) -> None:
        world = World()
        world.order_after(3, Order.FORCE_COMPLETE)
        self.assertTrue(world.departure.prepare('dest'))
        self.assertEqual([End.FORCE_COMPLETE], world.ends())
        self.assertGreater(world.guest.missing_kib, 1000 * MIB)
        self.assertIsNotNone(world.guest.metadata)

    def test_a_guest_that_stops_half_way_keeps_a_partial_gain(self) -> None:
        world = World(gives_down_to_kib=2 * GIB)
        self.assertTrue(world.departure.prepare('dest'))
        self.assertEqual([End.NO_PROGRESS], world.ends())
        self.assertEqual(2 * GIB, world.guest.missing_kib)

    def test_memory_that_the_host_does_not_gain_goes_back(self) -> None:
        world = World(discards=False)
        self.assertTrue(world.departure.prepare('dest'))
        self.assertEqual([End.NOTHING_GAINED], world.ends())
        self.assertTrue(world.is_whole())

    def test_the_deadline_holds_for_asking_and_releasing_together(self
                                                                  ) -> None:
        world = World(inflate_kib_per_second=10 * MIB,
                      agent=fakes.FakeAgent(latency_seconds=4))
        started_at = world.clock.now()
        self.assertTrue(world.departure.prepare('dest'))
        self.assertEqual([End.DEADLINE], world.ends())
        self.assertAlmostEqual(120, world.clock.now() - started_at, delta=1)

    def test_a_slow_guest_is_waited_for_once_and_watched_beside(self
                                                                ) -> None:
        world = World(deflate_kib_per_second=1 * MIB)
        world.order_after(3, Order.ABORT)
        started_at = world.clock.now()
        self.assertFalse(world.departure.prepare('dest'))
        world.departure.give_back()
        self.assertAlmostEqual(3 + migration.ASSIGN_WAIT_SECONDS,
                               world.clock.now() - started_at, delta=0.3)
        self.assertEqual(1, self.thread.call_count)
        self.thread.return_value.start.assert_called_once_with()
        self.assertEqual(4 * GIB, world.guest.target_kib)
        self.assertIsNotNone(world.guest.metadata)
        watch = self.thread.call_args.kwargs
        watch['target'](*watch['args'])
        self.assertTrue(world.is_whole())

    def test_a_watcher_that_found_an_end_does_not_keep_others_away(self
                                                                   ) -> None:
        world = World(deflate_kib_per_second=1 * MIB)
        world.order_after(3, Order.ABORT)
        world.departure.prepare('dest')
        self.thread.return_value.is_alive.return_value = False
        world.guest.deflate_kib_per_second = 10 * GIB
        world.departure.give_back()
        self.assertTrue(world.is_whole())

    def test_a_host_without_threads_to_spare_is_told_of(self) -> None:
        world = World(deflate_kib_per_second=1 * MIB)
        self.thread.return_value.start.side_effect = RuntimeError('no thread')
        world.order_after(3, Order.ABORT)
        self.assertFalse(world.departure.prepare('dest'))
        self.assertTrue(world.reporter.not_assigned.called)

    def test_a_guest_that_left_is_none_to_complain_of(self) -> None:
        world = World()
        world.departure.prepare('dest')
        world.guest.host = 'dest'
        world.departure.give_back()
        world.reporter.not_assigned.assert_not_called()

    def test_a_guest_that_leaves_while_it_is_watched_is_none_either(self
                                                                    ) -> None:
        world = World(deflate_kib_per_second=1 * MIB)
        world.departure.prepare('dest')
        world.clock.after(1, lambda: setattr(world.guest, 'host', 'dest'))
        world.departure.give_back()
        world.reporter.not_assigned.assert_not_called()
        self.assertIsNotNone(world.guest.metadata)

    def test_an_older_debt_is_paid_where_the_guest_stays(self) -> None:
        world = World()
        world.departure.prepare('dest')
        again = World()
        again.guest.metadata = world.guest.metadata
        again.guest.actual_kib = again.guest.target_kib = 2 * GIB
        again.guest.touched_kib = 0
        self.assertTrue(again.departure.prepare('dest'))
        self.assertEqual([Reason.BALLOONED_ALREADY], again.reasons())
        again.departure.give_back()
        self.assertTrue(again.is_whole())


class ArrivalTest(MigrationTestCase):

    def test_everything_is_back_at_the_destination(self) -> None:
        world = World()
        world.departure.prepare('dest')
        world.land()
        self.assertTrue(world.is_whole())
        world.reporter.event.assert_called_with(report.ASSIGN_EVENT)
        self.assertTrue(world.reporter.assigned.call_args.args[0].complete)

    def test_it_begins_before_novas_own_steps(self) -> None:
        world = World()
        world.departure.prepare('dest')
        world.guest.host = 'dest'
        with migration.Arrival(world.destination, world.reporter,
                               world.clock).memory_given_back():
            self.assertEqual(4 * GIB, world.guest.target_kib)
            self.assertIsNotNone(world.guest.metadata)
        self.assertIsNone(world.guest.metadata)

    def test_a_guest_that_is_owed_nothing_lands_as_ever(self) -> None:
        world = World()
        world.land()
        world.reporter.event.assert_not_called()
        self.assertEqual([('read_metadata',)], world.destination.calls)

    def test_a_fault_of_novas_is_passed_on_and_the_memory_is_back(self
                                                                  ) -> None:
        world = World()
        world.departure.prepare('dest')
        self.assertRaises(ZeroDivisionError, world.land, fails=True)
        self.assertTrue(world.is_whole())

    def test_a_fault_of_ours_does_not_stop_nova_and_keeps_the_debt(self
                                                                   ) -> None:
        for call in range(1, 6):
            world = World()
            world.departure.prepare('dest')
            world.destination.fault_at[call] = fakes.libvirt_fault(
                exceptions.LibvirtFault, 'no')
            world.land()
            world.reporter.not_assigned.assert_called_once()
            self.assertIsNotNone(world.guest.metadata)

    def test_an_entry_that_makes_no_sense_is_told_of_and_kept(self) -> None:
        world = World()
        world.guest.metadata = '<owed format="2"/>'
        world.land()
        world.reporter.not_assigned.assert_called_once()
        self.assertEqual('<owed format="2"/>', world.guest.metadata)

    def test_a_late_guest_does_not_keep_nova_waiting(self) -> None:
        world = World(deflate_kib_per_second=1 * MIB)
        world.departure.prepare('dest')
        landed_at = world.clock.now()
        world.land()
        self.assertAlmostEqual(migration.ASSIGN_WAIT_SECONDS,
                               world.clock.now() - landed_at, delta=0.2)
        self.thread.return_value.start.assert_called_once_with()


def kinds_of_fault() -> list[Exception]:
    return [fakes.libvirt_fault(exceptions.LibvirtFault, 'no'),
            fakes.libvirt_fault(exceptions.DomainBusy, 'busy'),
            fakes.libvirt_fault(exceptions.OperationInvalid, 'paused'),
            fakes.libvirt_fault(exceptions.AgentRefused, 'blocked'),
            RuntimeError('a fault in our own code')]


class FaultTest(MigrationTestCase):

    def run_with_fault(self, call: int, fault: Exception, order: Order | None
                       ) -> World:
        world = World()
        world.source.fault_at[call] = fault
        if order is not None:
            world.order_after(3, order)
        goes_on = world.departure.prepare('dest')
        self.assertEqual(Order.ABORT not in world.taken_orders, goes_on)
        return world

    def test_a_fault_at_any_call_ends_with_the_guest_whole(self) -> None:
        broken, *others = kinds_of_fault()
        for fault, order in ([(broken, order) for order in (None, *Order)]
                             + [(fault, None) for fault in others]):
            call, was_used = 1, True
            while was_used:
                world = self.run_with_fault(call, fault, order)
                was_used = not world.source.fault_at
                # The transfer fails; the fault may come in giving back.
                world.departure.give_back()
                world.departure.give_back()
                self.assertTrue(world.is_whole(), f'{fault!r} at {call}')
                call += 1
            self.assertGreater(call, 10)

    def test_a_fault_before_the_transfer_lets_it_succeed(self) -> None:
        for call in range(1, 60):
            world = self.run_with_fault(call, RuntimeError('ours'), None)
            world.land()
            self.assertTrue(world.is_whole(), call)

    def test_a_fault_is_told_of(self) -> None:
        for call in range(1, 20):
            world = self.run_with_fault(call, RuntimeError('ours'), None)
            self.assertTrue(world.reporter.fault.called
                            or world.reporter.not_assigned.called, call)

    @hypothesis.given(
        faults=strategies.dictionaries(
            strategies.integers(1, 80),
            strategies.sampled_from(kinds_of_fault()), max_size=20),
        order=strategies.sampled_from([None, *Order]),
        order_seconds=strategies.floats(0, 15),
        gives_down_to_kib=strategies.integers(0, 4 * GIB),
        takes_up_to_kib=strategies.integers(4 * GIB - 8 * MIB, 4 * GIB + 1),
        used_kib=strategies.integers(0, 4 * GIB),
        touched_share=strategies.floats(0, 1),
        touched_first=strategies.booleans(),
        discards=strategies.booleans(),
        transfer=strategies.booleans())
    def test_whatever_happens_nothing_is_missing_that_is_not_owed(
            self, faults: dict[int, Exception], order: Order | None,
            order_seconds: float, used_kib: int, touched_share: float,
            transfer: bool, **guest: Any) -> None:
        world = World(used_kib=0, **guest)
        world.guest.used_kib = min(used_kib, 4 * GIB - 300 * MIB)
        world.guest.touched_kib = int(touched_share * world.guest.free_kib)
        world.source.fault_at |= faults
        if order is not None:
            world.order_after(order_seconds, order)
        goes_on = world.departure.prepare('dest')
        if goes_on and transfer:
            world.land()
        world.departure.give_back()
        world.source.fault_at.clear()
        self.thread.return_value.is_alive.return_value = False
        world.guest.takes_up_to_kib = 1 << 40
        world.departure.give_back()
        if world.guest.host == 'dest':
            world.land()
        self.assertTrue(world.is_whole())
