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

"""Outstanding memory of guests is found and restored."""

from collections.abc import Iterator
import contextlib
import datetime
import threading
from typing import Any
from unittest import mock

from nova_freemem import exceptions
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.restore import schedule
from nova_freemem.virt import guest as guests
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

INTERVAL_SECONDS = 60
WORKERS = 4


def shrink(guest: fakes.SimulatedGuest) -> fakes.SimulatedGuest:
    """Take 3 of 4 GiB from a guest, and write a journal entry."""
    guest.metadata = journal.JournalEntry(
        4 * GIB, 'other', datetime.datetime.now(datetime.UTC), 'uuid', 10
    ).to_xml()
    guest.actual_kib = guest.target_kib = guest.definition_kib = 1 * GIB
    guest.touched_kib = 0
    return guest


class ReconcilerTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.thread = self.patch_autospec(
            threading, 'Thread', side_effect=self.clock.thread
        )
        self.host = fakes.FakeHost()
        self.counts: list[int] = []
        #: Guests that were reported to be restored for nobody.
        self.unrequested: list[str] = []
        self.make_reconciler()

    def make_reconciler(self) -> None:
        """Have a nova-compute that has not started yet."""
        self.locks = locks.Locks(self.clock)
        self.reconciler = reconciler.Reconciler(
            self.host.lend,
            self.locks,
            self.clock,
            INTERVAL_SECONDS,
            WORKERS,
            self.counts.append,
            lambda uuid, _seconds: self.unrequested.append(uuid),
        )

    def add_guest(
        self,
        uuid: str = fakes.UUID,
        *,
        outstanding: bool = True,
        **behaviour: Any,
    ) -> fakes.SimulatedGuest:
        """:returns: a guest on this host."""
        guest = fakes.SimulatedGuest(self.clock, **behaviour)
        if outstanding:
            shrink(guest)
        self.host.domains[uuid] = fakes.FakeGuest(guest, 'source', uuid)
        return guest

    def calls(self, name: str, uuid: str = fakes.UUID) -> int:
        return len(self.host.domains[uuid].called(name))

    def assert_restored(self, guest: fakes.SimulatedGuest) -> None:
        guest.check()
        self.assertEqual(
            (0, None, 4 * GIB, 10),
            (
                guest.missing_kib,
                guest.metadata,
                guest.definition_kib,
                guest.definition_stats_period_seconds,
            ),
        )


class StartTest(ReconcilerTestCase):
    def test_outstanding_memory_is_restored_when_nova_compute_starts(
        self,
    ) -> None:
        guests = [self.add_guest(f'guest {number}') for number in range(5)]
        self.reconciler.start()
        self.clock.wait(0.01)
        for guest in guests:
            self.assertEqual(4 * GIB, guest.target_kib)
        self.clock.wait(7)
        for guest in guests:
            self.assert_restored(guest)
        self.assertEqual(5, len(self.log_lines('INFO')))

    def test_the_start_waits_for_nothing(self) -> None:
        self.add_guest()
        started_at = self.clock.now()
        self.reconciler.start()
        self.assertEqual(started_at, self.clock.now())
        self.assertEqual(0, self.host.looks)

    def test_a_guest_without_outstanding_memory_is_not_touched(self) -> None:
        self.add_guest(outstanding=False)
        self.reconciler.start()
        self.clock.wait(600)
        self.assertEqual([], self.host.domains[fakes.UUID].calls)

    def test_a_thread_that_cannot_start_does_not_fail_nova_compute(
        self,
    ) -> None:
        self.thread.side_effect = None
        self.thread.return_value.start.side_effect = RuntimeError('no thread')
        self.reconciler.start()
        (line,) = self.log_lines('ERROR')
        self.assertIn('nova-freemem restore --all', line)

    def test_it_ends_with_nova_compute(self) -> None:
        self.reconciler.start()
        self.clock.wait(1)
        self.reconciler.stop()
        self.clock.wait(1)
        guest = self.add_guest()
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(600)
        self.assertEqual(1, self.host.looks)
        self.assertIsNotNone(guest.metadata)

    def test_nothing_is_restored_after_the_stop(self) -> None:
        guests = [self.add_guest(f'guest {number}') for number in range(3)]
        domain = self.host.domains['guest 0']
        read, domain.read_metadata = (
            domain.read_metadata,
            lambda: self.reconciler.stop() or read(),
        )
        self.reconciler.start()
        self.clock.wait(600)
        self.assertEqual(
            [4 * GIB, 1 * GIB, 1 * GIB], [guest.target_kib for guest in guests]
        )


class ClientTestCase(ReconcilerTestCase):
    """Somebody has a guest restored, and is told what comes of it.

    :ivar event: when the event began and ended, and which were shown
    """

    def make_reconciler(self) -> None:
        super().make_reconciler()
        self.reporter = mock.create_autospec(
            reporters.GuestReporter, instance=True
        )
        self.event: list[float] = []

    def start_anew(self) -> None:
        """Have a nova-compute that has started."""
        self.make_reconciler()
        self.reconciler.start()
        self.clock.wait(1)

    @contextlib.contextmanager
    def shown(self, _entry: journal.JournalEntry) -> Iterator[None]:
        self.event.append(self.clock.now())
        yield
        self.event.append(self.clock.now())

    def land(self, uuid: str = fakes.UUID) -> None:
        self.reconciler.restore(
            uuid, self.reporter, self.shown, contextlib.nullcontext()
        )

    def result(self) -> schedule.RestoreResult:
        """:returns: what was reported, once."""
        self.reporter.restored.assert_called_once()
        result = self.reporter.restored.call_args.args[0]
        assert isinstance(result, schedule.RestoreResult)
        return result


class LandingTest(ClientTestCase):
    """A guest lands: it runs, and a second later come Nova's own steps."""

    def setUp(self) -> None:
        super().setUp()
        self.start_anew()

    def resume(self, **behaviour: Any) -> fakes.SimulatedGuest:
        guest = self.add_guest(**behaviour)
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(1)
        return guest

    def test_what_began_as_it_resumed_is_shown_in_its_events(self) -> None:
        guest = self.resume(deflate_kib_per_second=100.0 * GIB)
        guest.check()
        self.assertEqual(0, guest.missing_kib)
        self.assertIsNotNone(guest.metadata)
        landed_at = self.clock.now()
        self.land()
        self.assertEqual(landed_at, self.clock.now())
        self.clock.wait(1)
        self.assert_restored(guest)
        self.assertEqual(1, self.calls('set_balloon_kib'))
        self.assertEqual([landed_at, landed_at], self.event)
        self.assertAlmostEqual(1, self.result().seconds, delta=0.1)

    def test_the_event_ends_when_the_memory_is_back(self) -> None:
        guest = self.resume()
        self.land()
        self.clock.wait(5)
        self.assert_restored(guest)
        began_at, ended_at = self.event
        self.assertAlmostEqual(3072 / 1200 - 1, ended_at - began_at, delta=0.7)

    def test_it_is_restored_where_novas_own_steps_never_come(self) -> None:
        guest = self.resume()
        self.clock.wait(schedule.NUDGE_INTERVAL_SECONDS)
        self.assert_restored(guest)

    def test_what_nobody_waited_for_is_reported_as_such(self) -> None:
        self.resume()
        self.clock.wait(schedule.NUDGE_INTERVAL_SECONDS)
        self.assertEqual([fakes.UUID], self.unrequested)
        self.land()  # Nova's own steps come when all is done.
        self.clock.wait(1)
        self.assertEqual([], self.event)

    def test_what_somebody_waited_for_is_not_even_if_it_is_slow(self) -> None:
        self.resume(deflate_kib_per_second=100 * MIB)
        self.land()
        self.clock.wait(600)
        self.assertEqual(2, len(self.event))
        self.assert_restored(self.host.domains[fakes.UUID].guest)
        self.assertEqual([], self.unrequested)
        shrink(self.host.domains[fakes.UUID].guest)  # It lands once more.
        self.clock.wait(2 * INTERVAL_SECONDS)
        self.assertEqual([fakes.UUID], self.unrequested)

    def test_without_an_event_of_libvirt_it_is_restored_at_once(self) -> None:
        guest = self.add_guest()
        self.land()
        self.clock.wait(0.01)
        self.assertEqual(4 * GIB, guest.target_kib)
        self.clock.wait(4)
        self.assert_restored(guest)

    def test_what_was_begun_at_an_earlier_landing_is_begun_anew(self) -> None:
        guest = self.resume(deflate_kib_per_second=10 * MIB)
        guest.deflate_kib_per_second = 1200 * MIB
        guest.metadata = fakes.make_entry(migration='another').to_xml()
        self.land()
        self.clock.wait(4)
        self.assert_restored(guest)
        self.assertEqual(2, self.calls('set_balloon_kib'))

    def test_a_slow_guest_is_reported_after_ten_seconds_and_restored(
        self,
    ) -> None:
        guest = self.resume(deflate_kib_per_second=100 * MIB)
        self.land()
        self.clock.wait(reconciler.WAIT_SECONDS + 0.2)
        self.assertFalse(self.result().complete)
        began_at, ended_at = self.event
        self.assertAlmostEqual(
            reconciler.WAIT_SECONDS, ended_at - began_at, delta=0.2
        )
        self.clock.wait(INTERVAL_SECONDS)
        self.assert_restored(guest)

    def test_a_guest_without_an_entry_lands_as_ever(self) -> None:
        self.add_guest(outstanding=False)
        self.land()
        self.clock.wait(5)
        self.assertEqual(
            [('read_metadata',)], self.host.domains[fakes.UUID].calls
        )
        self.assertEqual(([], []), (self.event, self.reporter.mock_calls))

    def test_a_guest_that_ended_on_its_way_is_none_to_complain_of(
        self,
    ) -> None:
        self.land('never seen')
        self.clock.wait(20)
        self.assertEqual(([], []), (self.event, self.reporter.mock_calls))
        self.assertEqual({}, self.reconciler.remembered())

    def test_an_unreadable_entry_is_reported_in_its_request(self) -> None:
        guest = self.add_guest()
        guest.metadata = 'not XML'
        self.land()
        self.clock.wait(20)
        self.reporter.journal_unreadable.assert_called_once()
        self.assertEqual([], self.event)
        self.assertEqual([], self.log_lines('ERROR'))

    def test_an_error_that_passes_is_not_reported(self) -> None:
        for call in range(1, 8):
            self.start_anew()
            guest = self.add_guest()
            self.host.domains[fakes.UUID].fault_at[call] = fakes.libvirt_error(
                exceptions.LibvirtError, 'no'
            )
            self.land()
            self.clock.wait(8)
            self.assert_restored(guest)
            self.reporter.restore_failed.assert_not_called()
            self.assertTrue(self.result().complete)

    def test_an_error_that_stays_is_reported_once_and_tried_on(self) -> None:
        guest = self.add_guest()
        refuse = fakes.libvirt_error(exceptions.TargetRefused, 'above max')
        with mock.patch.object(
            self.host.domains[fakes.UUID], 'set_balloon_kib', autospec=True
        ) as set_balloon_kib:
            set_balloon_kib.side_effect = refuse
            self.land()
            self.clock.wait(11)
            self.reporter.restore_failed.assert_called_once_with(refuse)
        self.clock.wait(INTERVAL_SECONDS)
        self.assert_restored(guest)

    def test_a_job_that_does_not_end_is_reported(self) -> None:
        self.add_guest().transferred_kib = 7
        self.land()
        self.clock.wait(11)
        self.reporter.restore_waits.assert_called_once_with(
            guests.Situation.HAS_JOB
        )
        self.reporter.restore_failed.assert_not_called()
        self.assertEqual(2, len(self.event))

    def test_a_stuck_guest_is_reported_once_and_its_event_ends(self) -> None:
        guest = self.resume(deflate_kib_per_second=100 * MIB)
        self.land()
        self.clock.wait(1)
        guest.answers = threading.Event()
        self.clock.wait(20)
        self.reporter.restore_stuck.assert_called_once_with(
            reconciler.STUCK_SECONDS
        )
        self.assertEqual(2, len(self.event))
        guest.answers.set()
        self.clock.wait(INTERVAL_SECONDS)
        self.assert_restored(guest)
        self.assertEqual([], self.log_lines('WARNING'))

    def test_what_was_stuck_from_the_start_is_not_shown_later(self) -> None:
        guest = self.add_guest(deflate_kib_per_second=100 * MIB)
        guest.answers = threading.Event()
        self.land()
        self.clock.wait(20)
        self.reporter.restore_stuck.assert_called_once()
        guest.answers.set()
        self.clock.wait(1)
        self.assertEqual([], self.event)
        self.reporter.restored.assert_not_called()
        self.clock.wait(INTERVAL_SECONDS)
        self.assert_restored(guest)
        self.assertEqual([fakes.UUID], self.unrequested)

    def test_a_guest_that_is_to_leave_again_gets_its_memory_first(
        self,
    ) -> None:
        guest = self.resume()
        self.land()
        with self.reconciler.hold(fakes.UUID, 5) as hold:
            self.assertIsNotNone(hold)
            self.assert_restored(guest)
        self.assertEqual(2, len(self.event))

    def test_one_that_is_too_slow_for_that_leaves_without(self) -> None:
        guest = self.resume(deflate_kib_per_second=100 * MIB)
        self.land()
        landed_at = self.clock.now()
        with self.reconciler.hold(fakes.UUID, 5) as hold:
            self.assertIsNotNone(hold)
            self.assertEqual(5, self.clock.now() - landed_at)
            calls = list(self.host.domains[fakes.UUID].calls)
            self.clock.wait(30)
            self.assertEqual(calls, self.host.domains[fakes.UUID].calls)
        self.assertEqual(2, len(self.event))
        self.reporter.restore_failed.assert_not_called()
        self.assertIsNotNone(guest.metadata)

    def test_one_that_nobody_waits_for_is_not_waited_for(self) -> None:
        self.resume(deflate_kib_per_second=100 * MIB)
        before = self.clock.now()
        with self.reconciler.hold(fakes.UUID, 5) as hold:
            self.assertIsNotNone(hold)
            self.assertEqual(before, self.clock.now())


class SourceTest(ClientTestCase):
    """A migration has failed, and has its guest restored at the source."""

    def setUp(self) -> None:
        super().setUp()
        self.start_anew()

    def fail(
        self, known: journal.JournalEntry | None = None
    ) -> tuple[bool, float]:
        """:returns: whether the guest is restored, and after how long."""
        with self.reconciler.hold(fakes.UUID, 5) as hold:
            assert hold is not None
            began_at = self.clock.now()
            is_done = hold.restore(self.reporter, known)
            return is_done, self.clock.now() - began_at

    def test_its_memory_is_back_when_nova_rolls_back(self) -> None:
        guest = self.add_guest()
        is_done, seconds = self.fail()
        self.assertTrue(is_done)
        self.assert_restored(guest)
        self.assertAlmostEqual(3072 / 1200, seconds, delta=0.7)
        self.assertTrue(self.result().complete)

    def test_a_slow_guest_is_waited_for_ten_seconds_and_goes_on(self) -> None:
        guest = self.add_guest(deflate_kib_per_second=100 * MIB)
        self.assertEqual((False, reconciler.WAIT_SECONDS), self.fail())
        self.clock.wait(0.2)
        self.assertFalse(self.result().complete)
        self.clock.wait(INTERVAL_SECONDS)
        self.assert_restored(guest)

    def test_what_comes_later_is_logged_with_the_request_as_well(self) -> None:
        guest = self.add_guest(deflate_kib_per_second=100 * MIB)
        self.fail()
        self.clock.wait(0.2)
        self.assertFalse(self.result().complete)
        self.reporter.restored.reset_mock()
        self.clock.wait(INTERVAL_SECONDS)
        self.assert_restored(guest)
        self.assertTrue(self.result().complete)
        # What is outstanding by another's doing is no request's any more.
        self.reporter.restored.reset_mock()
        shrink(guest)
        self.clock.wait(2 * INTERVAL_SECONDS)
        self.assert_restored(guest)
        self.reporter.restored.assert_not_called()

    def test_a_hung_guest_is_waited_for_ten_seconds(self) -> None:
        guest = self.add_guest()
        guest.answers = threading.Event()
        self.assertEqual((False, reconciler.WAIT_SECONDS), self.fail())
        self.clock.wait(1)
        self.reporter.restore_stuck.assert_called_once()
        guest.answers.set()
        self.clock.wait(INTERVAL_SECONDS)
        self.assert_restored(guest)

    def test_the_job_of_the_transfer_lasts_a_moment_longer(self) -> None:
        guest = self.add_guest()
        guest.transferred_kib = 7
        self.clock.after(0.5, lambda: setattr(guest, 'transferred_kib', None))
        is_done, _seconds = self.fail()
        self.assertTrue(is_done)
        self.assert_restored(guest)
        self.reporter.restore_failed.assert_not_called()

    def test_a_guest_that_has_left_is_done_with(self) -> None:
        self.add_guest().host = 'dest'
        self.assertEqual((True, 0.0), self.fail())
        self.assertEqual([], self.reporter.mock_calls)

    def test_what_the_journal_has_lost_the_migration_knows(self) -> None:
        guest = self.add_guest()
        entry, guest.metadata = guest.metadata, None
        assert entry is not None
        is_done, _seconds = self.fail(journal.JournalEntry.from_xml(entry))
        self.assertTrue(is_done)
        self.assert_restored(guest)

    def test_it_is_in_the_journal_again_before_a_paused_guest_leaves(
        self,
    ) -> None:
        guest = self.add_guest()
        entry, guest.metadata = guest.metadata, None
        assert entry is not None
        guest.running = False
        self.fail(journal.JournalEntry.from_xml(entry))
        self.assertEqual(entry, guest.metadata)
        self.assertEqual(0, self.calls('set_balloon_kib'))
        guest.running = True
        self.clock.wait(2 * INTERVAL_SECONDS)
        self.assert_restored(guest)

    def test_what_somebody_has_damaged_the_migration_knows(self) -> None:
        guest = self.add_guest()
        assert guest.metadata is not None
        entry = journal.JournalEntry.from_xml(guest.metadata)
        guest.metadata = '<outstanding format="1" original_kib="much"/>'
        is_done, _seconds = self.fail(entry)
        self.assertTrue(is_done)
        self.assert_restored(guest)
        self.reporter.journal_unreadable.assert_not_called()

    def test_what_it_knows_is_not_lost_with_its_patience(self) -> None:
        guest = self.add_guest()
        entry, guest.metadata = guest.metadata, None
        assert entry is not None
        guest.transferred_kib = 7
        is_done, _seconds = self.fail(journal.JournalEntry.from_xml(entry))
        self.assertFalse(is_done)
        self.clock.wait(10 * INTERVAL_SECONDS)
        self.assertIsNone(guest.metadata)
        guest.transferred_kib = None
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(guest)
        self.assertEqual({}, self.reconciler.remembered())

    def test_what_is_erased_in_the_midst_of_it_is_restored_as_well(
        self,
    ) -> None:
        guest = self.add_guest(deflate_kib_per_second=100 * MIB)
        assert guest.metadata is not None
        entry = journal.JournalEntry.from_xml(guest.metadata)
        self.clock.after(5, lambda: setattr(guest, 'metadata', None))
        is_done, _seconds = self.fail(entry)
        self.assertFalse(is_done)
        self.assertIsNotNone(guest.metadata)
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(guest)
        self.assertEqual(10, guest.stats_period_seconds)
        self.assertEqual({}, self.reconciler.remembered())

    def test_what_is_known_does_not_shrink_a_guest_that_was_resized(
        self,
    ) -> None:
        guest = self.add_guest()
        assert guest.metadata is not None
        entry = journal.JournalEntry.from_xml(guest.metadata)
        guest.metadata = None
        guest.memory_kib = guest.actual_kib = guest.target_kib = 8 * GIB
        is_done, _seconds = self.fail(entry)
        self.assertTrue(is_done)
        self.assertEqual(8 * GIB, guest.target_kib)
        self.assertIsNone(guest.metadata)

    def test_after_it_gave_the_guest_up_nothing_is_touched_twice(self) -> None:
        self.add_guest()
        with self.reconciler.hold(fakes.UUID, 5) as hold:
            assert hold is not None
            hold.restore(self.reporter, None)
            self.assertTrue(hold.restore(self.reporter, None))
        self.clock.wait(INTERVAL_SECONDS)
        self.assertEqual(1, self.calls('set_balloon_kib'))
        self.assertEqual(1, self.calls('erase_metadata'))
        self.reporter.restored.assert_called_once()

    def test_as_nova_compute_ends_it_does_the_work_itself(self) -> None:
        for stops_after_seconds in (-1, 0, 0.05, 1, 2):
            self.start_anew()
            guest = self.add_guest()
            if stops_after_seconds < 0:
                self.reconciler.stop()
                self.clock.wait(1)
            else:
                self.clock.after(stops_after_seconds, self.reconciler.stop)
            is_done, seconds = self.fail()
            self.assertTrue(is_done, stops_after_seconds)
            self.assertLess(seconds, 4)
            self.assert_restored(guest)
            self.assertTrue(self.result().complete)

    def test_without_any_thread_it_does_the_work_itself(self) -> None:
        self.thread.side_effect = None
        self.thread.return_value.start.side_effect = RuntimeError('no thread')
        self.start_anew()
        guest = self.add_guest(deflate_kib_per_second=100 * MIB)
        is_done, seconds = self.fail()
        self.assertFalse(is_done)
        self.assertAlmostEqual(reconciler.WAIT_SECONDS, seconds, delta=0.2)
        self.assertFalse(self.result().complete)
        self.assertEqual(4 * GIB, guest.target_kib)


class SnapshotTest(ClientTestCase):
    """Nova takes a live snapshot: the domain has no definition meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        self.start_anew()
        self.reconciler.start()
        self.clock.wait(1)
        self.guest = self.add_guest(persistent=False)

    def end_snapshot(self) -> None:
        """Have the domain defined by what the definition said before."""
        self.guest.persistent = True
        self.guest.definition_kib = 1 * GIB
        self.guest.definition_stats_period_seconds = 1

    def test_the_guest_has_its_memory_long_before_it_ends(self) -> None:
        self.clock.wait(INTERVAL_SECONDS + 7)
        self.guest.check()
        self.assertEqual(0, self.guest.missing_kib)
        self.assertIsNotNone(self.guest.metadata)
        self.clock.wait(3600)
        (line,) = self.log_lines('INFO')
        self.assertIn('1048576 -> 4194304 KiB', line)
        self.assertEqual([fakes.UUID], self.unrequested)
        self.assertEqual([], self.log_lines('WARNING'))
        self.assertLess(self.calls('situation'), 75)

    def test_within_an_interval_of_its_end_the_definition_is_right(
        self,
    ) -> None:
        self.clock.wait(600)
        self.end_snapshot()
        self.clock.wait(INTERVAL_SECONDS + 1)
        self.assert_restored(self.guest)
        self.assertEqual(1, len(self.log_lines('INFO')))

    def test_who_waits_for_the_guest_does_not_wait_for_its_end(self) -> None:
        self.land()
        self.clock.wait(9)
        self.assertEqual(2, len(self.event))
        self.reporter.restored.assert_called_once()
        self.assertTrue(self.result().complete)
        self.land()
        self.clock.wait(1)
        self.assertEqual(2, self.reporter.restored.call_count)


class IntervalTest(ReconcilerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reconciler.start()
        self.clock.wait(1)

    def test_all_guests_are_checked_at_each_interval(self) -> None:
        self.clock.wait(10 * INTERVAL_SECONDS)
        self.assertEqual(11, self.host.looks)

    def test_guests_with_outstanding_memory_are_counted_at_each_interval(
        self,
    ) -> None:
        self.add_guest('guest 1')
        paused = self.add_guest('guest 2')
        paused.running = False
        self.clock.wait(2 * INTERVAL_SECONDS)
        self.assertEqual([0, 2, 1], self.counts)

    def test_nothing_is_counted_while_libvirt_is_down(self) -> None:
        self.host.fault = RuntimeError('connection refused')
        self.clock.wait(INTERVAL_SECONDS)
        self.assertEqual([0], self.counts)

    def test_a_guest_that_a_command_restored_keeps_the_last_of_it(
        self,
    ) -> None:
        """The command erases the entry in the midst of a nudge."""
        for at_seconds in (0.1, 0.45):
            guest = self.add_guest(
                deflates_up_to_kib=4 * GIB - schedule.NUDGE_KIB
            )
            self.make_reconciler()
            self.reconciler.start()
            self.clock.wait(schedule.NUDGE_INTERVAL_SECONDS + at_seconds)
            self.assertEqual(4 * GIB - schedule.NUDGE_KIB, guest.target_kib)
            guest.deflates_up_to_kib = 4 * GIB
            guest.metadata = None
            self.reconciler._list_guests()
            self.clock.wait(1)
            guest.check()
            self.assertEqual(
                (0, 4 * GIB), (guest.missing_kib, guest.target_kib)
            )
            self.assertEqual({}, self.reconciler.remembered())
            self.reconciler.stop()

    def test_memory_is_restored_within_an_interval_without_an_event(
        self,
    ) -> None:
        guest = self.add_guest()
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(guest)

    def test_a_libvirt_that_is_down_is_reported_once_and_tried_again(
        self,
    ) -> None:
        guest = self.add_guest()
        self.host.fault = RuntimeError('connection refused')
        self.clock.wait(10 * INTERVAL_SECONDS)
        (line,) = self.log_lines('WARNING')
        self.assertIn('connection refused', line)
        self.host.fault = None
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(guest)
        self.host.fault = RuntimeError('connection refused')
        self.clock.wait(INTERVAL_SECONDS)
        self.assertEqual(2, len(self.log_lines('WARNING')))

    def test_an_error_with_one_guest_does_not_affect_others(
        self,
    ) -> None:
        self.add_guest('guest 1')
        self.host.domains['guest 1'].read_metadata = None
        other = self.add_guest('guest 2')
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(other)

    def test_nothing_is_remembered_of_a_guest_that_is_restored_or_gone(
        self,
    ) -> None:
        self.add_guest('guest 1')
        self.add_guest('guest 2').deflates_up_to_kib = 2 * GIB
        self.add_guest('guest 3').metadata = 'not XML'
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assertEqual(
            {'guest 2', 'guest 3'}, set(self.reconciler.remembered())
        )
        for domain in self.host.domains.values():
            domain.guest.host = 'elsewhere'
        self.clock.wait(INTERVAL_SECONDS)
        self.assertEqual({}, self.reconciler.remembered())


class NotifyTest(ReconcilerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reconciler.start()
        self.clock.wait(1)

    def test_memory_of_a_guest_that_starts_to_run_here_is_restored_at_once(
        self,
    ) -> None:
        guest = self.add_guest()
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(0.01)
        self.assertEqual(4 * GIB, guest.target_kib)
        self.assertEqual(1, self.host.looks)

    def test_an_error_of_its_own_does_not_end_it(self) -> None:
        guest = self.add_guest()
        self.patch_autospec(
            schedule, 'notified', side_effect=[ZeroDivisionError('oops')]
        )
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(INTERVAL_SECONDS + 10)
        (line,) = self.log_lines('WARNING')
        self.assertIn('oops', line)
        self.assert_restored(guest)

    def test_a_guest_that_is_not_here_is_no_error(self) -> None:
        self.add_guest().host = 'dest'
        for uuid in (fakes.UUID, 'never seen'):
            self.reconciler.notify(uuid)
        self.clock.wait(6)
        self.assertEqual('', self.log.output)
        self.assertEqual({}, self.reconciler.remembered())

    def test_a_guest_that_is_off_is_no_error(self) -> None:
        self.add_guest()
        self.host.domains[fakes.UUID].fault_at[1] = fakes.libvirt_error(
            exceptions.OperationInvalid, 'not running'
        )
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(6)
        self.assertEqual('', self.log.output)

    def test_memory_is_restored_as_soon_as_the_migration_job_has_ended(
        self,
    ) -> None:
        guest = self.add_guest()
        guest.transferred_kib = 7
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(0.25)
        guest.transferred_kib = None
        self.clock.wait(0.5)
        self.assertEqual(4 * GIB, guest.target_kib)

    def test_a_guest_with_a_job_is_not_touched(self) -> None:
        guest = self.add_guest()
        guest.transferred_kib = 7
        self.clock.wait(10 * INTERVAL_SECONDS)
        self.assertEqual(0, self.calls('set_balloon_kib'))
        self.assertLess(self.calls('situation'), 25)
        guest.transferred_kib = None
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(guest)
        self.assertEqual([], self.log_lines('WARNING'))

    def test_memory_of_a_paused_guest_is_restored_when_it_runs(self) -> None:
        guest = self.add_guest()
        guest.running = False
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(3 * INTERVAL_SECONDS)
        self.assertEqual(0, self.calls('set_balloon_kib'))
        guest.running = True
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(7)
        self.assert_restored(guest)

    def test_a_guest_paused_half_way_is_rarely_checked(self) -> None:
        guest = self.add_guest(deflate_kib_per_second=30 * MIB)
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(1)
        guest.running = False
        self.clock.wait(10 * INTERVAL_SECONDS)
        self.assertLess(self.calls('situation'), 25)

    def test_a_guest_whose_lock_is_held_is_not_touched(self) -> None:
        guest = self.add_guest()
        with self.locks.hold(fakes.UUID):
            self.reconciler.notify(fakes.UUID)
            self.clock.wait(3 * INTERVAL_SECONDS)
            self.assertEqual([], self.host.domains[fakes.UUID].calls)
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(7)
        self.assert_restored(guest)

    def test_a_guest_taken_over_half_way_is_not_touched(
        self,
    ) -> None:
        self.add_guest(deflate_kib_per_second=30 * MIB)
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(1)
        calls = len(self.host.domains[fakes.UUID].calls)
        with self.locks.hold(fakes.UUID):
            self.clock.wait(3 * INTERVAL_SECONDS)
            self.assertEqual(calls, len(self.host.domains[fakes.UUID].calls))

    def test_a_guest_that_left_half_restored_and_is_back_is_like_any_other(
        self,
    ) -> None:
        guest = self.add_guest(deflate_kib_per_second=30 * MIB)
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(1)
        guest.host, guest.metadata = 'dest', None
        guest.actual_kib = 4 * GIB
        self.clock.wait(1)
        guest.host = 'source'
        with self.locks.hold(fakes.UUID):
            entry = shrink(guest).metadata
            self.clock.wait(3 * INTERVAL_SECONDS)
            self.assertEqual(
                (entry, 1 * GIB), (guest.metadata, guest.target_kib)
            )
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(210)
        self.assert_restored(guest)


class UnableTest(ReconcilerTestCase):
    """A guest cannot take its memory."""

    def start(self, **behaviour: Any) -> fakes.SimulatedGuest:
        guest = self.add_guest(**behaviour)
        self.reconciler.start()
        return guest

    def test_it_is_tried_less_and_less_often_but_for_ever(self) -> None:
        self.start(deflates_up_to_kib=2 * GIB)
        self.clock.wait(3600)
        first_hour = self.calls('set_balloon_kib')
        self.assertLess(first_hour, 40)
        self.clock.wait(23 * 3600)
        day = self.calls('set_balloon_kib')
        self.assertAlmostEqual(2 * 23, day - first_hour, delta=2)

    def test_once_it_can_it_has_all_its_memory_within_an_interval(
        self,
    ) -> None:
        for number, able_after_seconds in enumerate(range(5, 120, 5)):
            uuid = f'guest {number}'
            guest = self.add_guest(uuid, deflates_up_to_kib=2 * GIB)
            self.reconciler.notify(uuid)
            if not number:
                self.reconciler.start()
            self.clock.wait(able_after_seconds)
            guest.deflates_up_to_kib = 1 << 40
            guest.start_anew()
            self.clock.wait(INTERVAL_SECONDS + 2)
            self.assert_restored(guest)

    def test_it_is_reported_about_once_an_hour(self) -> None:
        self.start(deflates_up_to_kib=2 * GIB)
        self.clock.wait(10)
        self.assertEqual([], self.log_lines('WARNING'))
        self.clock.wait(24 * 3600)
        lines = self.log_lines('WARNING')
        self.assertLess(len(lines), 40)
        self.assertGreater(len(lines), 20)
        self.assertIn('2097152 of 4194304 KiB', lines[-1])

    def test_it_stops_once_memory_is_restored(self) -> None:
        guest = self.start(deflates_up_to_kib=2 * GIB)
        self.clock.wait(7200)
        guest.deflates_up_to_kib = 1 << 40
        self.clock.wait(3700)
        self.assert_restored(guest)
        (line,) = self.log_lines('INFO')
        self.assertIn('1048576 -> 4194304 KiB', line)
        self.host.domains[fakes.UUID].calls.clear()
        self.clock.wait(7200)
        self.assertEqual([], self.host.domains[fakes.UUID].calls)

    def test_an_event_starts_the_attempts_anew(self) -> None:
        guest = self.start(deflates_up_to_kib=2 * GIB)
        self.clock.wait(24 * 3600)
        guest.deflates_up_to_kib = 1 << 40
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(7)
        self.assert_restored(guest)

    def test_a_slow_guest_is_restored_without_a_warning(self) -> None:
        guest = self.start(deflate_kib_per_second=600 * MIB)
        self.clock.wait(10)
        self.assert_restored(guest)
        self.assertEqual([], self.log_lines('WARNING'))
        self.assertEqual(1, len(self.log_lines('INFO')))

    def test_other_guests_are_restored_meanwhile(self) -> None:
        self.start(deflates_up_to_kib=2 * GIB)
        self.clock.wait(3600)
        other = self.add_guest('guest 2')
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(other)

    def test_an_error_of_libvirt_is_reported_with_the_command_to_run(
        self,
    ) -> None:
        self.start()
        refuse = fakes.libvirt_error(exceptions.TargetRefused, 'above max')
        domain = self.host.domains[fakes.UUID]
        self.patch_autospec(domain, 'set_balloon_kib', side_effect=refuse)
        self.clock.wait(24 * 3600)
        lines = self.log_lines('ERROR')
        self.assertGreater(len(lines), 20)
        self.assertLess(len(lines), 40)
        self.assertIn(f'nova-freemem restore {fakes.UUID}', lines[0])
        self.assertIn('above max', lines[0])

    def test_an_error_that_passes_is_not_reported(self) -> None:
        guest = self.start()
        domain = self.host.domains[fakes.UUID]
        for call in range(1, 8):
            domain.fault_at[call] = fakes.libvirt_error(
                exceptions.DomainBusy, 'busy'
            )
        self.clock.wait(20)
        self.assert_restored(guest)
        self.assertEqual([], self.log_lines('ERROR'))

    def test_an_unreadable_entry_is_reported_once_and_kept(
        self,
    ) -> None:
        guest = self.start()
        guest.metadata = '<outstanding format="2" original_kib="1"/>'
        self.clock.wait(24 * 3600)
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(60)
        (line,) = self.log_lines('ERROR')
        self.assertIn('it has format 2, of a newer nova-freemem', line)
        self.assertIn(f'nova-freemem repair {fakes.UUID}', line)
        self.assertEqual(
            '<outstanding format="2" original_kib="1"/>', guest.metadata
        )
        self.assertEqual(0, self.calls('set_balloon_kib'))

    def test_another_unreadable_entry_is_reported_again(self) -> None:
        guest = self.start()
        for metadata in ('<outstanding format="2"/>', 'not XML'):
            guest.metadata = metadata
            self.clock.wait(3 * INTERVAL_SECONDS)
        self.assertEqual(2, len(self.log_lines('ERROR')))

    def test_once_it_can_be_read_memory_is_restored(self) -> None:
        guest = self.start()
        entry, guest.metadata = guest.metadata, 'not XML'
        self.clock.wait(3 * INTERVAL_SECONDS)
        guest.metadata = entry
        self.clock.wait(INTERVAL_SECONDS + 6)
        self.assert_restored(guest)


class RestartedLibvirtTest(ReconcilerTestCase):
    """libvirtd is restarted: handles of the one before lead nowhere."""

    def restart_libvirtd(self) -> None:
        for uuid, domain in list(self.host.domains.items()):
            self.host.domains[uuid] = fakes.FakeGuest(
                domain.guest, 'source', uuid
            )
            self.patch_autospec(domain, 'situation', side_effect=self.closed)
            self.patch_autospec(
                domain, 'read_metadata', side_effect=self.closed
            )
            self.patch_autospec(
                domain, 'memory_stats', side_effect=self.closed
            )

    @property
    def closed(self) -> Exception:
        return fakes.libvirt_error(
            exceptions.LibvirtError, 'client socket is closed'
        )

    def test_guests_that_were_being_restored_are_whole_soon(self) -> None:
        guests = [
            self.add_guest(f'guest {number}', deflate_kib_per_second=100 * MIB)
            for number in range(3)
        ]
        self.reconciler.start()
        self.clock.wait(10)
        self.restart_libvirtd()
        self.clock.wait(INTERVAL_SECONDS)
        for guest in guests:
            self.assert_restored(guest)
        self.assertEqual([], self.log_lines('ERROR'))

    def test_an_unreadable_entry_and_a_failure_of_libvirt_cost_no_time(
        self,
    ) -> None:
        self.add_guest().metadata = 'not XML'
        self.reconciler.start()
        self.clock.wait(1)
        self.host.domains[fakes.UUID].fault_at = dict.fromkeys(
            range(2, 10), self.closed
        )
        self.reconciler.notify(fakes.UUID)
        self.clock.wait(10 * INTERVAL_SECONDS)
        self.assertLess(self.calls('read_metadata'), 30)


class HungGuestTest(ReconcilerTestCase):
    """QEMU of some guests does not answer, and libvirt waits for it."""

    def add_hung_guests(self, number: int) -> list[fakes.SimulatedGuest]:
        guests = [self.add_guest(f'hung {one}') for one in range(number)]
        for guest in guests:
            guest.answers = threading.Event()
        return guests

    def add_guests(self, number: int) -> list[fakes.SimulatedGuest]:
        return [self.add_guest(f'guest {one}') for one in range(number)]

    def start(self) -> None:
        """Count threads from here on."""
        self.threads: list[Any] = []

        def thread(**kwargs: Any) -> Any:
            self.threads.append(self.clock.thread(**kwargs))
            return self.threads[-1]

        self.thread.side_effect = thread
        self.most_threads = 0
        self.count_threads()
        self.reconciler.start()

    def count_threads(self) -> None:
        alive = [thread for thread in self.threads if thread.is_alive()]
        self.threads = alive
        self.most_threads = max(self.most_threads, len(alive))
        self.clock.after(0.05, self.count_threads)

    def test_others_are_restored_as_if_it_were_not_there(self) -> None:
        self.add_hung_guests(1)
        guests = self.add_guests(3)
        self.start()
        self.clock.wait(6)
        for guest in guests:
            self.assert_restored(guest)

    def test_others_are_restored_when_all_workers_are_stuck(self) -> None:
        self.add_hung_guests(WORKERS + 3)
        guests = self.add_guests(3)
        self.start()
        self.clock.wait(2 * reconciler.STUCK_SECONDS + 6)
        for guest in guests:
            self.assert_restored(guest)
        later = self.add_guest('later')
        self.reconciler.notify('later')
        self.clock.wait(6)
        self.assert_restored(later)

    def test_it_is_reported_once_for_each(self) -> None:
        self.add_hung_guests(2)
        self.start()
        self.clock.wait(3600)
        lines = self.log_lines('WARNING')
        self.assertEqual(2, len(lines))
        self.assertIn('libvirt or QEMU has not answered for 10 s', lines[0])

    def test_once_it_answers_it_is_restored(self) -> None:
        guests = self.add_hung_guests(WORKERS + 1)
        self.start()
        self.clock.wait(3600)
        for guest in guests:
            guest.answers.set()
        self.clock.wait(7)
        for guest in guests:
            self.assert_restored(guest)

    def test_a_nova_compute_that_is_started_again_is_not_hindered(
        self,
    ) -> None:
        self.add_hung_guests(WORKERS + 1)
        self.start()
        self.clock.wait(600)
        self.reconciler.stop()
        self.make_reconciler()
        guests = self.add_guests(3)
        self.reconciler.start()
        self.clock.wait(INTERVAL_SECONDS)
        for guest in guests:
            self.assert_restored(guest)

    def test_who_waits_for_a_guest_comes_first(self) -> None:
        self.start()
        self.clock.wait(1)
        self.add_hung_guests(WORKERS)
        for number in range(WORKERS):
            self.reconciler.notify(f'hung {number}')
        guest = self.add_guest()
        self.reconciler.restore(
            fakes.UUID,
            mock.create_autospec(reporters.GuestReporter, instance=True),
            contextlib.nullcontext,
            contextlib.nullcontext(),
        )
        self.clock.wait(0.01)
        self.assertEqual(4 * GIB, guest.target_kib)

    def test_no_more_threads_are_lost_than_libvirtd_can_spare(self) -> None:
        self.add_hung_guests(50)
        self.start()
        self.clock.wait(3600)
        self.assertEqual(
            1 + WORKERS + reconciler.MOST_STUCK, self.most_threads
        )

    def test_a_libvirtd_that_does_not_answer_is_reported(self) -> None:
        answers = threading.Event()
        entries = self.host.journal_entries

        def wait() -> dict[str, str]:
            self.clock.wait(3600, until=answers)
            return entries()

        self.patch(self.host, 'journal_entries', wait)
        guest = self.add_guest()
        self.start()
        self.clock.wait(600)
        (line,) = self.log_lines('WARNING')
        self.assertIn('libvirt has not answered for 10 s', line)
        answers.set()
        self.clock.wait(6)
        self.assert_restored(guest)

    def test_a_host_of_500_guests_with_60_outstanding_and_5_hung(
        self,
    ) -> None:
        for number in range(440):
            self.add_guest(f'whole {number}', outstanding=False)
        guests = self.add_guests(20)
        self.add_hung_guests(5)
        self.start()
        self.clock.wait(reconciler.STUCK_SECONDS + 1)
        reporter = mock.create_autospec(reporters.GuestReporter, instance=True)
        waited: list[tuple[bool, float]] = []

        def fail(uuid: str) -> None:
            began_at = self.clock.now()
            is_done = self.reconciler.restore_and_wait(uuid, reporter, None)
            waited.append((is_done, self.clock.now() - began_at))

        for number in range(15):
            guests.append(self.add_guest(f'failed {number}'))
            self.clock.thread(fail, (f'failed {number}',)).start()
        for number in range(20):
            uuid = f'landed {number}'
            guests.append(self.add_guest(uuid))
            self.reconciler.notify(uuid)
            self.reconciler.restore(
                uuid,
                reporter,
                contextlib.nullcontext,
                contextlib.nullcontext(),
            )
        self.clock.wait(reconciler.WAIT_SECONDS)
        self.assertEqual([True] * 15, [is_done for is_done, _ in waited])
        self.assertLess(max(seconds for _, seconds in waited), 4)
        self.assertEqual(35, reporter.restored.call_count)
        self.clock.wait(INTERVAL_SECONDS - 21)
        for guest in guests:
            self.assert_restored(guest)
        self.assertLessEqual(self.most_threads, 1 + WORKERS + 5)
        self.assertEqual(5, len(self.log_lines('WARNING')))
        self.assertEqual(5, len(self.reconciler.remembered()))
        for domain in self.host.domains.values():
            self.assertLess(len(domain.calls), 150)

    def test_without_threads_guests_are_restored_all_the_same(self) -> None:
        guests = self.add_guests(2)
        self.start()
        self.clock.wait(0)
        self.thread.side_effect = None
        self.thread.return_value.start.side_effect = RuntimeError('no thread')
        self.clock.wait(7)
        for guest in guests:
            self.assert_restored(guest)
