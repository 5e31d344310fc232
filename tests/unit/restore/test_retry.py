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

"""Whom to pay now, whom later, and whom never."""

import datetime

import hypothesis
from hypothesis import strategies

from nova_freemem.restore import journal
from nova_freemem.restore import retry
from nova_freemem.restore.retry import Attempts
from nova_freemem.restore.retry import Verdict
from nova_freemem.virt.guest import Situation
from tests import base
from tests.simulation.fakes import GIB

OWED = journal.JournalEntry(
    4 * GIB, 'host1', datetime.datetime.now(datetime.UTC), 'uuid', 10
)


class JudgeTest(base.TestCase):
    def test_a_guest_that_runs_and_is_owed_is_paid_now(self) -> None:
        self.assertIs(
            Verdict.NOW, retry.judge(OWED, Situation.RUNNING, Attempts(), 0.0)
        )

    def test_one_in_flight_or_paused_is_paid_later(self) -> None:
        for situation in (Situation.HAS_JOB, Situation.PAUSED):
            self.assertIs(
                Verdict.LATER, retry.judge(OWED, situation, Attempts(), 0.0)
            )

    def test_one_that_was_tried_in_vain_has_to_wait_for_its_turn(self) -> None:
        tries = Attempts().once_more(1000.0, 60.0)
        for now, verdict in ((1000.0, Verdict.LATER), (1000.1, Verdict.NOW)):
            self.assertIs(
                verdict, retry.judge(OWED, Situation.RUNNING, tries, now)
            )

    def test_an_entry_that_cannot_be_read_is_never_acted_on(self) -> None:
        for situation in Situation:
            self.assertIs(
                Verdict.NEVER, retry.judge(None, situation, Attempts(), 1e9)
            )


class TriesTest(base.TestCase):
    def pauses(self, number: int, interval_seconds: float) -> list[float]:
        tries, now, pauses = Attempts(), 0.0, []
        for _time in range(number):
            tries = tries.once_more(now, interval_seconds)
            pauses.append(round(tries.next_at_seconds - now, 1))
            now = tries.next_at_seconds
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

    def test_who_could_not_for_long_waits_half_as_long_again(self) -> None:
        pauses = self.pauses(25, 60.0)
        for number, pause in enumerate(pauses):
            self.assertLessEqual(pause, max(60.0, 0.53 * sum(pauses[:number])))

    def test_one_in_flight_is_looked_at_again_within_the_interval(
        self,
    ) -> None:
        tries = Attempts()
        for _time in range(20):
            tries = retry.attempts_after(Situation.HAS_JOB, tries, 7.0, 60.0)
        self.assertEqual(67.0, tries.next_at_seconds)

    def test_one_that_is_paused_begins_anew_when_it_runs(self) -> None:
        tries = Attempts().once_more(7.0, 60.0)
        self.assertEqual(
            Attempts(),
            retry.attempts_after(Situation.PAUSED, tries, 7.0, 60.0),
        )
        self.assertEqual(
            tries, retry.attempts_after(Situation.RUNNING, tries, 7.0, 60.0)
        )

    @hypothesis.given(
        times=strategies.integers(0, 2000), now=strategies.floats(0, 1e9)
    )
    def test_it_is_always_somebodys_turn_again(
        self, times: int, now: float
    ) -> None:
        tries = Attempts(times).once_more(now, 60.0)
        self.assertGreaterEqual(tries.next_at_seconds, now)
        self.assertLessEqual(
            tries.next_at_seconds, now + retry.LONGEST_SECONDS
        )
