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

"""Guests that read again what they had dropped."""

import threading
from unittest import mock

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import base as acquire_base
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire.free_memory import CacheCounts
from nova_freemem.release import balloon
from nova_freemem.release import rereading
from nova_freemem.release import watch
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.restore import journal
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

FILES = frozenset({'guest-file-open', 'guest-file-read', 'guest-file-close'})


class RereadingTestCase(base.TestCase):
    """A guest of 4 GiB with 2 GiB of cold page cache."""

    source: acquire_base.Source = guest_agent.GuestAgent('guest_agent', 5)

    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.thread = self.patch_autospec(
            threading, 'Thread', side_effect=self.clock.thread
        )
        self.guest = fakes.SimulatedGuest(
            self.clock,
            used_kib=896 * MIB,
            hot_kib=1 * GIB,
            cold_kib=2 * GIB,
            touched_kib=0,
            reread_kib=7 * GIB,
            agent=fakes.SimulatedAgent(latency_seconds=0.003),
        )
        self.domain = fakes.FakeGuest(self.guest)

    def read_again(self, kib: int) -> None:
        """It drops as much again, for want of memory."""
        self.guest.reread_kib += kib
        self.guest.reclaimed_kib += kib


class RereadingTest(RereadingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dropped_kib = 0
        self.rereading = self.rereading_of(self.source)
        self.addCleanup(self.assertEqual, [], self.clock.errors)

    def rereading_of(self, source: acquire_base.Source) -> rereading.Rereading:
        return rereading.Rereading(
            source, self.domain, self.clock, lambda: self.dropped_kib
        )

    def start(self) -> None:
        self.rereading.start()
        self.assertIsNone(self.rereading.kib)
        self.clock.wait(0.5)

    def times_asked(self) -> int:
        return self.guest.agent.commands.count('guest-file-open')

    def test_it_counts_from_when_it_began(self) -> None:
        self.start()
        self.assertEqual(0, self.rereading.kib)
        self.read_again(300 * MIB)
        self.clock.wait(1)
        self.assertEqual(300 * MIB, self.rereading.kib)

    def test_what_a_container_at_its_limit_reads_again_is_not_missed(
        self,
    ) -> None:
        self.start()
        self.guest.reread_kib += 300 * MIB
        self.clock.wait(1)
        self.assertEqual(0, self.rereading.kib)

    def test_what_it_was_asked_to_drop_and_holds_again_is_missed(self) -> None:
        self.start()
        self.guest.cold_kib -= 500 * MIB
        self.dropped_kib = 500 * MIB
        self.guest.reread_kib += 300 * MIB
        self.clock.wait(1)
        self.assertEqual(0, self.rereading.kib)
        self.guest.hot_kib += 200 * MIB
        self.clock.wait(1)
        self.assertEqual(200 * MIB, self.rereading.kib)

    def test_a_guest_is_asked_less_often_the_longer_it_goes_on(self) -> None:
        self.start()
        self.clock.wait(9.5)
        self.assertEqual(10, self.times_asked())
        self.clock.wait(3590)
        self.assertTrue(130 < self.times_asked() < 170, self.times_asked())

    def test_nobody_is_asked_once_it_is_stopped(self) -> None:
        self.start()
        self.rereading.stop()
        self.clock.wait(60)
        self.assertEqual(1, self.times_asked())
        self.assertEqual({}, self.guest.agent.handles)

    def test_an_agent_that_reads_no_files_is_asked_once(self) -> None:
        self.guest.agent.blocked = FILES
        self.start()
        self.clock.wait(60)
        self.assertIsNone(self.rereading.kib)
        self.assertEqual(1, self.times_asked())

    def test_a_busy_guest_may_answer_later(self) -> None:
        self.start()
        self.guest.agent.latency_seconds = 7
        self.clock.wait(20)
        self.assertEqual(2, self.times_asked())
        self.read_again(300 * MIB)
        self.guest.agent.latency_seconds = 0
        self.clock.wait(20)
        self.assertEqual(300 * MIB, self.rereading.kib)

    def test_it_ends_where_the_guest_leaves(self) -> None:
        self.start()
        self.guest.host = 'dest'
        self.clock.wait(60)
        self.assertEqual(1, self.times_asked())

    def test_a_guest_that_boots_again_has_read_nothing_again(self) -> None:
        self.start()
        self.guest.reread_kib = 0
        self.clock.wait(2)
        self.assertEqual(0, self.rereading.kib)

    def test_without_a_thread_it_is_not_known(self) -> None:
        self.thread.side_effect = RuntimeError("can't start new thread")
        self.rereading.start()
        self.assertIsNone(self.rereading.kib)

    def test_an_extension_may_fail(self) -> None:
        source = mock.create_autospec(acquire_base.Source, instance=True)
        source.timeout_seconds = 5
        source.cache_counts.side_effect = [
            CacheCounts(4),
            CacheCounts(8),
            ValueError('of an extension'),
        ]
        self.rereading = self.rereading_of(source)
        self.start()
        self.clock.wait(60)
        self.assertEqual(4, self.rereading.kib)
        self.assertEqual(3, source.cache_counts.call_count)

    def test_a_source_that_cannot_tell_is_none(self) -> None:
        self.rereading = self.rereading_of(
            balloon_stats.BalloonStats('balloon_stats', 5)
        )
        self.start()
        self.assertIsNone(self.rereading.kib)


class WatchTest(RereadingTestCase):
    """A release, and a transfer after it."""

    def setUp(self) -> None:
        super().setUp()
        self.requests = Requests()
        self.plan = fakes.make_plan(
            rss_kib=self.guest.rss_kib,
            target_kib=2 * GIB + 256 * MIB,
            free_kib=128 * MIB,
            used_kib=2560 * MIB,
            source=self.source.name,
        )
        self.watch = watch.Watch(
            balloon.Balloon(),
            self.domain,
            journal.Record(self.domain),
            self.clock,
            sources=(
                balloon_stats.BalloonStats('balloon_stats', 5),
                self.source,
            ),
        )
        self.addCleanup(self.watch.stop_asking)

    def release(self) -> EndReason:
        self.watch.start(self.plan)
        return self.watch.until_end(
            self.plan, Phase.BEFORE_TRANSFER, self.requests
        ).end

    def hold(self) -> EndReason:
        self.guest.transferred_kib = 0
        self.clock.after(60, self.end_transfer)
        return self.watch.hold(self.plan, self.requests)

    def end_transfer(self) -> None:
        self.requests.submit(Request.TRANSFER_ENDED)

    def test_a_release_ends_and_keeps_what_it_has(self) -> None:
        self.clock.after(1.5, lambda: self.read_again(900 * MIB))
        self.assertEqual(EndReason.READS_AGAIN, self.release())
        self.assertTrue(500 * MIB < self.guest.missing_kib < 1500 * MIB)
        self.assertEqual(self.guest.actual_kib, self.guest.target_kib)

    def test_a_guest_that_is_sent_gets_all_its_memory(self) -> None:
        self.assertEqual(EndReason.TARGET_REACHED, self.release())
        self.clock.after(9, lambda: self.read_again(900 * MIB))
        self.assertEqual(EndReason.READS_AGAIN, self.hold())
        self.assertEqual(4 * GIB, self.guest.target_kib)

    def test_what_was_cold_is_not_read_again(self) -> None:
        self.release()
        self.read_again(400 * MIB)
        self.assertEqual(EndReason.TRANSFER_ENDED, self.hold())

    def test_a_container_at_its_limit_ends_no_release(self) -> None:
        def read_again() -> None:
            self.guest.reread_kib += 900 * MIB

        self.clock.after(1.5, read_again)
        self.assertEqual(EndReason.TARGET_REACHED, self.release())
        self.clock.after(9, read_again)
        self.assertEqual(EndReason.TRANSFER_ENDED, self.hold())

    def test_where_little_page_cache_is_released_nobody_is_asked(self) -> None:
        self.plan = fakes.make_plan(
            rss_kib=self.guest.rss_kib, source=self.source.name
        )
        self.watch.start(self.plan)
        self.clock.wait(5)
        self.assertEqual([], self.guest.agent.commands)

    def test_another_source_is_not_asked(self) -> None:
        self.plan = fakes.make_plan(
            free_kib=0, rss_kib=self.guest.rss_kib, source='balloon_stats'
        )
        self.watch.start(self.plan)
        self.clock.wait(5)
        self.assertEqual([], self.guest.agent.commands)

    def test_a_second_release_counts_anew(self) -> None:
        self.release()
        self.read_again(900 * MIB)
        self.clock.wait(30)
        self.guest.target_kib = 4 * GIB
        self.clock.wait(30)
        self.assertEqual(EndReason.TARGET_REACHED, self.release())
        self.clock.wait(120)
        asking = self.guest.agent.commands.count('guest-file-open')
        self.clock.wait(30.5)
        self.assertLessEqual(
            self.guest.agent.commands.count('guest-file-open') - asking, 4
        )


class SourceTest(RereadingTestCase):
    def test_a_refusal_is_raised(self) -> None:
        self.guest.agent.blocked = FILES
        self.assertRaises(
            exceptions.AgentCommandRefused,
            self.source.cache_counts,
            self.domain,
            self.clock,
            clocks.Deadline(self.clock, 5),
        )
