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

"""The fakes behave, and look, like what they stand for."""

from collections.abc import Callable
import inspect
import json
import math
import threading

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts
from tests import base
from tests.simulation import fake_clock
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.guest import JournalWatch


def signature(method: Callable[..., object]) -> inspect.Signature:
    """:returns: what a caller has to know, annotations apart."""
    bare = inspect.signature(method)
    return bare.replace(
        parameters=[
            parameter.replace(annotation=parameter.empty)
            for parameter in bare.parameters.values()
        ],
        return_annotation=bare.empty,
    )


def public(kind: type) -> dict[str, object]:
    return {
        name: member
        for name, member in vars(kind).items()
        if not name.startswith('_')
    }


class SignaturesTest(base.TestCase):
    def test_fake_guest_offers_what_the_real_one_does(self) -> None:
        real, fake = public(guests.Guest), public(fakes.FakeGuest)
        self.assertEqual(set(real), set(fake) - {'called'})
        for name, method in real.items():
            if callable(method):
                self.assertEqual(
                    signature(method), signature(fake[name]), name
                )

    def test_fake_host_offers_what_the_real_one_does(self) -> None:
        fake = public(fakes.FakeHost)
        for name, method in public(hosts.Host).items():
            if name != 'at':
                self.assertEqual(
                    signature(method), signature(fake[name]), name
                )

    def test_fake_clock_offers_what_the_real_one_does(self) -> None:
        fake = public(fakes.FakeClock)
        for name, method in public(clocks.Clock).items():
            self.assertEqual(signature(method), signature(fake[name]), name)

    def test_fake_thread_is_made_and_used_like_a_real_one(self) -> None:
        fake = public(fake_clock.FakeThread)
        real = inspect.signature(threading.Thread).parameters
        self.assertLessEqual(
            set(inspect.signature(fakes.FakeClock.thread).parameters)
            - {'self'},
            set(real),
        )
        self.assertLessEqual(set(fake), set(dir(threading.Thread)))


class FakeClockTest(base.TestCase):
    def test_wait_takes_no_time_and_lets_time_pass(self) -> None:
        clock = fakes.FakeClock()
        started_at, wall = clock.now(), clock.wall()
        clock.wait(3600)
        self.assertEqual(3600, clock.now() - started_at)
        self.assertEqual(3600, clock.wall() - wall)

    def test_what_is_scheduled_happens_at_its_time_and_ends_the_wait(
        self,
    ) -> None:
        clock = fakes.FakeClock()
        started_at, arrived = clock.now(), threading.Event()
        clock.after(2, arrived.set)
        clock.wait(1, until=arrived)
        self.assertFalse(arrived.is_set())
        clock.wait(10, until=arrived)
        self.assertEqual(2, clock.now() - started_at)


class FakeThreadTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.story: list[str] = []

    def act(self, name: str, seconds: float) -> None:
        for _time in range(2):
            self.clock.wait(seconds)
            self.story.append(name)

    def test_who_is_due_first_goes_on_first(self) -> None:
        for name, seconds in (('slow', 3), ('fast', 2)):
            self.clock.thread(self.act, (name, seconds)).start()
        self.assertEqual([], self.story)
        self.clock.wait(10)
        self.assertEqual(['fast', 'slow', 'fast', 'slow'], self.story)

    def test_one_can_be_waited_for(self) -> None:
        thread = self.clock.thread(self.act, ('alone', 2))
        self.assertFalse(thread.is_alive())
        self.assertIsNone(thread.ident)
        thread.start()
        self.assertTrue(thread.is_alive())
        started_at = self.clock.now()
        thread.join()
        self.assertEqual(4, self.clock.now() - started_at)
        self.assertFalse(thread.is_alive())

    def test_one_can_call_the_other(self) -> None:
        called = threading.Event()
        self.clock.thread(lambda: self.clock.wait(3600, until=called)).start()

        def call() -> None:
            self.act('caller', 1)
            called.set()

        caller = self.clock.thread(call)
        caller.start()
        caller.join()
        self.clock.wait(1)
        self.assertEqual(3, self.clock.now() - 1000)

    def test_who_waits_for_nobody_is_found_out(self) -> None:
        self.assertRaises(
            RuntimeError, self.clock.wait, math.inf, threading.Event()
        )

    def test_what_one_raises_is_kept_and_nobody_elses(self) -> None:
        thread = self.clock.thread(lambda: 1 / 0)
        thread.start()
        thread.join()
        self.assertIsInstance(self.clock.errors[0], ZeroDivisionError)


class SimulatedGuestTest(GuestTestCase):
    def test_balloon_moves_at_its_rate_and_the_host_gains(self) -> None:
        rss_kib = self.guest.rss_kib
        self.domain.set_balloon_kib(2 * fakes.GIB)
        self.clock.wait(1)
        self.assertEqual(
            400 * fakes.MIB,
            4 * fakes.GIB - self.domain.memory_stats().actual_kib,
        )
        self.assertEqual(400 * fakes.MIB, rss_kib - self.guest.rss_kib)
        self.clock.wait(60)
        self.assertEqual(2 * fakes.GIB, self.domain.memory_stats().actual_kib)

    def test_memory_that_is_not_resident_may_go_first(self) -> None:
        self.guest.touched_first = False
        self.guest.touched_kib = 3 * fakes.GIB
        rss_kib = self.guest.rss_kib
        self.domain.set_balloon_kib(3 * fakes.GIB)
        self.clock.wait(60)
        self.assertEqual(3 * fakes.GIB, self.domain.memory_stats().actual_kib)
        self.assertEqual(512 * fakes.MIB, rss_kib - self.guest.rss_kib)

    def test_memory_missing_without_a_journal_entry_is_noticed(self) -> None:
        watch = JournalWatch()
        watch.look(self.guest)
        self.domain.set_balloon_kib(2 * fakes.GIB)
        self.clock.wait(1)
        self.guest.check()
        self.assertRaises(AssertionError, watch.look, self.guest)

    def test_statistics_that_lag_are_as_old_as_their_period(self) -> None:
        self.guest.stats_lag = True
        self.domain.set_balloon_kib(2 * fakes.GIB)
        told_kib = self.domain.memory_stats().free_kib
        self.clock.wait(9)
        self.assertEqual(told_kib, self.domain.memory_stats().free_kib)
        self.clock.wait(1)
        self.assertGreater(told_kib, self.domain.memory_stats().free_kib)


class SimulatedAgentTest(GuestTestCase):
    def ask(self, command: str, **arguments: object) -> object:
        request = {'execute': command, 'arguments': arguments}
        answer = self.domain.agent_command(json.dumps(request), 5)
        return json.loads(answer)['return']

    def test_file_is_read_piece_by_piece(self) -> None:
        self.guest.agent.files['/proc/some'] = b'abcde'
        handle = self.ask('guest-file-open', path='/proc/some', mode='r')
        pieces = [
            self.ask('guest-file-read', handle=handle, count=3)
            for _time in range(2)
        ]
        self.assertEqual(
            [(fakes.encoded('abc'), False), (fakes.encoded('de'), True)],
            [(piece['buf-b64'], piece['eof']) for piece in pieces],
        )
        self.ask('guest-file-close', handle=handle)
        self.assertEqual({}, self.guest.agent.handles)

    def test_file_that_is_not_there_and_unknown_command_are_refused(
        self,
    ) -> None:
        for command, arguments in (
            ('guest-file-open', {'path': '/proc/none', 'mode': 'r'}),
            ('guest-dance', {}),
        ):
            self.assertRaises(
                exceptions.AgentCommandRefused, self.ask, command, **arguments
            )
