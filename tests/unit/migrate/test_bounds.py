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

"""How long a migration waits at most; the manual's page on security says so.

A libvirt call that changes a domain waits for another job for 30 s, and then
fails.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
import pathlib
import threading
from typing import Any

from nova_freemem.migrate import states
from nova_freemem.plan.reasons import Reason
from nova_freemem.release.requests import Request
from nova_freemem.restore import reconciler
from nova_freemem.virt import guest as guests
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base

DOC = pathlib.Path(__file__).parents[3] / 'doc' / 'source'

DEADLINE_SECONDS = 10
# One such call, and what a migration waits for the guest to be restored.
ADDED_SECONDS = 30 + reconciler.WAIT_SECONDS
# Ticks, and what the agent takes.
NOISE_SECONDS = 0.5


class Calls(list[tuple[Any, ...]]):
    """The calls to libvirt, of which one is the last before a job begins."""

    def __init__(self, last: int, begin_job: Callable[[], None]) -> None:
        super().__init__()
        self.last = last
        self._begin_job = begin_job

    def append(self, call: tuple[Any, ...]) -> None:
        super().append(call)
        if len(self) == self.last:
            self._begin_job()


class StuckJobTest(migrate_base.MigrationTestCase):
    """A job holds the domain, and does not end while the migration waits."""

    def make_stuck(
        self, last: int, shown: bool, mode: str, request: Request | None
    ) -> tuple[migrate_base.World, Calls]:
        world = self.make_world(mode=mode)
        world.engine = dataclasses.replace(
            world.engine,
            policy=dataclasses.replace(
                world.engine.policy, deadline_seconds=DEADLINE_SECONDS
            ),
        )
        world.start_again()
        world.reconciler.start()
        self.addCleanup(world.reconciler.stop)
        calls = Calls(last, lambda: self.set_job(world, shown, True))
        world.source.calls = calls
        if request is not None:
            world.request_after(3, request)
        return world, calls

    def set_job(
        self, world: migrate_base.World, shown: bool, stuck: bool
    ) -> None:
        if shown:
            world.guest.transferred_kib = 0 if stuck else None
        else:
            world.guest.hangs = stuck

    def end_job(self, world: migrate_base.World, shown: bool) -> None:
        self.set_job(world, shown, False)

    def assert_waits(self, seconds: float, longest: float, at: Any) -> None:
        self.assertLessEqual(seconds, longest + NOISE_SECONDS, at)

    def for_each_call(self) -> Any:
        for shown in (True, False):
            for mode in ('before', 'auto', 'during'):
                for request in (None, Request.ABORT):
                    last, was_reached = 0, True
                    while was_reached:
                        last += 1
                        world, calls = self.make_stuck(
                            last, shown, mode, request
                        )
                        started_at = world.clock.now()
                        goes_on = world.prepare()
                        seconds = world.clock.now() - started_at
                        was_reached = len(calls) >= last
                        calls.last = 0
                        at = (shown, mode, request, calls[last - 1 :])
                        yield world, shown, goes_on, seconds, at
                    self.assertGreater(last, 10)

    def test_the_transfer_waits_once_for_it(self) -> None:
        for world, shown, goes_on, seconds, at in self.for_each_call():
            self.assert_waits(
                seconds,
                DEADLINE_SECONDS + ADDED_SECONDS,
                at,
            )
            self.end_job(world, shown)  # Nova's own call has waited as well
            if goes_on:
                with world.transfer():
                    world.clock.wait(20)
                world.land()
            world.migration.restore()
            world.start_compute(world.guest.host)
            world.clock.wait(120)
            self.assertTrue(world.is_whole(), at)

    def test_a_failed_migration_waits_once_more(self) -> None:
        for world, shown, _goes_on, _seconds, at in self.for_each_call():
            started_at = world.clock.now()
            world.migration.restore()
            world.migration.restore()
            self.assert_waits(
                world.clock.now() - started_at,
                ADDED_SECONDS,
                at,
            )
            self.end_job(world, shown)
            world.start_compute('source')
            world.clock.wait(120)
            self.assertTrue(world.is_whole(), at)

    def test_the_manual_says_how_much_is_added(self) -> None:
        page = (DOC / 'admin' / 'security.rst').read_text()
        self.assertIn(f'at most {ADDED_SECONDS:.0f} s are added', page)

    def test_a_job_that_is_shown_is_not_waited_for(self) -> None:
        world, _calls = self.make_stuck(1, True, 'before', None)
        started_at = world.clock.now()
        self.assertTrue(world.prepare())
        self.assertEqual(started_at, world.clock.now())
        with world.transfer():
            world.clock.wait(1)
        self.assertEqual([Reason.DOMAIN_BUSY], world.reasons())

    def test_a_qemu_that_answers_nobody_is_not_waited_for(self) -> None:
        world, _calls = self.make_stuck(0, False, 'before', None)
        world.guest.answers = threading.Event()
        self.addCleanup(world.guest.answers.set)
        self.thread.side_effect = world.clock.thread
        threading.Thread(target=world.source.memory_stats).start()
        world.clock.wait(guests.OCCUPIED_MILLISECONDS / 1000)
        started_at = world.clock.now()
        self.assertTrue(world.prepare())
        self.assertEqual(started_at, world.clock.now())
        self.assertIsInstance(world.state, states.Skipped)
        self.assertIs(Reason.DOMAIN_BUSY, world.state.skip.reason)

    def test_a_release_under_a_job_ends_by_the_monitor(self) -> None:
        """A snapshot, for one: nothing waits for it to end."""
        world, _calls = self.make_stuck(0, True, 'before', None)
        world.guest.inflate_kib_per_second = 100 * MIB
        world.clock.after(3, lambda: self.set_job(world, True, True))
        started_at = world.clock.now()
        self.assertTrue(world.prepare())
        self.assert_waits(
            world.clock.now() - started_at, DEADLINE_SECONDS, 'deadline'
        )
        self.assertEqual(1, len(world.source.called('steer_balloon_kib')))
        world.reporter.error.assert_not_called()
