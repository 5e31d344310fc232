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

"""Nova is told of events without anybody waiting for its message bus."""

from collections.abc import Callable
import functools
import threading

from nova_freemem import clock as clocks
from nova_freemem.report import event_queue
from tests import base
from tests.simulation import fake_clock
from tests.simulation import fakes


class EventQueueTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.thread = self.patch_autospec(
            threading, 'Thread', side_effect=self.clock.thread
        )
        self.queue = event_queue.EventQueue(self.clock)
        self.sent: list[tuple[float, str]] = []
        self.started_at = self.clock.now()

    def event(self, name: str, seconds: float = 0.0) -> Callable[[], None]:
        """:returns: what sends an event, over a bus that takes so long."""

        def send() -> None:
            self.clock.wait(seconds)
            self.sent.append((self.clock.now() - self.started_at, name))

        return send

    def names(self) -> list[str]:
        return [name for _seconds, name in self.sent]

    def test_nobody_waits_for_a_bus_that_hangs(self) -> None:
        self.queue.submit(self.event('slow', 60))
        self.queue.submit(self.event('next', 60))
        self.assertEqual(self.started_at, self.clock.now())
        self.clock.wait(121)
        self.assertEqual([(60, 'slow'), (120, 'next')], self.sent)

    def test_events_are_sent_in_the_order_they_came(self) -> None:
        for number in range(20):
            self.queue.submit(self.event(f'{number}', 20 - number))
        self.clock.wait(300)
        self.assertEqual([f'{n}' for n in range(20)], self.names())

    def test_one_thread_sends_and_ends_with_the_last_event(self) -> None:
        threads = []

        def make(*args: object, **kwargs: object) -> fake_clock.FakeThread:
            threads.append(self.clock.thread(*args, **kwargs))
            return threads[-1]

        self.thread.side_effect = make
        self.assertEqual([], threads)
        for _time in range(3):
            self.queue.submit(self.event('event', 1))
        self.clock.wait(4)
        self.assertEqual([False], [one.is_alive() for one in threads])
        self.queue.submit(self.event('later'))
        self.clock.wait(1)
        self.assertEqual([False] * 2, [one.is_alive() for one in threads])
        self.assertEqual(4, len(self.sent))

    def test_flushing_waits_for_what_was_submitted_before(self) -> None:
        self.queue.submit(self.event('first', 0.5))
        self.queue.submit(self.event('second', 0.5))
        self.queue.flush()
        self.assertEqual(['first', 'second'], self.names())
        self.assertEqual(1, self.clock.now() - self.started_at)

    def test_flushing_does_not_wait_for_what_comes_later(self) -> None:
        self.queue.submit(self.event('mine', 1))
        self.clock.after(
            0.5, lambda: self.queue.submit(self.event('later', 60))
        )
        self.queue.flush()
        self.assertEqual(['mine'], self.names())
        self.assertEqual(1, self.clock.now() - self.started_at)

    def test_flushing_ends_where_the_bus_hangs(self) -> None:
        self.queue.submit(self.event('slow', 60))
        self.queue.flush()
        self.assertEqual(
            event_queue.FLUSH_SECONDS, self.clock.now() - self.started_at
        )
        self.clock.wait(60)
        self.assertEqual(['slow'], self.names())

    def test_flushing_an_empty_queue_takes_no_time_and_no_thread(self) -> None:
        self.queue.flush()
        self.assertEqual(self.started_at, self.clock.now())
        self.thread.assert_not_called()

    def test_in_a_long_outage_the_oldest_are_dropped_with_one_line(
        self,
    ) -> None:
        self.queue.submit(self.event('hangs', 3600))
        self.clock.wait(1)
        for number in range(event_queue.CAPACITY + 5):
            self.queue.submit(self.event(f'{number}'))
        (line,) = self.log_lines('WARNING')
        self.assertIn('More than 1000 events', line)
        self.clock.wait(3600)
        self.assertEqual('hangs', self.names()[0])
        self.assertEqual(
            [f'{n}' for n in range(5, event_queue.CAPACITY + 5)],
            self.names()[1:],
        )

    def test_the_next_long_outage_is_told_of_again(self) -> None:
        for _outage in range(2):
            self.queue.submit(self.event('hangs', 60))
            self.clock.wait(1)
            for _number in range(event_queue.CAPACITY + 1):
                self.queue.submit(self.event('event'))
            self.clock.wait(60)
        self.assertEqual(2, len(self.log_lines('WARNING')))

    def test_without_a_thread_events_wait_for_the_next_one(self) -> None:
        self.thread.side_effect = None
        self.thread.return_value.start.side_effect = RuntimeError('no thread')
        self.queue.submit(self.event('first'))
        self.queue.flush()
        self.assertEqual(self.started_at, self.clock.now())
        self.thread.side_effect = self.clock.thread
        self.queue.submit(self.event('second'))
        self.queue.flush()
        self.assertEqual(['first', 'second'], self.names())


class RealThreadTest(base.TestCase):
    """The same on real threads, as Nova runs them."""

    def setUp(self) -> None:
        super().setUp()
        self.queue = event_queue.EventQueue(clocks.Clock())

    def test_a_bus_that_hangs_does_not_keep_nova_compute_from_ending(
        self,
    ) -> None:
        released = threading.Event()
        self.addCleanup(released.set)
        self.queue.submit(lambda: released.wait(60))
        (thread,) = (
            thread
            for thread in threading.enumerate()
            if thread.name == 'freemem-events'
        )
        self.assertTrue(thread.daemon)

    def test_each_instance_has_its_events_in_order(self) -> None:
        sent: list[tuple[int, int]] = []

        def migrate(instance: int) -> None:
            for step in range(100):
                self.queue.submit(
                    functools.partial(sent.append, (instance, step))
                )

        threads = [
            threading.Thread(target=migrate, args=(instance,))
            for instance in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.queue.flush(60)
        self.assertEqual(800, len(sent))
        for instance in range(8):
            self.assertEqual(
                list(range(100)),
                [step for whose, step in sent if whose == instance],
            )
