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

"""Restoring as a step of a migration, for as long as Nova may wait."""

import datetime
from typing import Any

from nova_freemem import exceptions
from nova_freemem.migrate import restore_step
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base


class RestoreStepTest(migrate_base.MigrationTestCase):
    def make_outstanding(self, **guest: Any) -> migrate_base.World:
        """:returns: a world whose guest misses 3 GiB."""
        world = self.make_world(**guest)
        journal.write(
            world.source,
            journal.JournalEntry(
                4 * GIB,
                'other',
                datetime.datetime.now(datetime.UTC),
                migrate_base.UUID,
                10,
            ),
        )
        world.guest.actual_kib = world.guest.target_kib = 1 * GIB
        world.guest.touched_kib = 0
        return world

    def begin(
        self, world: migrate_base.World
    ) -> restorations.Restoration | None:
        return restore_step.begin(world.source, world.reporter, world.clock)

    def test_outstanding_memory_is_restored(self) -> None:
        world = self.make_outstanding()
        self.assertFalse(restore_step.watch(self.begin(world), world.reporter))
        self.assertTrue(world.is_whole())
        self.assertTrue(world.reporter.restored.call_args.args[0].complete)

    def test_nothing_outstanding_is_nothing_to_watch(self) -> None:
        self.assertIsNone(self.begin(self.make_world()))

    def test_a_guest_that_has_left_is_none_to_complain_of(self) -> None:
        world = self.make_outstanding()
        world.guest.host = 'dest'
        self.assertIsNone(self.begin(world))
        world.reporter.restore_failed.assert_not_called()

    def test_what_cannot_begin_is_reported(self) -> None:
        for fault in (
            fakes.libvirt_error(exceptions.TargetRefused, 'too much'),
            RuntimeError('ours'),
        ):
            world = self.make_outstanding()
            world.source.fault_at[len(world.source.calls) + 3] = fault
            self.assertIsNone(self.begin(world))
            world.reporter.restore_failed.assert_called_once_with(fault)
            self.assertIsNotNone(world.guest.metadata)

    def test_a_domain_with_another_job_is_the_reconcilers(self) -> None:
        world = self.make_outstanding()
        fault = fakes.libvirt_error(exceptions.DomainBusy, 'busy')
        world.source.fault_at[len(world.source.calls) + 3] = fault
        self.assertRaises(exceptions.DomainBusy, self.begin, world)
        world.reporter.restore_failed.assert_called_once_with(fault)
        restoration = self.begin(world)
        world.clock.wait(60)
        world.source.fault_at[len(world.source.calls) + 1] = fault
        self.assertTrue(restore_step.watch(restoration, world.reporter))
        self.assertIsNotNone(world.guest.metadata)

    def test_an_entry_that_makes_no_sense_is_the_reconcilers_to_report(
        self,
    ) -> None:
        world = self.make_outstanding()
        world.guest.metadata = '<outstanding format="2"/>'
        self.assertIsNone(self.begin(world))
        world.reporter.restore_failed.assert_not_called()

    def test_a_slow_guest_is_waited_for_no_longer_than_nova_may(self) -> None:
        world = self.make_outstanding(deflate_kib_per_second=30 * MIB)
        started_at = world.clock.now()
        self.assertTrue(restore_step.watch(self.begin(world), world.reporter))
        self.assertAlmostEqual(
            restore_step.WAIT_SECONDS,
            world.clock.now() - started_at,
            delta=0.1,
        )
        self.assertFalse(world.reporter.restored.call_args.args[0].complete)
        self.assertEqual(4 * GIB, world.guest.target_kib)
        self.assertIsNotNone(world.guest.metadata)
        self.thread.assert_not_called()

    def test_a_guest_that_leaves_meanwhile_takes_its_entry_along(self) -> None:
        world = self.make_outstanding(deflate_kib_per_second=30 * MIB)
        assignment = self.begin(world)
        world.clock.after(1, lambda: setattr(world.guest, 'host', 'dest'))
        self.assertFalse(restore_step.watch(assignment, world.reporter))
        world.reporter.restore_failed.assert_not_called()
        self.assertIsNotNone(world.guest.metadata)

    def test_what_somebody_else_has_settled_is_nothing_to_tell_of(
        self,
    ) -> None:
        world = self.make_outstanding(deflate_kib_per_second=30 * MIB)
        assignment = self.begin(world)
        world.guest.metadata = None
        self.assertFalse(restore_step.watch(assignment, world.reporter))
        world.reporter.restored.assert_not_called()
