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

"""A guest that lands."""

import dataclasses

from nova_freemem import exceptions
from nova_freemem.migrate import destination
from nova_freemem.migrate import restore_step
from nova_freemem.report import events
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from tests.simulation import fakes
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base


class DestinationTest(migrate_base.MigrationTestCase):
    def test_everything_is_back_at_the_destination(self) -> None:
        world = self.make_world()
        world.prepare()
        world.land()
        self.assertTrue(world.is_whole())
        world.reporter.event.assert_called_with(events.RESTORE)
        self.assertTrue(world.reporter.restored.call_args.args[0].complete)

    def test_what_began_as_it_resumed_is_seen_to(self) -> None:
        world = self.make_world()
        world.prepare()
        world.guest.host = 'dest'
        begun = restorations.begin(world.destination, world.clock).begun
        world.clock.wait(1)
        destination.restore_memory(
            world.destination, world.reporter, world.clock, begun
        )
        self.assertTrue(world.is_whole())
        self.assertEqual(1, len(world.destination.called('set_balloon_kib')))
        assigned = world.reporter.restored.call_args.args[0]
        self.assertGreater(assigned.seconds, 1)

    def test_what_was_begun_at_an_earlier_landing_is_begun_anew(self) -> None:
        world = self.make_world()
        world.prepare()
        world.guest.host = 'dest'
        earlier = restorations.begin(world.destination, world.clock)
        journal.write(
            world.destination,
            dataclasses.replace(earlier.entry, migration='another'),
        )
        destination.restore_memory(
            world.destination, world.reporter, world.clock, earlier.begun
        )
        self.assertTrue(world.is_whole())
        self.assertEqual(2, len(world.destination.called('set_balloon_kib')))

    def test_a_guest_without_an_entry_lands_as_ever(self) -> None:
        world = self.make_world()
        world.land()
        world.reporter.event.assert_not_called()
        self.assertEqual([('read_metadata',)], world.destination.calls)

    def test_after_an_error_of_ours_it_is_still_outstanding(self) -> None:
        for fault in (exceptions.LibvirtError, exceptions.DomainBusy):
            for call in range(1, 8):
                world = self.make_world()
                world.prepare()
                world.destination.fault_at[call] = fakes.libvirt_error(
                    fault, 'no'
                )
                world.land()
                world.reporter.restore_failed.assert_called_once()
                self.assertIsNotNone(world.guest.metadata)

    def test_an_entry_that_makes_no_sense_is_kept(self) -> None:
        world = self.make_world()
        world.guest.metadata = '<outstanding format="2"/>'
        world.land()
        self.assertEqual('<outstanding format="2"/>', world.guest.metadata)

    def test_a_late_guest_is_left_to_the_reconciler(self) -> None:
        world = self.make_world(deflate_kib_per_second=1 * MIB)
        world.prepare()
        landed_at = world.clock.now()
        world.land()
        self.assertAlmostEqual(
            restore_step.WAIT_SECONDS, world.clock.now() - landed_at, delta=0.2
        )
        self.thread.assert_not_called()
