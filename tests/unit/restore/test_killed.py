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

"""A nova-compute that is killed at any moment, and started again.

Nothing that was running in it continues, not even a ``finally``. What is left
is the guest, libvirt, and the journal entry in the guest's domain.
"""

from collections.abc import Callable
import contextlib
from typing import Any

import hypothesis
from hypothesis import strategies

from nova_freemem.release.requests import Request
from tests.simulation import fake_clock
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base

INTERVAL_SECONDS = 60
DEFLATING_SECONDS = 6.5


class Killed(BaseException):
    """The process was killed."""


class MortalGuest(fakes.FakeGuest):
    """A guest whose process is killed at one of the calls.

    :ivar calls_left: how many calls succeed before
    """

    calls_left = 1 << 30

    def __getattribute__(self, name: str) -> Any:
        member = super().__getattribute__(name)
        if name.startswith('_') or name not in CALLS:
            return member
        self.calls_left -= 1
        if self.calls_left < 0:
            raise Killed
        return member


CALLS = {
    name
    for name, member in vars(fakes.FakeGuest).items()
    if hasattr(member, '__wrapped__')
}


class KilledTestCase(migrate_base.MigrationTestCase):
    def make_mortal_world(self, **guest: Any) -> migrate_base.World:
        world = self.make_world(**guest)
        world.source = MortalGuest(world.guest, 'source')
        world.destination = MortalGuest(world.guest, 'dest')
        world.start_again()

        def thread(
            target: Callable[..., object],
            args: tuple[Any, ...] = (),
            **kwargs: Any,
        ) -> fake_clock.FakeThread:
            def live(*args: Any) -> None:
                with contextlib.suppress(Killed):
                    target(*args)

            return world.clock.thread(live, args)

        self.thread.side_effect = thread
        return world

    def start_again_and_assert_restored(
        self, world: migrate_base.World, *because: Any
    ) -> None:
        """Start both nova-computes again, and wait an interval at most."""
        for domain in (world.source, world.destination):
            domain.calls_left = 0
            world.start_compute(domain.host)
        world.clock.wait(DEFLATING_SECONDS)
        if not world.is_whole():
            world.clock.wait(INTERVAL_SECONDS)
        self.assertTrue(world.is_whole(), because)


class SourceKilledTest(KilledTestCase):
    def leave(
        self,
        world: migrate_base.World,
        calls: int,
        request: Request | None = None,
    ) -> bool:
        """Migrate the guest, and have the source be killed meanwhile.

        :returns: whether it lived to see the end
        """
        world.source.calls_left = calls
        if request is not None:
            world.request_after(3, request)
        try:
            goes_on = world.prepare()
            if goes_on:
                with world.transfer():
                    world.clock.wait(3)
            world.migration.restore()
        except Killed:
            # Its threads are killed with it.
            world.guest.transferred_kib = None
            return False
        return True

    def test_killed_at_any_call_memory_is_restored_whether_it_landed_or_not(
        self,
    ) -> None:
        for mode in ('before', 'auto', 'during'):
            for lands in (False, True):
                calls, alive = 0, False
                while not alive:
                    world = self.make_mortal_world(mode=mode)
                    alive = self.leave(world, calls)
                    world.guest.host = 'dest' if lands else 'source'
                    self.start_again_and_assert_restored(
                        world, mode, lands, calls
                    )
                    calls += 1
                self.assertGreater(calls, 20)

    def test_killed_at_any_call_of_an_abort_memory_is_restored(self) -> None:
        calls, alive = 0, False
        while not alive:
            world = self.make_mortal_world()
            alive = self.leave(world, calls, Request.ABORT)
            self.start_again_and_assert_restored(world, calls)
            calls += 1

    def test_a_guest_that_is_still_transferred_is_not_touched(
        self,
    ) -> None:
        world = self.make_mortal_world()
        world.prepare()
        world.guest.transferred_kib = 0
        released_kib = world.guest.missing_kib
        world.start_compute('source')
        world.clock.wait(10 * INTERVAL_SECONDS)
        self.assertEqual(released_kib, world.guest.missing_kib)
        world.guest.transferred_kib = None
        world.guest.host = 'dest'
        self.start_again_and_assert_restored(world)


class DestinationKilledTest(KilledTestCase):
    def test_killed_at_any_call_memory_is_restored(self) -> None:
        calls, alive = 0, False
        while not alive:
            world = self.make_mortal_world()
            world.prepare()
            world.guest.host = 'dest'
            world.destination.calls_left = calls
            try:
                world.land()
                alive = True
            except Killed:
                pass
            self.start_again_and_assert_restored(world, calls)
            calls += 1
        self.assertGreater(calls, 10)


class KilledAgainAndAgainTest(KilledTestCase):
    @hypothesis.given(
        calls=strategies.lists(strategies.integers(0, 60), max_size=6),
        seconds=strategies.floats(0, 20),
        mode=strategies.sampled_from(['auto', 'before', 'during']),
        deflate_kib_per_second=strategies.sampled_from(
            [1200 * MIB, 600 * MIB]
        ),
        used_kib=strategies.integers(256 * MIB, 1 * GIB),
        lands=strategies.booleans(),
    )
    def test_memory_is_restored_in_the_end(
        self, calls: list[int], seconds: float, lands: bool, **guest: Any
    ) -> None:
        world = self.make_mortal_world(**guest)
        for lived in calls:
            domain = (
                world.source
                if world.guest.host == 'source'
                else world.destination
            )
            domain.calls_left = lived
            try:
                if domain is world.source:
                    world.start_again()
                    world.prepare()
                    world.guest.host = 'dest' if lands else 'source'
                else:
                    world.land()
            except Killed:
                pass
            world.clock.wait(seconds)
        self.start_again_and_assert_restored(world)
