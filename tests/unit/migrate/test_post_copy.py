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

"""Memory is back before post-copy begins: later, nobody can restore it."""

import math
import threading
from typing import Any
from unittest import mock

from nova_freemem import exceptions
from nova_freemem.migrate import guest_release as releases
from nova_freemem.migrate import source
from nova_freemem.release import watch
from nova_freemem.release.base import EndReason
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base

MODES = ('before', 'during', 'auto')


class PostCopyTest(migrate_base.MigrationTestCase):
    """A transfer that switches to post-copy after some seconds."""

    def make_transferring(self, **guest: Any) -> migrate_base.World:
        world = self.make_world(**({'mode': 'during'} | guest))
        self.assertTrue(world.prepare())
        return world

    def switch(self, world: migrate_base.World) -> float:
        """:returns: the seconds that Nova's request waited."""
        asked_at = world.clock.now()
        world.migration.restore_for_post_copy()
        return world.clock.now() - asked_at

    def test_all_memory_is_back_when_it_begins(self) -> None:
        for mode in MODES:
            for seconds in (0.1, 1, 20):
                world = self.make_transferring(mode=mode)
                with world.transfer():
                    world.clock.wait(seconds)
                    world.guest.check()
                    self.assertGreater(world.guest.missing_kib, 0)
                    waited_seconds = self.switch(world)
                    world.guest.check()
                    self.assertEqual(4 * GIB, world.guest.target_kib)
                    if waited_seconds < releases.POST_COPY_RESTORE_SECONDS:
                        self.assertLess(world.guest.missing_kib, 2 * MIB)
                world.land()
                self.assertTrue(world.is_whole(), (mode, seconds))

    def test_what_is_left_of_the_release_says_why(self) -> None:
        releasing = self.make_transferring()
        with releasing.transfer():
            releasing.clock.wait(1)
            self.switch(releasing)
        self.assertEqual([EndReason.POST_COPY], releasing.ends())
        released = self.make_transferring(mode='before')
        with released.transfer():
            released.clock.wait(1)
            self.switch(released)
        self.assertEqual([EndReason.TARGET_REACHED], released.ends())
        released.reporter.restored_during_transfer.assert_called_once_with(
            mock.ANY, EndReason.POST_COPY
        )

    def test_a_guest_that_is_slow_is_not_waited_for(self) -> None:
        """It goes on at the destination, where QEMU has its target."""
        world = self.make_transferring(deflate_kib_per_second=1 * MIB)
        with world.transfer():
            world.clock.wait(5)
            self.assertAlmostEqual(
                releases.POST_COPY_RESTORE_SECONDS,
                self.switch(world),
                delta=watch.TICK_SECONDS + 0.01,
            )
        self.assertEqual(4 * GIB, world.guest.target_kib)

    def test_a_qemu_that_does_not_answer_is_not_waited_for(self) -> None:
        world = self.make_transferring()
        with world.transfer():
            world.clock.wait(1)
            world.guest.answers = threading.Event()
            self.assertAlmostEqual(
                source.POST_COPY_WAIT_SECONDS, self.switch(world)
            )
            world.guest.answers.set()

    def test_an_error_of_libvirt_keeps_nobody_waiting(self) -> None:
        for failing in ('steer_balloon_kib', 'memory_stats'):
            world = self.make_transferring(mode='before')
            with world.transfer():
                world.clock.wait(1)
                self.patch_autospec(
                    world.source,
                    failing,
                    side_effect=fakes.libvirt_error(
                        exceptions.LibvirtError, 'no'
                    ),
                )
                self.assertLess(self.switch(world), 1, failing)
            world.reporter.error.assert_called_once()

    def test_it_is_not_waited_for_twice(self) -> None:
        """Nova tries again each half second where the switch failed."""
        world = self.make_transferring()
        with world.transfer():
            world.clock.wait(1)
            self.switch(world)
            calls = len(world.source.called('steer_balloon_kib'))
            self.assertEqual(0, self.switch(world))
            self.assertEqual(
                calls, len(world.source.called('steer_balloon_kib'))
            )

    def test_a_guest_that_keeps_its_memory_is_not_waited_for(self) -> None:
        world = self.make_transferring(mode='before', discards=False)
        with world.transfer():
            self.assertEqual(0, self.switch(world))
        self.assertEqual([], world.source.called('steer_balloon_kib'))

    def test_before_the_transfer_there_is_no_post_copy(self) -> None:
        world = self.make_transferring()
        self.assertEqual(0, self.switch(world))

    def test_without_threads_nobody_is_waited_for(self) -> None:
        world = self.make_transferring()
        self.have_no_threads()
        with world.transfer():
            self.assertEqual(0, self.switch(world))

    def test_a_transfer_that_ends_meanwhile_ends_the_wait(self) -> None:
        world = self.make_transferring(deflate_kib_per_second=1 * MIB)
        with world.transfer():
            world.clock.wait(5)
            world.clock.after(
                0.5, lambda: setattr(world.guest, 'host', 'dest')
            )
            self.assertLess(self.switch(world), 1)

    def test_the_switch_never_waits_for_longer_than_its_bound(self) -> None:
        for rate in (1 * MIB, 100 * MIB, math.inf):
            for tenths in range(0, 60, 7):
                world = self.make_transferring(deflate_kib_per_second=rate)
                with world.transfer():
                    world.clock.wait(tenths / 10)
                    self.assertLessEqual(
                        self.switch(world), source.POST_COPY_WAIT_SECONDS
                    )
