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

"""Waits, orders and deadlines."""

import threading
from unittest import mock

from nova_freemem import clock as clocks
from nova_freemem.clock import Order
from tests.unit import base
from tests.unit import fakes


class OrdersTest(base.TestCase):
    def test_no_order_was_given(self) -> None:
        self.assertIsNone(clocks.Orders().close())

    def test_an_order_arrives(self) -> None:
        orders = clocks.Orders()
        self.assertTrue(orders.give(Order.FORCE_COMPLETE))
        self.assertTrue(orders.arrived.is_set())
        self.assertEqual(Order.FORCE_COMPLETE, orders.close())

    def test_an_abort_outranks_a_force_complete_whoever_was_first(
        self,
    ) -> None:
        for given in (
            (Order.ABORT, Order.FORCE_COMPLETE),
            (Order.FORCE_COMPLETE, Order.ABORT),
        ):
            orders = clocks.Orders()
            for order in given:
                self.assertTrue(orders.give(order))
            self.assertEqual(Order.ABORT, orders.close())

    def test_an_order_that_comes_late_is_for_the_transfer(self) -> None:
        orders = clocks.Orders()
        orders.close()
        self.assertFalse(orders.give(Order.ABORT))
        self.assertIsNone(orders.given)
        self.assertFalse(orders.arrived.is_set())

    def test_an_order_is_either_obeyed_or_refused_never_lost(self) -> None:
        for _attempt in range(50):
            orders, taken = clocks.Orders(), []
            thread = threading.Thread(
                target=lambda orders=orders, taken=taken: taken.append(
                    orders.give(Order.ABORT)
                )
            )
            thread.start()
            obeyed = orders.close() is Order.ABORT
            thread.join()
            self.assertEqual([obeyed], taken)


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
