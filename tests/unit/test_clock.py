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

"""Waits and deadlines."""

import threading
from unittest import mock

from nova_freemem import clock as clocks
from tests import base
from tests.simulation import fakes


class DeadlineTest(base.TestCase):
    def test_it_counts_down_and_stays_passed(self) -> None:
        clock = fakes.FakeClock()
        deadline = clocks.Deadline(clock, 5)
        self.assertEqual(5, deadline.left_seconds())
        self.assertFalse(deadline.passed())
        clock.wait(5)
        self.assertTrue(deadline.passed())
        clock.wait(5)
        self.assertEqual(0.0, deadline.left_seconds())


class ClockTest(base.TestCase):
    def test_it_waits_by_sleeping(self) -> None:
        with mock.patch('time.sleep', autospec=True) as sleep:
            clocks.Clock().wait(0.2)
        sleep.assert_called_once_with(0.2)

    def test_an_event_ends_the_wait(self) -> None:
        arrived = threading.Event()
        arrived.set()
        clock = clocks.Clock()
        started_at = clock.now()
        clock.wait(60, until=arrived)
        self.assertLess(clock.now() - started_at, 5)

    def test_it_tells_both_times(self) -> None:
        with mock.patch('time.time', autospec=True, return_value=17.5):
            self.assertEqual(17.5, clocks.Clock().wall())
        with mock.patch('time.monotonic', autospec=True, return_value=4.5):
            self.assertEqual(4.5, clocks.Clock().now())
