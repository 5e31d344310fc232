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

"""One at a time works on a guest."""

import contextlib

import testtools

from nova_freemem.restore import locks
from tests import base
from tests.simulation import fakes


class LocksTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.locks = locks.Locks(self.clock)

    def test_a_lock_has_one_holder(self) -> None:
        with self.locks.hold('a') as first:
            with self.locks.hold('a') as second:
                self.assertIsNotNone(first)
                self.assertIsNone(second)
            with self.locks.hold('a') as third:
                self.assertIsNone(third)
        with self.locks.hold('a') as afterwards:
            self.assertTrue(afterwards)

    def test_two_guests_do_not_share_a_lock(self) -> None:
        with self.locks.hold('a') as one, self.locks.hold('b') as other:
            self.assertTrue(one and other)

    def test_a_waiter_gets_the_lock_as_soon_as_it_is_released(self) -> None:
        def hold() -> None:
            with self.locks.hold('a'):
                self.clock.wait(2)

        self.clock.thread(hold).start()
        self.clock.wait(1)
        started_at = self.clock.now()
        with self.locks.hold('a', 5) as ours:
            self.assertTrue(ours)
            self.assertEqual(1, self.clock.now() - started_at)

    def test_a_wait_ends_after_its_time(self) -> None:
        started_at = self.clock.now()
        with self.locks.hold('a'), self.locks.hold('a', 5) as ours:
            self.assertFalse(ours)
        self.assertEqual(5, self.clock.now() - started_at)

    def test_of_several_waiters_one_gets_it_and_then_the_next(self) -> None:
        turns = []

        def take(name: str) -> None:
            with self.locks.hold('a', 60) as ours:
                turns.append((name, ours is not None, self.clock.now() - 1000))
                self.clock.wait(10)

        threads = [self.clock.thread(take, (name,)) for name in 'xyz']
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(
            {(True, 0.0), (True, 10.0), (True, 20.0)},
            {turn[1:] for turn in turns},
        )

    def test_a_lock_that_is_given_up_is_the_next_holders(self) -> None:
        with self.locks.hold('a') as first:
            first.give_up()
            with self.locks.hold('a') as second:
                first.give_up()
                with self.locks.hold('a') as third:
                    self.assertIsNotNone(second)
                    self.assertIsNone(third)
            second.give_up()

    def test_the_end_of_a_hold_takes_nothing_from_the_next_holder(
        self,
    ) -> None:
        with contextlib.ExitStack() as stack:
            with self.locks.hold('a') as first:
                first.give_up()
                self.assertIsNotNone(stack.enter_context(self.locks.hold('a')))
            with self.locks.hold('a') as third:
                self.assertIsNone(third)

    def test_an_exception_releases_the_lock(self) -> None:
        with (
            testtools.ExpectedException(ZeroDivisionError),
            self.locks.hold('a'),
        ):
            raise ZeroDivisionError
        with self.locks.hold('a') as ours:
            self.assertTrue(ours)
