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

"""A guest whose kernel drops page cache before its balloon takes it."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import threading
from typing import Any
from unittest import mock

import ddt
import hypothesis
from hypothesis import strategies

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.release import balloon
from nova_freemem.release import base as release_base
from nova_freemem.release import dropping
from nova_freemem.release import reclaim
from nova_freemem.release import reclaim_rules
from nova_freemem.release import stop_rules
from nova_freemem.release import watch
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.base import Release
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.restore import journal
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class ReclaimTestCase(base.TestCase):
    """A guest of 4 GiB with 2 GiB of cold page cache, and 1 GiB of hot."""

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
            inflate_kib_per_second=650 * MIB,
            reclaim_kib_per_second=400 * MIB,
            drop_kib_per_second=1600 * MIB,
            agent=fakes.SimulatedAgent(latency_seconds=0.003),
        )
        self.domain = fakes.FakeGuest(self.guest)
        self.requests = Requests()
        self.plan = self.make_plan()
        self.started_at = self.clock.now()

    def make_plan(self, **changes: Any) -> Any:
        figures: dict[str, Any] = {
            'rss_kib': self.guest.rss_kib,
            'target_kib': 2 * GIB + 256 * MIB,
            'free_kib': 128 * MIB,
            'used_kib': 2560 * MIB,
            'cold_kib': 1664 * MIB,
            'has_swap': False,
        }
        return fakes.make_plan(**(figures | changes))

    def release(
        self,
        reclaimer: release_base.Reclaimer | None = None,
        deadline_seconds: float = 120,
        phase: Phase = Phase.BEFORE_TRANSFER,
    ) -> Release:
        self.watch = watch.Watch(
            balloon.Balloon(),
            self.domain,
            journal.Record(self.domain),
            self.clock,
            reclaimer or reclaim.GuestReclaim('guest_reclaim', 5),
        )
        self.watch.start(self.plan, phase)
        return self.watch.until_end(
            self.plan,
            phase,
            self.requests,
            clocks.Deadline(self.clock, deadline_seconds),
        )

    def seconds(self) -> float:
        return self.clock.now() - self.started_at

    def assert_dropped_nearly(self, cold_kib: int, release: Release) -> None:
        self.assertLessEqual(release.dropped_kib, cold_kib)
        self.assertGreater(
            release.dropped_kib, cold_kib - reclaim_rules.FIRST_PORTION_KIB
        )

    def assert_agent_is_left_alone(self) -> None:
        """It is asked for nothing more, and has no file open."""
        self.clock.wait(1)
        asked = list(self.guest.agent.commands)
        self.clock.wait(60)
        self.assertEqual(asked, self.guest.agent.commands)
        self.assertEqual({}, self.guest.agent.handles)
        self.assertEqual([], self.clock.errors)


@ddt.ddt
class ReleaseTest(ReclaimTestCase):
    def test_it_is_quicker_than_the_balloon_alone(self) -> None:
        release = self.release()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertEqual(1792 * MIB, release.released_kib)
        self.assert_dropped_nearly(1664 * MIB, release)
        self.assertEqual('', release.not_dropped)
        with_it = release.seconds
        self.guest.drop_kib_per_second = 0
        self.guest.cold_kib, self.guest.target_kib = 2 * GIB, 4 * GIB
        self.clock.wait(60)
        self.guest.check()
        self.guest.touched_kib = 0
        alone = self.release().seconds
        self.assertLess(with_it, 0.95 * alone)
        self.assertAlmostEqual(with_it, self.seconds() - 60 - alone, delta=0.1)

    @ddt.data(1.0, 1.2, 1.9, 2.0)
    def test_no_more_than_is_cold_is_dropped_whatever_the_kernel_adds(
        self, times: float
    ) -> None:
        self.guest.drop_times = times
        release = self.release()
        self.assert_dropped_nearly(1664 * MIB, release)
        self.assertGreaterEqual(self.guest.cold_kib, 2 * GIB - 1664 * MIB)

    def test_a_guest_that_has_less_than_it_said_is_told_so(self) -> None:
        self.guest.cold_kib = 512 * MIB
        self.guest.hot_kib = 0
        self.guest.touched_kib = 0
        self.plan = self.make_plan()
        release = self.release()
        self.assertEqual(512 * MIB, release.dropped_kib)
        self.assertEqual('it had no more', release.not_dropped)
        self.assert_agent_is_left_alone()

    def test_nothing_hot_is_dropped(self) -> None:
        self.release()
        self.assertEqual(1 * GIB, self.guest.hot_kib)
        self.assertGreaterEqual(self.guest.cold_kib, 2 * GIB - 1664 * MIB)
        self.assert_agent_is_left_alone()

    def test_the_balloon_begins_when_the_page_cache_is_dropped(self) -> None:
        # 1664 MiB at 1600 MiB/s, and what the agent takes.
        moved = []
        for seconds in (1.0, 1.5):
            self.clock.after(
                seconds, lambda: moved.append(self.guest.target_kib)
            )
        self.release()
        self.assertEqual([4 * GIB, self.plan.target_kib], moved)
        self.assertEqual(
            [(self.plan.target_kib,)], self.domain.called('set_balloon_kib')
        )

    def test_a_guest_is_not_said_to_stall_that_its_balloon_waits_for(
        self,
    ) -> None:
        self.guest.drop_kib_per_second = 1100 * MIB
        self.guest.agent.latency_seconds = 0.001
        self.guest.memory_kib = self.guest.actual_kib = 12 * GIB
        self.guest.target_kib = 12 * GIB
        self.guest.cold_kib = 10 * GIB
        self.plan = self.make_plan(
            original_kib=12 * GIB,
            rss_kib=self.guest.rss_kib,
            target_kib=4 * GIB,
            cold_kib=8 * GIB,
        )
        release = self.release()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assert_dropped_nearly(8 * GIB, release)

    def test_each_portion_keeps_the_agent_for_some_tenths_of_a_second(
        self,
    ) -> None:
        self.release()
        kib = [
            int(written.partition('K')[0])
            for written in self.guest.asked_to_drop
        ]
        self.assertEqual(32 * MIB, kib[0])
        self.assertLess(max(kib), 1600 * MIB * 0.3 / 2)

    def test_what_reporting_takes_away_is_an_effect(self) -> None:
        # All that is dropped is reported free before the balloon has begun,
        # and the balloon takes it all the same.
        self.guest.report_kib_per_second = 8 * GIB
        self.guest.touched_first = False
        release = self.release()
        self.assertNotEqual(EndReason.NO_EFFECT, release.end)
        self.assertGreaterEqual(release.resident_fall_kib, 1600 * MIB)

    def test_the_transfer_is_started_by_how_fast_the_balloon_is(self) -> None:
        # Not by how fast it was before it had begun.
        self.plan = self.make_plan(mode=Mode.AUTO)
        release = self.release()
        self.assertEqual(EndReason.NEARLY_DONE, release.end)
        self.assertGreater(
            release.released_kib, stop_rules.RATE_SECONDS * 600 * MIB
        )

    def test_beside_the_transfer_it_goes_on(self) -> None:
        self.plan = self.make_plan(mode=Mode.DURING)
        self.guest.transferred_kib = 0
        release = self.release(phase=Phase.DURING_TRANSFER)
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assert_dropped_nearly(1664 * MIB, release)
        self.assertEqual(
            [(self.plan.target_kib,)], self.domain.called('steer_balloon_kib')
        )


class CannotTest(ReclaimTestCase):
    """Where a guest cannot drop anything, its balloon does without."""

    def assert_balloon_alone(self) -> Release:
        release = self.release()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertEqual(0, release.dropped_kib)
        self.assertLess(release.seconds, 5.3)
        return release

    def test_without_the_file(self) -> None:
        self.guest.drop_kib_per_second = 0
        self.assertIn(
            'No such file or directory',
            self.assert_balloon_alone().not_dropped,
        )

    def test_where_the_agent_may_not_write(self) -> None:
        self.guest.agent.blocked = frozenset({'guest-file-write'})
        self.assertIn('disabled', self.assert_balloon_alone().not_dropped)
        self.assert_agent_is_left_alone()

    def test_a_kernel_that_might_swap_instead(self) -> None:
        self.guest.takes_swappiness = False
        self.guest.swap_kib = 1 * GIB
        self.plan = self.make_plan(has_swap=True)
        self.assertEqual(
            'it has swap, and a kernel before Linux 6.9 cannot drop page cache'
            ' alone',
            self.assert_balloon_alone().not_dropped,
        )
        self.assert_agent_is_left_alone()

    def test_a_guest_that_drops_slowly(self) -> None:
        self.guest.drop_kib_per_second = 50 * MIB
        release = self.release()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertLess(release.dropped_kib, 256 * MIB)
        self.assertLess(release.seconds, 5.8)

    def test_without_a_thread(self) -> None:
        self.thread.side_effect = RuntimeError('no thread')
        self.assertEqual('no thread', self.assert_balloon_alone().not_dropped)

    def test_an_extension_that_fails(self) -> None:
        class Broken(release_base.Reclaimer):
            def dropping(self, *args: Any) -> Any:
                raise ValueError('nobody foresaw it')

        release = self.release(Broken('broken', 5))
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertIn('nobody foresaw it', release.not_dropped)

    def test_a_little_page_cache_is_not_worth_the_agents_time(self) -> None:
        self.plan = self.make_plan(cold_kib=200 * MIB)
        self.assert_balloon_alone()
        self.assertEqual([], self.guest.agent.commands)


class SwapTest(ReclaimTestCase):
    """Anonymous memory is not asked for."""

    def test_a_guest_without_swap_has_nothing_else_to_reclaim(self) -> None:
        self.guest.takes_swappiness = False
        self.assert_dropped_nearly(1664 * MIB, self.release())
        self.assertEqual('32768K', self.guest.asked_to_drop[0])

    def test_one_with_swap_is_asked_for_page_cache_alone(self) -> None:
        self.guest.swap_kib = 1 * GIB
        self.plan = self.make_plan(has_swap=True)
        self.assert_dropped_nearly(1664 * MIB, self.release())
        self.assertEqual('32768K swappiness=0', self.guest.asked_to_drop[0])


class StopTest(ReclaimTestCase):
    """Whatever stops a release stops this as well."""

    def setUp(self) -> None:
        super().setUp()
        self.guest.drop_kib_per_second = 1300 * MIB

    def assert_stopped(self, end: EndReason, seconds: float) -> None:
        release = self.release()
        self.assertEqual(end, release.end)
        self.assertAlmostEqual(
            seconds, self.seconds(), delta=watch.TICK_SECONDS
        )
        dropped_kib = 2 * GIB - self.guest.cold_kib
        self.assertLess(dropped_kib, 1400 * MIB)
        self.assert_agent_is_left_alone()
        # The portion under way was not called back.
        self.assertLess(2 * GIB - self.guest.cold_kib - dropped_kib, 300 * MIB)

    def test_an_abort(self) -> None:
        self.clock.after(0.7, lambda: self.requests.submit(Request.ABORT))
        self.assert_stopped(EndReason.ABORTED, 0.7)
        self.assertEqual(0, self.guest.missing_kib)

    def test_a_guest_under_pressure(self) -> None:
        def need() -> None:
            self.guest.hot_kib = 0
            self.guest.used_kib = 3 * GIB - 128 * MIB
            self.guest.tells = {'available_kib': 0}

        self.clock.after(0.7, need)
        self.assert_stopped(EndReason.PRESSURE, 0.7)

    def test_force_complete(self) -> None:
        self.clock.after(
            0.7, lambda: self.requests.submit(Request.FORCE_COMPLETE)
        )
        self.assert_stopped(EndReason.FORCE_COMPLETE, 0.7)

    def test_the_deadline(self) -> None:
        self.assertEqual(
            EndReason.DEADLINE, self.release(deadline_seconds=0.5).end
        )
        self.assert_agent_is_left_alone()

    def test_a_journal_that_is_gone(self) -> None:
        self.guest.transferred_kib = 0
        self.plan = self.make_plan(mode=Mode.DURING)
        watched = watch.Watch(
            balloon.Balloon(),
            self.domain,
            journal.Record(self.domain),
            self.clock,
            reclaim.GuestReclaim('guest_reclaim', 5),
        )
        watched.record.entry = fakes.make_entry()
        self.guest.metadata = watched.record.entry.to_xml()
        self.clock.after(0.5, lambda: setattr(self.guest, 'metadata', None))
        watched.start(self.plan, Phase.DURING_TRANSFER)
        self.assertRaises(
            exceptions.JournalGone,
            watched.until_end,
            self.plan,
            Phase.DURING_TRANSFER,
            self.requests,
        )
        self.assert_agent_is_left_alone()
        self.assertGreater(self.guest.cold_kib, 1 * GIB)

    def test_a_guest_that_nobody_watches_any_more_drops_nothing(self) -> None:
        self.guest.drop_kib_per_second = 800 * MIB
        alone = dropping.Dropping(
            reclaim.GuestReclaim('guest_reclaim', 5),
            self.domain,
            self.plan,
            self.clock,
        )
        alone.start()
        self.clock.wait(dropping.MOST_SECONDS - 1)
        dropped_kib = alone.dropped_kib
        self.assertLess(
            dropped_kib, (dropping.WATCHED_SECONDS + 0.3) * 800 * MIB
        )
        self.clock.wait(2)
        self.assertEqual(dropped_kib, alone.dropped_kib)
        self.assert_agent_is_left_alone()


class HangTest(ReclaimTestCase):
    """The agent, or the guest's kernel, does not come back."""

    def test_the_watch_goes_on_and_the_balloon_begins(self) -> None:
        self.guest.drop_kib_per_second = 1 * MIB
        release = self.release()
        self.assertEqual(EndReason.TARGET_REACHED, release.end)
        self.assertLess(release.seconds, 5.8)
        self.assertEqual(0, release.dropped_kib)

    def test_a_guest_under_pressure_gets_everything_at_once(self) -> None:
        self.guest.drop_kib_per_second = 1 * MIB
        self.clock.after(
            2.0, lambda: setattr(self.guest, 'tells', {'available_kib': 0})
        )
        self.assertEqual(EndReason.PRESSURE, self.release().end)
        self.assertAlmostEqual(2.0, self.seconds(), delta=watch.TICK_SECONDS)
        self.assertEqual(self.guest.memory_kib, self.guest.target_kib)

    def test_an_agent_that_hangs_is_asked_once_for_five_seconds(self) -> None:
        self.guest.drop_kib_per_second = 1 * MIB
        self.release()
        self.clock.wait(60)
        self.assertEqual(
            ['open', 'open', 'read', 'close', 'write', 'flush'],
            [
                name.removeprefix('guest-file-')
                for name in self.guest.agent.commands
            ],
        )


class LargeGuestTest(ReclaimTestCase):
    """It has more to drop than its balloon takes in some seconds."""

    def setUp(self) -> None:
        super().setUp()
        self.guest.memory_kib = self.guest.actual_kib = 64 * GIB
        self.guest.target_kib, self.guest.cold_kib = 64 * GIB, 60 * GIB
        self.plan = self.make_plan(
            original_kib=64 * GIB,
            rss_kib=self.guest.rss_kib,
            target_kib=8 * GIB,
            cold_kib=56 * GIB,
            rate=ReleaseRate(650.0 * MIB, 400.0 * MIB),
        )

    def test_no_more_is_dropped_than_the_balloon_soon_takes(self) -> None:
        release = self.release(deadline_seconds=20)
        self.assertEqual(EndReason.DEADLINE, release.end)
        ahead_kib = release.dropped_kib - release.resident_fall_kib
        self.assertLess(ahead_kib, 5.1 * 650 * MIB)
        self.assertGreater(release.released_kib, 16 * 650 * MIB)
        self.assert_agent_is_left_alone()


class RecordedReclaimer(release_base.Reclaimer):
    """Drops whatever it is told to, in no time, or fails."""

    def __init__(self, outcomes: list[float | Exception]) -> None:
        super().__init__('recorded', 5)
        self._outcomes = outcomes
        self.dropped_kib = 0

    @contextlib.contextmanager
    def dropping(
        self, guest: Any, plan: Any, clock: Any, deadline: Any
    ) -> Iterator[Callable[[int], int]]:
        def drop(kib: int) -> int:
            outcome = self._outcomes.pop(0) if self._outcomes else 0.01
            if isinstance(outcome, Exception):
                raise outcome
            clock.wait(outcome)
            self.dropped_kib += 2 * kib
            return 2 * kib

        yield drop


class AnyGuestTest(base.TestCase):
    @hypothesis.given(
        outcomes=strategies.lists(
            strategies.floats(0, 6)
            | strategies.sampled_from(
                [
                    fakes.libvirt_error(exceptions.AgentUnresponsive, 'x'),
                    fakes.libvirt_error(exceptions.DomainGone, 'x'),
                    OSError('x'),
                ]
            ),
            max_size=12,
        ),
        cold_kib=strategies.integers(0, 64 * GIB),
        falls_kib=strategies.lists(
            strategies.integers(-GIB, GIB), min_size=1, max_size=5
        ),
        rate=strategies.floats(1.0, 1e9),
    )
    def test_it_ends_and_drops_no_more_than_is_cold(
        self,
        outcomes: list[float | Exception],
        cold_kib: int,
        falls_kib: list[int],
        rate: float,
    ) -> None:
        clock = fakes.FakeClock()
        reclaimer = RecordedReclaimer(outcomes)
        plan = fakes.make_plan(cold_kib=cold_kib, rate=ReleaseRate(rate, rate))
        with mock.patch.object(threading, 'Thread', clock.thread):
            one = dropping.Dropping(
                reclaimer,
                fakes.FakeGuest(fakes.SimulatedGuest(clock)),
                plan,
                clock,
            )
            one.start()
            ends_at = clock.now() + dropping.MOST_SECONDS + 7
            tick = 0
            while clock.now() < ends_at:
                one.look(falls_kib[tick % len(falls_kib)])
                tick += 1
                clock.wait(0.5)
        self.assertTrue(one.look(0))
        self.assertLessEqual(reclaimer.dropped_kib, cold_kib)
        self.assertEqual(reclaimer.dropped_kib, one.dropped_kib)
        self.assertEqual([], clock.errors)
