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

"""A guest migrates with all its memory, to see what a release would save."""

from typing import Any

from nova_freemem.migrate import states
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Reason
from nova_freemem.release.requests import Request
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base


class DryRunTest(base.MigrationTestCase):
    def make_dry(self, mode: str = 'before', **guest: Any) -> base.World:
        """:returns: a guest of a host that makes dry runs."""
        world = self.make_world(**guest)
        world.engine = world.engine.for_guest(
            fakes.make_policy(
                mode=mode, migration_bandwidth_mbps=1000, dry_run=True
            )
        )
        world.start_again()
        return world

    def transfer(self, world: base.World, mib_per_second: int = 100) -> None:
        """Let 20 seconds pass in which memory is sent."""
        with world.transfer():
            for second in range(20):
                world.guest.transferred_kib = second * mib_per_second * MIB
                world.clock.wait(1)
            world.guest.host = 'dest'
            world.clock.wait(3)  # Nova's own steps after the landing

    def plan(self, world: base.World) -> Plan:
        """:returns: what was said that would be released."""
        (call,) = world.reporter.dry_run.call_args_list
        plan: Plan = call.args[0]
        return plan

    def assert_untouched(self, world: base.World) -> None:
        """The guest has never had less memory, nor a journal entry."""
        self.assertEqual(4 * GIB, world.guest.least_kib)
        for name in (
            'write_metadata',
            'set_balloon_kib',
            'steer_balloon_kib',
        ):
            self.assertEqual([], world.source.called(name))
        self.assertEqual(10, world.guest.stats_period_seconds)
        self.assertEqual([], world.reporter.released.call_args_list)

    def test_nothing_is_released_and_what_would_be_is_said(self) -> None:
        for mode in ('before', 'during', 'auto'):
            world = self.make_dry(mode)
            self.assertTrue(world.prepare())
            self.transfer(world)
            plan = self.plan(world)
            self.assertGreater(plan.release_kib, 2 * GIB)
            self.assertEqual(mode, plan.mode.value)
            self.assert_untouched(world)
            self.assertEqual([], world.reasons())

    def test_the_transfer_starts_at_once(self) -> None:
        world = self.make_dry()
        began_at_seconds = world.clock.now()
        world.prepare()
        self.assertLess(world.clock.now() - began_at_seconds, 0.2)

    def test_what_the_transfer_took_is_compared(self) -> None:
        world = self.make_dry()
        world.prepare()
        self.transfer(world)
        (call,) = world.reporter.dry_run_ended.call_args_list
        plan, sent = call.args
        self.assertIs(self.plan(world), plan)
        # It is looked at once a second.
        self.assertAlmostEqual(19, sent.seconds, delta=1.1)
        self.assertEqual(1900 * MIB, sent.sent_kib)
        self.assertEqual(
            plan.original_kib - plan.nonresident_kib, plan.plain.sent_kib
        )
        self.assertAlmostEqual(
            plan.plain.sent_kib / plan.bandwidth.kib_per_second,
            plan.plain.plain_seconds,
        )

    def test_a_guest_that_would_be_skipped_has_its_reason(self) -> None:
        world = self.make_dry(used_kib=4 * GIB - 100 * MIB)
        world.prepare()
        self.transfer(world)
        self.assertEqual([Reason.NOTHING_FREE], world.reasons())
        self.assertEqual([], world.reporter.dry_run.call_args_list)
        self.assertEqual([], world.reporter.dry_run_ended.call_args_list)

    def test_a_migration_that_fails_is_not_compared(self) -> None:
        world = self.make_dry()
        world.prepare()
        with world.transfer():
            world.guest.transferred_kib = 100 * MIB
            world.clock.wait(1)
            world.migration.fail()
        self.assertEqual([], world.reporter.dry_run_ended.call_args_list)
        self.assert_untouched(world)

    def test_a_transfer_that_was_not_seen_is_not_compared(self) -> None:
        world = self.make_dry()
        world.prepare()
        with world.transfer():
            pass
        self.assertEqual([], world.reporter.dry_run_ended.call_args_list)

    def test_post_copy_is_not_compared(self) -> None:
        world = self.make_dry()
        world.prepare()
        with world.transfer():
            world.guest.transferred_kib = 100 * MIB
            world.clock.wait(1)
            world.migration.restore_for_post_copy()
            world.clock.wait(1)
        self.assertEqual([], world.reporter.dry_run_ended.call_args_list)

    def test_disks_are_copied_and_the_guest_is_asked_before(self) -> None:
        world = self.make_dry(copies_disks=True)
        world.prepare()
        plan = self.plan(world)
        self.assertGreater(plan.release_kib, 2 * GIB)
        with world.transfer():
            world.copy_disks(60)
            world.clock.wait(59)
            self.assert_untouched(world)
            world.clock.wait(2)
        self.assert_untouched(world)

    def test_an_abort_cancels_it(self) -> None:
        world = self.make_dry()
        world.migration.requests.submit(Request.ABORT)
        self.assertFalse(world.prepare())
        self.assert_untouched(world)

    def test_a_shutdown_leaves_it_to_nova(self) -> None:
        world = self.make_dry()
        world.reporter.dry_run.side_effect = lambda _plan: (
            world.migration.shut_down()
        )
        self.addCleanup(
            world.reporter.dry_run.__setattr__, 'side_effect', None
        )
        self.assertTrue(world.prepare())
        self.assertIsInstance(world.state, states.DryRun)
        self.assert_untouched(world)
