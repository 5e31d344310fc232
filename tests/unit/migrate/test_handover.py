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

"""The operator's requests reach Nova's transfer: in time, and once."""

import threading
from unittest import mock

import testtools

from nova_freemem.migrate import handover
from nova_freemem.release.requests import Request
from nova_freemem.report import reporter as reporters
from nova_freemem.virt.guest import Outgoing
from tests import base
from tests.simulation import fakes

ABORT, FORCE = Request.ABORT, Request.FORCE_COMPLETE
NONE, STARTING = Outgoing.NONE, Outgoing.STARTING
DISKS, MEMORY = Outgoing.COPYING_DISKS, Outgoing.SENDING_MEMORY


class IsDueTest(base.TestCase):
    def due(self, request: Request | None, post_copy: bool) -> set[Outgoing]:
        return {
            outgoing
            for outgoing in Outgoing
            if handover.is_due(request, outgoing, post_copy)
        }

    def test_an_abort_is_due_as_soon_as_there_is_a_job(self) -> None:
        for post_copy in (False, True):
            self.assertEqual(
                {STARTING, DISKS, MEMORY}, self.due(ABORT, post_copy)
            )

    def test_post_copy_cannot_begin_while_disks_are_copied(self) -> None:
        self.assertEqual({MEMORY}, self.due(FORCE, True))

    def test_a_guest_can_be_paused_while_disks_are_copied(self) -> None:
        self.assertEqual({DISKS, MEMORY}, self.due(FORCE, False))

    def test_without_a_request_nova_takes_the_next_one_itself(self) -> None:
        for post_copy in (False, True):
            self.assertEqual(
                self.due(FORCE, post_copy), self.due(None, post_copy)
            )


class HandoverTest(base.TestCase):
    """A transfer whose job shows after 1 s, and which sends after 2 s."""

    def setUp(self) -> None:
        super().setUp()
        self.thread = self.patch_autospec(threading, 'Thread')
        self.reporter = mock.create_autospec(reporters.Reporter, instance=True)
        self.start_again()

    def start_again(self) -> None:
        self.clock = fakes.FakeClock()
        self.thread.side_effect = self.clock.thread
        self.reporter.reset_mock()
        self.outgoing = NONE
        self.handover = handover.Handover(True, self.reporter, self.clock)
        self.started_at = self.clock.now()
        self.taken: list[tuple[Request, Outgoing]] = []
        self.errors: list[Exception] = []

    def look(self) -> Outgoing:
        return self.outgoing

    def take(self, request: Request) -> None:
        if self.errors:
            raise self.errors.pop()
        self.taken.append((request, self.outgoing))

    def submit(self, request: Request) -> None:
        self.handover.submit(request, lambda: self.take(request))

    def transfer(self, seconds: float = 5) -> None:
        for after, outgoing in ((1, STARTING), (2, MEMORY), (seconds, NONE)):
            self.clock.after(
                after,
                lambda outgoing=outgoing: setattr(self, 'outgoing', outgoing),
            )
        with self.handover.during_transfer(self.look):
            self.clock.wait(seconds + 1)

    def test_an_abort_is_held_until_there_is_a_job(self) -> None:
        self.submit(ABORT)
        self.transfer()
        self.assertEqual([(ABORT, STARTING)], self.taken)

    def test_a_force_complete_is_held_until_memory_is_sent(self) -> None:
        self.submit(FORCE)
        self.transfer()
        self.assertEqual([(FORCE, MEMORY)], self.taken)

    def test_an_abort_replaces_a_force_complete_that_is_held(self) -> None:
        self.submit(FORCE)
        self.clock.after(1.5, lambda: self.submit(ABORT))
        self.transfer()
        self.assertEqual([(ABORT, STARTING)], self.taken)

    def test_a_request_at_any_moment_is_taken_once(self) -> None:
        for request, first in ((ABORT, STARTING), (FORCE, MEMORY)):
            for tenths in range(50):
                self.start_again()
                self.clock.after(
                    tenths / 10 + 0.01,
                    lambda request=request: self.submit(request),
                )
                self.transfer()
                self.assertEqual(1, len(self.taken), tenths)
                self.assertIn(self.taken[0][1], (first, MEMORY))
                self.reporter.request_too_late.assert_not_called()

    def test_what_nova_refuses_is_tried_again(self) -> None:
        self.submit(FORCE)
        self.errors = [ZeroDivisionError()] * 3
        self.transfer()
        self.assertEqual([(FORCE, MEMORY)], self.taken)

    def test_while_the_transfer_runs_the_operator_hears_of_errors(
        self,
    ) -> None:
        def submit() -> None:
            self.errors = [ZeroDivisionError()]
            self.assertRaises(ZeroDivisionError, self.submit, ABORT)

        self.clock.after(4, submit)
        self.transfer()
        self.assertEqual([], self.taken)

    def test_what_comes_too_late_is_logged_not_kept(self) -> None:
        for request in (ABORT, FORCE):
            self.start_again()
            with self.handover.during_transfer(self.look):
                self.submit(request)
            self.reporter.request_too_late.assert_called_once_with(request)
            self.assertEqual([], self.taken)

    def test_what_nova_refuses_to_the_end_is_logged(self) -> None:
        self.submit(FORCE)
        self.errors = [ZeroDivisionError()] * 100
        self.transfer()
        self.reporter.request_too_late.assert_called_once_with(FORCE)

    def test_an_abort_as_nova_gives_up_on_a_job_still_reaches_it(
        self,
    ) -> None:
        """Nova aborts the job that it can watch no longer, and raises."""
        self.outgoing = STARTING
        with self.handover.during_transfer(self.look):
            self.submit(ABORT)
        self.assertEqual([(ABORT, STARTING)], self.taken)

    def test_an_abort_that_is_still_held_as_nova_gives_up_reaches_the_job(
        self,
    ) -> None:
        """Else the guest would move while Nova rolls back."""

        def look() -> Outgoing:
            self.clock.wait(0.3)  # libvirt is slow to answer
            return NONE

        with (
            testtools.ExpectedException(ZeroDivisionError),
            self.handover.during_transfer(look),
        ):
            self.clock.wait(1)
            self.submit(ABORT)
            raise ZeroDivisionError
        self.assertEqual([(ABORT, NONE)], self.taken)
        self.reporter.request_too_late.assert_not_called()

    def test_a_guest_is_not_forced_once_its_transfer_has_failed(self) -> None:
        with (
            testtools.ExpectedException(ZeroDivisionError),
            self.handover.during_transfer(self.look),
        ):
            self.submit(FORCE)
            raise ZeroDivisionError
        self.assertEqual([], self.taken)
        self.reporter.request_too_late.assert_called_once_with(FORCE)

    def test_after_the_transfer_requests_are_novas(self) -> None:
        self.transfer()
        self.submit(ABORT)
        self.assertEqual([(ABORT, NONE)], self.taken)

    def test_without_a_thread_later_requests_are_novas(self) -> None:
        self.thread.side_effect = None
        self.thread.return_value.ident = None
        self.thread.return_value.start.side_effect = RuntimeError('no thread')
        self.submit(FORCE)
        with self.handover.during_transfer(self.look):
            self.submit(ABORT)
        self.assertEqual([(ABORT, NONE)], self.taken)
        self.reporter.error.assert_called_once()
        self.reporter.request_too_late.assert_called_once_with(FORCE)

    def test_the_thread_ends_once_nova_can_be_asked(self) -> None:
        looks = []

        def look() -> Outgoing:
            looks.append(self.clock.now() - self.started_at)
            return self.outgoing

        self.look = look  # type: ignore[method-assign]
        self.transfer(60)
        self.assertLess(looks[-1], 2 + handover.POLL_SECONDS)
