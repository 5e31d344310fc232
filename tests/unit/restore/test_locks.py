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

"""One at a time sees to a guest."""

import testtools

from nova_freemem.restore import locks
from tests import base
from tests.simulation import fakes


class ClaimsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.locks = locks.Locks(self.clock)

    def test_the_second_has_to_leave_the_guest_to_the_first(self) -> None:
        with self.locks.hold('a') as first:
            with self.locks.hold('a') as second:
                self.assertEqual((True, False), (first, second))
            with self.locks.hold('a') as third:
                self.assertFalse(third)
        with self.locks.hold('a') as afterwards:
            self.assertTrue(afterwards)

    def test_two_guests_never_touch_each_other(self) -> None:
        with self.locks.hold('a') as one, self.locks.hold('b') as other:
            self.assertTrue(one and other)

    def test_who_waits_gets_it_as_soon_as_it_is_let_go(self) -> None:
        def hold() -> None:
            with self.locks.hold('a'):
                self.clock.wait(2)

        self.clock.thread(hold).start()
        self.clock.wait(1)
        started_at = self.clock.now()
        with self.locks.hold('a', 5) as ours:
            self.assertTrue(ours)
            self.assertEqual(1, self.clock.now() - started_at)

    def test_nobody_waits_longer_than_he_wants_to(self) -> None:
        started_at = self.clock.now()
        with self.locks.hold('a'), self.locks.hold('a', 5) as ours:
            self.assertFalse(ours)
        self.assertEqual(5, self.clock.now() - started_at)

    def test_of_several_who_wait_one_gets_it_and_then_the_next(self) -> None:
        turns = []

        def take(name: str) -> None:
            with self.locks.hold('a', 60) as ours:
                turns.append((name, ours, self.clock.now() - 1000))
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

    def test_a_fault_lets_go(self) -> None:
        with (
            testtools.ExpectedException(ZeroDivisionError),
            self.locks.hold('a'),
        ):
            raise ZeroDivisionError
        with self.locks.hold('a') as ours:
            self.assertTrue(ours)
