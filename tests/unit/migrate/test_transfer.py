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

"""What runs beside a transfer."""

import logging
import threading
from unittest import mock

from oslo_context import context
from oslo_context import fixture as context_fixture

from nova_freemem import exceptions
from nova_freemem.migrate import transfer
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from tests import base
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import MIB


class TransferWatchTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.seen: list[Request | None] = []

    def task(self, requests: Requests) -> None:
        requests.arrived.wait(60)
        self.seen.append(requests.latest)

    def test_each_task_ends_with_the_transfer(self) -> None:
        watch = transfer.TransferWatch([self.task, self.task])
        before = threading.active_count()
        watch.start()
        self.assertEqual(before + 2, threading.active_count())
        watch.stop()
        self.assertEqual(before, threading.active_count())
        self.assertEqual([Request.TRANSFER_ENDED] * 2, self.seen)

    def test_stopping_twice_changes_nothing(self) -> None:
        watch = transfer.TransferWatch([self.task])
        watch.start()
        watch.stop()
        watch.stop()
        self.assertEqual([Request.TRANSFER_ENDED], self.seen)

    def test_a_shutdown_ends_the_tasks_and_not_the_transfer(self) -> None:
        watch = transfer.TransferWatch([self.task, self.task])
        watch.start()
        self.assertFalse(watch.is_unwatched())
        watch.submit(Request.SHUTDOWN)
        for thread in watch._threads:
            thread.join()
        self.assertTrue(watch.is_unwatched())
        watch.stop()
        self.assertFalse(watch.is_unwatched())
        self.assertEqual([Request.SHUTDOWN] * 2, self.seen)

    def test_what_never_started_can_be_stopped(self) -> None:
        transfer.TransferWatch([self.task]).stop()
        self.assertEqual([], self.seen)

    def test_what_started_in_part_can_be_stopped(self) -> None:
        start = threading.Thread.start
        with mock.patch.object(
            threading.Thread, 'start', autospec=True
        ) as fake:
            fake.side_effect = [None, RuntimeError('no thread')]
            watch = transfer.TransferWatch([self.task, self.task])
            self.assertRaises(RuntimeError, watch.start)
        start(watch._threads[0])
        watch.stop()
        self.assertEqual([Request.TRANSFER_ENDED], self.seen)

    def test_a_task_that_ended_before_is_not_waited_for(self) -> None:
        watch = transfer.TransferWatch([self.seen.append])
        watch.start()
        watch.stop()
        self.assertEqual(1, len(self.seen))

    def test_its_log_lines_show_novas_request(self) -> None:
        log = self.useFixture(base.NovaLog())
        request = context.RequestContext()
        self.addCleanup(context_fixture.ClearRequestContext().setUp)

        def task(_requests: Requests) -> None:
            logging.getLogger(transfer.__name__).info('watching')

        watch = transfer.TransferWatch([task])
        context.RequestContext()  # What this thread does next.
        watch.start()
        watch.stop()
        (line,) = log.lines('watching')
        self.assertIn(f'[None {request.request_id} ', line)

    def test_without_a_request_a_task_runs_all_the_same(self) -> None:
        self.useFixture(context_fixture.ClearRequestContext())
        watch = transfer.TransferWatch([self.task])
        watch.start()
        watch.stop()
        self.assertEqual([Request.TRANSFER_ENDED], self.seen)

    def test_nova_can_end_while_a_task_runs(self) -> None:
        for thread in transfer.TransferWatch([self.task])._threads:
            self.assertTrue(thread.daemon)


class LearnBandwidthTest(GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bandwidths = mock.create_autospec(
            bandwidths.Bandwidths, instance=True
        )
        self.requests = Requests()

    def learn(
        self, *rates_mib: float | None, every_seconds: float = 1.0
    ) -> None:
        """Learn from a transfer that sends so much in each second.

        :param rates_mib: None for a second in which no job is under way
        """
        sent_kib = 0.0
        for second, rate_mib in enumerate(rates_mib):
            if rate_mib is not None:
                sent_kib += rate_mib * MIB
            self.clock.after(
                second + 0.5,
                lambda kib=None if rate_mib is None else sent_kib: setattr(
                    self.guest, 'transferred_kib', kib
                ),
            )
        self.clock.after(
            len(rates_mib) + 0.75,
            lambda: self.requests.submit(Request.TRANSFER_ENDED),
        )
        transfer.learn_bandwidth(
            self.domain, 'dest', self.bandwidths, self.clock, self.requests
        )

    def assert_learnt(self, rate_mib: float) -> None:
        ((dest, rate),) = (
            call.args for call in self.bandwidths.learn.call_args_list
        )
        self.assertEqual('dest', dest)
        self.assertAlmostEqual(rate_mib * MIB, rate)

    def test_the_best_second_counts(self) -> None:
        self.learn(60, 119, 80, 10)
        self.assert_learnt(119)

    def test_time_before_the_job_is_not_counted(self) -> None:
        self.learn(None, None, 0, 100, 90)
        self.assert_learnt(100)

    def test_a_transfer_with_nothing_to_send_teaches_nothing(self) -> None:
        self.learn(0, 0.9, 0.5)
        self.bandwidths.learn.assert_not_called()

    def test_a_transfer_within_a_second_teaches_nothing(self) -> None:
        self.learn(400)
        self.bandwidths.learn.assert_not_called()

    def test_a_guest_that_has_left_taught_something_before(self) -> None:
        self.clock.after(3.2, lambda: setattr(self.guest, 'host', 'dest'))
        self.learn(50, 50, 50, 50, 50)
        self.assert_learnt(50)
        self.assertLess(len(self.domain.called('transferred_kib')), 5)

    def test_an_error_of_libvirt_ends_it_quietly(self) -> None:
        self.domain.fault_at[1] = fakes.libvirt_error(
            exceptions.LibvirtError, 'no'
        )
        self.learn(50, 50, 50)
        self.bandwidths.learn.assert_not_called()

    def test_it_ends_when_the_transfer_does(self) -> None:
        started_at = self.clock.now()
        self.learn(50, 50, 50)
        self.assertAlmostEqual(3.75, self.clock.now() - started_at)
