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

import functools
import logging
import threading
from unittest import mock

from oslo_context import context
from oslo_context import fixture as context_fixture

from nova_freemem import exceptions
from nova_freemem.migrate import transfer
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.plan import traffic
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from tests import base
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB
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


class MeasureTest(GuestTestCase):
    """A transfer over a path that is full unless said otherwise."""

    def setUp(self) -> None:
        super().setUp()
        self.bandwidths = bandwidths.Bandwidths(0, lambda: None)
        self.rates = release_rates.ReleaseRates()
        self.meter = TransferMeter(1.0 * GIB)
        self.sender = traffic.Sender()
        self.bandwidths.traffic.add(self.sender, self.clock.now())
        self.requests = Requests()

    def measure(
        self, *rates_mib: float | None, remaining_kib: float = 4.0 * GIB
    ) -> None:
        """Measure a transfer that sends so much in each second.

        :param rates_mib: None for a second in which no job is under way
        :param remaining_kib: what it says that is left
        """
        sent_kib = 0.0
        for tenth in range(len(rates_mib) * 10):
            rate_mib = rates_mib[tenth // 10]
            if rate_mib is not None:
                sent_kib += rate_mib * MIB / 10
            self.clock.after(
                tenth / 10 + 0.05,
                functools.partial(
                    self.set_progress,
                    None if rate_mib is None else sent_kib,
                    remaining_kib,
                ),
            )
        self.clock.after(
            len(rates_mib),
            lambda: self.requests.submit(Request.TRANSFER_ENDED),
        )
        transfer.measure(
            self.domain,
            'dest',
            self.meter,
            self.sender,
            self.bandwidths,
            self.rates,
            self.clock,
            self.requests,
        )

    def set_progress(
        self, sent_kib: float | None, remaining_kib: float
    ) -> None:
        self.guest.transferred_kib = sent_kib
        self.guest.remaining_kib = remaining_kib

    def assert_learnt(self, rate_mib: float) -> None:
        learnt = self.bandwidths.to('dest', self.clock.now())
        self.assertEqual(bandwidths.Origin.MEASURED, learnt.origin)
        self.assertAlmostEqual(
            rate_mib, learnt.kib_per_second / MIB, delta=0.02 * rate_mib
        )

    def assert_nothing_learnt(self) -> None:
        learnt = self.bandwidths.to('dest', self.clock.now())
        self.assertEqual(bandwidths.Origin.ASSUMED, learnt.origin)

    def test_what_the_path_carries_is_learnt(self) -> None:
        self.measure(100, 100, 100)
        self.assert_learnt(100)

    def test_a_short_transfer_teaches_as_well(self) -> None:
        self.measure(400)
        self.assert_learnt(400)

    def test_a_transfer_that_does_not_fill_the_path_teaches_nothing(
        self,
    ) -> None:
        self.measure(50, 50, remaining_kib=0.0)
        self.assert_nothing_learnt()

    def test_time_before_the_job_is_not_counted(self) -> None:
        self.measure(None, None, 0, 100, 100)
        self.assert_learnt(100)

    def test_while_it_runs_it_is_counted(self) -> None:
        seen = []
        self.clock.after(
            1.5, lambda: seen.append(self.bandwidths.traffic.beside())
        )
        self.measure(100, 100)
        self.assertEqual([1], seen)
        self.assertEqual(0, self.bandwidths.traffic.beside())

    def test_in_post_copy_it_still_sends(self) -> None:
        self.clock.after(1.0, lambda: self.requests.submit(Request.POST_COPY))
        self.measure(100, 100)
        self.assertEqual(1, self.bandwidths.traffic.beside())

    def test_once_the_guest_has_left_it_sends_nothing(self) -> None:
        until_seconds = self.clock.now() + 1.2
        self.clock.after(1.0, lambda: setattr(self.guest, 'host', 'dest'))
        self.measure(100, 100)
        self.assertTrue(self.sender.ended_before(until_seconds))

    def test_what_several_carry_is_learnt_of_all_of_them(self) -> None:
        other = traffic.Sender()
        now = self.clock.now()
        for second in range(4):
            other.read(now + second, 200 * MIB * second)
        self.bandwidths.traffic.add(other, now)
        self.measure(100, 100)
        self.assert_learnt(300)

    def test_another_that_has_not_begun_to_send_does_not_count(self) -> None:
        self.bandwidths.traffic.add(traffic.Sender(), self.clock.now())
        self.measure(100, 100)
        self.assert_learnt(100)

    def test_how_fast_qemu_looks_is_learnt(self) -> None:
        self.guest.looked_at_kib = 1.0
        for tenth in range(10):
            self.clock.after(
                1.04 + tenth / 10,
                lambda kib=tenth * 0.5 * GIB: setattr(
                    self.guest, 'looked_at_kib', kib
                ),
            )
        self.measure(100, 10, 100)
        look = self.rates.of(self.domain.uuid, self.clock.now())
        self.assertAlmostEqual(
            5 * GIB, look.look_kib_per_second, delta=0.3 * GIB
        )

    def test_a_long_transfer_is_seldom_looked_at(self) -> None:
        self.measure(*[100.0] * 100)
        looks = len(self.domain.called('transfer_progress'))
        self.assertLess(looks, 100 + 10 * transfer.NEW_SECONDS)

    def test_memory_that_comes_after_the_disks_is_looked_at_closely(
        self,
    ) -> None:
        self.measure(*[0.0] * 60, 200, 200)
        self.assert_learnt(200)
        self.assertLess(len(self.domain.called('transfer_progress')), 130)

    def test_a_guest_that_has_left_taught_something_before(self) -> None:
        self.clock.after(3.2, lambda: setattr(self.guest, 'host', 'dest'))
        self.measure(50, 50, 50, 50, 50)
        self.assert_learnt(50)
        self.assertLess(len(self.domain.called('transfer_progress')), 35)

    def test_an_error_of_libvirt_ends_it_quietly(self) -> None:
        self.domain.fault_at[1] = fakes.libvirt_error(
            exceptions.LibvirtError, 'no'
        )
        self.measure(50, 50, 50)
        self.assert_nothing_learnt()

    def test_it_ends_when_the_transfer_does(self) -> None:
        started_at = self.clock.now()
        self.measure(50, 50, 50)
        self.assertAlmostEqual(3.0, self.clock.now() - started_at)
