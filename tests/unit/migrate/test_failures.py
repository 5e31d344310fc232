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

"""A migration with a fault at any of its steps."""

from typing import Any

import hypothesis
from hypothesis import strategies

from nova_freemem import exceptions
from nova_freemem.migrate import states
from nova_freemem.release.requests import Request
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.migrate import base as migrate_base


def kinds_of_fault() -> list[Exception]:
    return [
        fakes.libvirt_error(exceptions.LibvirtError, 'no'),
        fakes.libvirt_error(exceptions.DomainBusy, 'busy'),
        fakes.libvirt_error(exceptions.OperationInvalid, 'paused'),
        fakes.libvirt_error(exceptions.AgentCommandRefused, 'blocked'),
        RuntimeError('a fault in our own code'),
    ]


class FaultTest(migrate_base.MigrationTestCase):
    def run_with_fault(
        self,
        call: int,
        fault: Exception,
        request: Request | None = None,
        mode: str = 'before',
    ) -> migrate_base.World:
        world = self.make_world(mode=mode)
        world.source.fault_at[call] = fault
        if request is not None:
            world.request_after(3, request)
        goes_on = world.prepare()
        cancels = Request.ABORT in world.accepted_requests or (
            Request.SHUTDOWN in world.accepted_requests
            and not isinstance(world.state, states.Skipped)
        )
        self.assertEqual(not cancels, goes_on)
        if goes_on:
            with world.transfer():
                world.clock.wait(10)
        return world

    def test_a_fault_at_any_call_ends_with_the_guest_whole(self) -> None:
        broken, *others = kinds_of_fault()
        for fault, request, mode in (
            [(broken, request, 'before') for request in (None, *Request)]
            + [(fault, None, 'before') for fault in others]
            + [(fault, None, 'auto') for fault in kinds_of_fault()]
        ):
            call, was_used = 1, True
            while was_used:
                world = self.run_with_fault(call, fault, request, mode)
                was_used = not world.source.fault_at
                # The transfer fails; the fault may come while it restores.
                world.migration.restore()
                world.migration.restore()
                self.assertTrue(
                    world.is_whole(), f'{fault!r} at {call}, {request}, {mode}'
                )
                call += 1
            self.assertGreater(call, 10)

    def test_a_fault_before_the_landing_lets_it_succeed(self) -> None:
        for mode in ('before', 'auto'):
            for call in range(1, 60):
                world = self.run_with_fault(
                    call, RuntimeError('ours'), mode=mode
                )
                world.land()
                self.assertTrue(world.is_whole(), (call, mode))

    def test_a_fault_is_reported(self) -> None:
        for call in range(1, 20):
            world = self.run_with_fault(call, RuntimeError('ours'))
            self.assertTrue(
                world.reporter.error.called
                or world.reporter.restore_failed.called,
                call,
            )

    def test_a_guest_that_can_be_watched_no_more_is_restored_as_soon_as_it_can(
        self,
    ) -> None:
        world = self.make_world(mode='before')
        world.prepare()
        with world.transfer():
            world.clock.wait(5)
            self.assertGreater(world.guest.missing_kib, GIB)
            calls = len(world.source.calls)
            for call in range(calls + 1, calls + 6):
                world.source.fault_at[call] = fakes.libvirt_error(
                    exceptions.LibvirtError, 'QEMU does not answer'
                )
            world.clock.wait(8)
            self.assertEqual(4 * GIB, world.guest.target_kib)

    @hypothesis.given(
        faults=strategies.dictionaries(
            strategies.integers(1, 80),
            strategies.sampled_from(kinds_of_fault()),
            max_size=20,
        ),
        request=strategies.sampled_from([None, *Request]),
        order_seconds=strategies.floats(0, 15),
        mode=strategies.sampled_from(['auto', 'before', 'during']),
        inflates_down_to_kib=strategies.integers(0, 4 * GIB),
        deflates_up_to_kib=strategies.integers(4 * GIB - 8 * MIB, 4 * GIB + 1),
        used_kib=strategies.integers(0, 4 * GIB),
        touched_share=strategies.floats(0, 1),
        touched_first=strategies.booleans(),
        discards=strategies.booleans(),
        transfer_seconds=strategies.floats(0, 15),
        lands=strategies.booleans(),
    )
    def test_whatever_happens_nothing_is_missing_without_an_entry(
        self,
        faults: dict[int, Exception],
        request: Request | None,
        order_seconds: float,
        used_kib: int,
        touched_share: float,
        transfer_seconds: float,
        lands: bool,
        **guest: Any,
    ) -> None:
        world = self.make_world(used_kib=0, **guest)
        world.guest.used_kib = min(used_kib, 4 * GIB - 300 * MIB)
        world.guest.touched_kib = int(touched_share * world.guest.free_kib)
        world.source.fault_at |= faults
        if request is not None:
            world.request_after(order_seconds, request)
        if world.prepare():
            with world.transfer():
                world.clock.wait(transfer_seconds)
            if lands:
                world.land()
        world.migration.restore()
        world.source.fault_at.clear()
        world.guest.deflates_up_to_kib = 1 << 40
        world.start_compute(world.guest.host)
        world.clock.wait(60)
        self.assertTrue(world.is_whole())
