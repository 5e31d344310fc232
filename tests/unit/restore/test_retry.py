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

"""When memory of a guest is restored, and when it is tried again."""

import hypothesis
from hypothesis import strategies

from nova_freemem.restore import retry
from nova_freemem.restore.retry import Attempts
from nova_freemem.virt.guest import Situation
from tests import base


class IsDueTest(base.TestCase):
    def test_a_running_guest_is_due(self) -> None:
        self.assertTrue(retry.is_due(Situation.RUNNING, Attempts(), 0.0))

    def test_a_guest_with_a_job_or_paused_is_not_due(self) -> None:
        for situation in (Situation.HAS_JOB, Situation.PAUSED):
            self.assertFalse(retry.is_due(situation, Attempts(), 0.0))

    def test_after_an_attempt_a_guest_waits_for_the_next(self) -> None:
        attempts = Attempts().once_more(1000.0, 60.0)
        for now, due in ((1000.0, False), (1000.1, True)):
            self.assertEqual(
                due, retry.is_due(Situation.RUNNING, attempts, now)
            )


class AttemptsTest(base.TestCase):
    def pauses(self, number: int, interval_seconds: float) -> list[float]:
        attempts, now, pauses = Attempts(), 0.0, []
        for _time in range(number):
            attempts = attempts.once_more(now, interval_seconds)
            pauses.append(round(attempts.next_at_seconds - now, 1))
            now = attempts.next_at_seconds
        return pauses

    def test_each_pause_is_twice_as_long_up_to_the_interval(self) -> None:
        self.assertEqual(
            [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 7.1, 10.0, 14.1],
            self.pauses(10, 5.0),
        )

    def test_the_bound_holds_for_ever(self) -> None:
        pauses = self.pauses(5000, 60.0)
        self.assertEqual(3600.0, pauses[-1])
        self.assertEqual(sorted(pauses), pauses)

    def test_a_guest_that_could_not_for_long_waits_half_as_long_again(
        self,
    ) -> None:
        pauses = self.pauses(25, 60.0)
        for number, pause in enumerate(pauses):
            self.assertLessEqual(pause, max(60.0, 0.53 * sum(pauses[:number])))

    def test_a_guest_with_a_job_is_checked_again_within_the_interval(
        self,
    ) -> None:
        attempts = Attempts()
        for _time in range(20):
            attempts = retry.attempts_after(
                Situation.HAS_JOB, attempts, 7.0, 60.0
            )
        self.assertEqual(67.0, attempts.next_at_seconds)

    def test_a_paused_guest_begins_anew_when_it_runs(self) -> None:
        attempts = Attempts().once_more(7.0, 60.0)
        self.assertEqual(
            Attempts(),
            retry.attempts_after(Situation.PAUSED, attempts, 7.0, 60.0),
        )
        self.assertEqual(
            attempts,
            retry.attempts_after(Situation.RUNNING, attempts, 7.0, 60.0),
        )

    @hypothesis.given(
        times=strategies.integers(0, 2000), now=strategies.floats(0, 1e9)
    )
    def test_there_is_always_a_next_attempt(
        self, times: int, now: float
    ) -> None:
        attempts = Attempts(times).once_more(now, 60.0)
        self.assertGreaterEqual(attempts.next_at_seconds, now)
        self.assertLessEqual(
            attempts.next_at_seconds, now + retry.LONGEST_SECONDS
        )
