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

"""What is done for a guest with outstanding memory, and when."""

import dataclasses
import datetime
from typing import Any

import hypothesis
from hypothesis import strategies

from nova_freemem import exceptions
from nova_freemem.restore import journal
from nova_freemem.restore import schedule
from nova_freemem.restore.schedule import Action
from nova_freemem.restore.schedule import Nudge
from nova_freemem.restore.schedule import Seen
from nova_freemem.restore.schedule import State
from nova_freemem.virt.guest import Situation
from tests import base

NOW = 1000.0
INTERVAL_SECONDS = 60.0
ENTRY = journal.JournalEntry(
    4096, 'source', datetime.datetime.now(datetime.UTC), 'uuid', 10
)
BEGUN = schedule.Begun(ENTRY, 1024, NOW)
WHOLE = schedule.RestoreResult(4096, 1024, 4096, 1.0)
SHORT = dataclasses.replace(WHOLE, after_kib=2048)


def decide(
    state: State, seen: Seen, *, now: float = NOW, watched: bool = False
) -> tuple[Action, State]:
    return schedule.decide(state, seen, now, INTERVAL_SECONDS, watched)


class DecideTest(base.TestCase):
    def test_a_guest_without_an_entry_is_forgotten(self) -> None:
        self.assertEqual((Action.FORGET, State()), decide(State(), Seen()))

    def test_one_that_was_left_with_less_is_not_forgotten_so(self) -> None:
        half = State(begun=BEGUN, nudge=Nudge.HALF)
        for state in (half, schedule.postponed(half, NOW, INTERVAL_SECONDS)):
            self.assertEqual((Action.LEAVE, State()), decide(state, Seen()))

    def test_a_running_guest_gets_its_memory_at_once(self) -> None:
        action, state = decide(State(), Seen(ENTRY))
        self.assertIs(Action.BEGIN, action)
        self.assertEqual(
            NOW + schedule.NUDGE_INTERVAL_SECONDS, state.due_at_seconds
        )

    def test_one_that_is_watched_is_looked_at_all_the_time(self) -> None:
        _action, state = decide(State(), Seen(ENTRY), watched=True)
        state = dataclasses.replace(state, begun=BEGUN)
        pauses, now = [], NOW
        while state.due_at_seconds < NOW + schedule.NUDGE_INTERVAL_SECONDS:
            pauses.append(round(state.due_at_seconds - now, 2))
            now = state.due_at_seconds
            seen = Seen(
                ENTRY, result=dataclasses.replace(SHORT, seconds=now - NOW)
            )
            action, state = decide(state, seen, now=now, watched=True)
            self.assertIs(Action.NOTHING, action)
        self.assertEqual([0.1] * 10 + [0.11, 0.12, 0.13], pauses[1:14])
        self.assertGreater(pauses[-1], 0.4)
        self.assertLess(len(pauses), 30)

    def test_one_that_is_watched_is_nudged_again_and_again(self) -> None:
        state, nudges = State(attempts=1, begun=BEGUN), []
        while (now := state.due_at_seconds) < 30:
            seen = Seen(ENTRY, result=dataclasses.replace(SHORT, seconds=now))
            action, state = decide(state, seen, now=now, watched=True)
            if action is Action.NUDGE:
                nudges.append(now)
        self.assertEqual([0.0, 6.5, 13.0, 19.5, 26.0], nudges)
        self.assertEqual(1, state.attempts)

    def test_what_is_known_is_kept_until_it_is_restored(self) -> None:
        state = State(known=ENTRY)
        for seen in (
            Seen(ENTRY, is_lost=True, situation=Situation.HAS_JOB),
            Seen(ENTRY, is_lost=True, situation=Situation.PAUSED),
            Seen(
                unreadable=exceptions.JournalUnreadable(entry='', problem='')
            ),
        ):
            _action, state = decide(state, seen)
            self.assertIs(ENTRY, state.known)
        state = schedule.failed(state, NOW, INTERVAL_SECONDS)
        state = schedule.notified(state, NOW, NOW)
        state = schedule.postponed(state, NOW, INTERVAL_SECONDS)
        action, following = decide(state, Seen(ENTRY, is_lost=True))
        self.assertIs(Action.BEGIN, action)
        self.assertIs(ENTRY, following.known)

    def test_a_guest_with_a_job_or_paused_is_not_touched(self) -> None:
        for situation in (Situation.HAS_JOB, Situation.PAUSED):
            action, _state = decide(State(), Seen(ENTRY, situation=situation))
            self.assertIs(Action.NOTHING, action)

    def test_what_a_paused_guest_has_lost_is_written_again(self) -> None:
        for situation, expected in (
            (Situation.PAUSED, Action.WRITE),
            (Situation.HAS_JOB, Action.NOTHING),
        ):
            seen = Seen(ENTRY, is_lost=True, situation=situation)
            self.assertIs(expected, decide(State(known=ENTRY), seen)[0])

    def test_a_guest_with_a_job_is_checked_again_within_the_interval(
        self,
    ) -> None:
        state, dues = State(), []
        for _time in range(20):
            _action, state = decide(
                state, Seen(ENTRY, situation=Situation.HAS_JOB)
            )
            dues.append(round(state.due_at_seconds - NOW, 1))
        self.assertEqual([0.1, 0.2, 0.4], dues[:3])
        self.assertEqual(60.0, dues[-1])

    def test_a_paused_guest_begins_anew_when_it_runs(self) -> None:
        state = State(attempts=7, nudge=Nudge.DONE, begun=BEGUN)
        self.assertEqual(
            State(NOW + INTERVAL_SECONDS, begun=BEGUN),
            decide(state, Seen(ENTRY, situation=Situation.PAUSED))[1],
        )

    def test_a_whole_guest_is_finished_whatever_was_tried(self) -> None:
        for nudge in (Nudge.NOT_YET, Nudge.DONE):
            action, state = decide(
                State(attempts=7, nudge=nudge), Seen(ENTRY, result=WHOLE)
            )
            self.assertIs(Action.FINISH, action)
            self.assertGreater(state.due_at_seconds, NOW)

    def test_without_a_definition_its_entry_stays_and_it_is_reported_once(
        self,
    ) -> None:
        seen = Seen(ENTRY, is_persistent=False, result=WHOLE)
        action, state = decide(State(attempts=1, begun=BEGUN), seen)
        self.assertIs(Action.REPORT, action)
        self.assertTrue(state.awaits_definition)
        self.assertEqual(NOW + INTERVAL_SECONDS, state.due_at_seconds)
        for following in (
            state,
            schedule.notified(state, NOW, NOW),
            schedule.postponed(state, NOW, INTERVAL_SECONDS),
            schedule.failed(state, NOW, INTERVAL_SECONDS),
        ):
            action, following = decide(following, seen)
            self.assertIs(Action.NOTHING, action)
        action, _state = decide(following, Seen(ENTRY, result=WHOLE))
        self.assertIs(Action.FINISH, action)

    def test_one_that_lacks_memory_again_awaits_no_definition(self) -> None:
        _action, state = decide(
            State(begun=BEGUN, awaits_definition=True),
            Seen(ENTRY, is_persistent=False, result=SHORT),
        )
        self.assertFalse(state.awaits_definition)

    def test_a_guest_that_lacks_a_batch_is_given_a_second_to_take_it(
        self,
    ) -> None:
        lacks = dataclasses.replace(WHOLE, after_kib=4096 - 1024)
        state, now = State(attempts=1, begun=BEGUN), NOW
        while now < NOW + schedule.SETTLED_SECONDS:
            action, state = decide(state, Seen(ENTRY, result=lacks), now=now)
            self.assertIs(Action.NOTHING, action)
            self.assertIs(
                Action.FINISH,
                decide(state, Seen(ENTRY, result=WHOLE), now=now)[0],
            )
            self.assertLess(now, state.due_at_seconds)
            now = state.due_at_seconds
        actions = []
        while Action.FINISH not in actions:
            action, state = decide(state, Seen(ENTRY, result=lacks), now=now)
            actions.append(action)
            now = state.due_at_seconds
            self.assertLess(now, NOW + 5)
        self.assertEqual(
            [Action.NUDGE, Action.REQUEST, Action.FINISH], actions
        )

    def test_one_that_came_near_before_is_given_that_second_again(
        self,
    ) -> None:
        lacks = dataclasses.replace(WHOLE, after_kib=4096 - 1024)
        state = State(attempts=1, begun=BEGUN, nudge_at_seconds=NOW + 5)
        for result, seconds in ((lacks, 0), (SHORT, 1), (lacks, 2)):
            action, state = decide(
                state, Seen(ENTRY, result=result), now=NOW + seconds
            )
            self.assertIs(Action.NOTHING, action)

    def test_whatever_comes_between_the_halves_of_a_nudge_the_second_does(
        self,
    ) -> None:
        half = State(attempts=3, begun=BEGUN, nudge=Nudge.HALF)
        for state in (
            half,
            schedule.failed(half, NOW, INTERVAL_SECONDS),
            schedule.notified(half, NOW, NOW),
            schedule.postponed(half, NOW, INTERVAL_SECONDS),
            decide(half, Seen(ENTRY, situation=Situation.PAUSED))[1],
        ):
            for result in (SHORT, WHOLE):
                action, _state = decide(state, Seen(ENTRY, result=result))
                self.assertIs(Action.REQUEST, action)

    def test_a_late_guest_is_nudged_in_two_steps(self) -> None:
        state, actions, dues = State(attempts=1, begun=BEGUN), [], []
        for _step in range(4):
            action, state = decide(state, Seen(ENTRY, result=SHORT))
            actions.append(action)
            dues.append(round(state.due_at_seconds - NOW, 1))
        self.assertEqual(
            [Action.NUDGE, Action.REQUEST, Action.NOTHING, Action.NUDGE],
            actions,
        )
        self.assertEqual([0.5, 1.0, 0.2, 0.5], dues)

    def test_a_guest_that_stays_late_is_reported(self) -> None:
        state = State(attempts=7, nudge=Nudge.DONE, begun=BEGUN)
        action, state = decide(state, Seen(ENTRY, result=SHORT))
        self.assertIs(Action.REPORT, action)
        self.assertEqual(8, state.attempts)

    def test_an_unreadable_entry_is_reported_once(self) -> None:
        state, actions = State(), []
        for problem in ('one', 'one', 'other'):
            error = exceptions.JournalUnreadable(entry='', problem=problem)
            action, state = decide(state, Seen(unreadable=error))
            actions.append(action)
        self.assertEqual(
            [Action.REPORT, Action.NOTHING, Action.REPORT], actions
        )
        self.assertEqual(NOW + INTERVAL_SECONDS, state.due_at_seconds)


class NotifiedTest(base.TestCase):
    def test_a_guest_is_checked_now_and_its_attempts_begin_anew(self) -> None:
        state = schedule.notified(
            State(9999.0, 40, BEGUN, Nudge.DONE), NOW, NOW - 1
        )
        self.assertEqual(State(NOW, 1, BEGUN), state)

    def test_whoever_asks_again_and_again_is_served_ten_times_a_second(
        self,
    ) -> None:
        state = schedule.notified(State(), NOW, NOW)
        self.assertEqual(NOW + schedule.SHORTEST_SECONDS, state.due_at_seconds)


class PauseTest(base.TestCase):
    def pauses(self, number: int, interval_seconds: float) -> list[float]:
        state, now, pauses = State(), 0.0, []
        for _time in range(number):
            state = schedule.failed(state, now, interval_seconds)
            pauses.append(round(state.due_at_seconds - now, 1))
            now = state.due_at_seconds
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


STATES = strategies.builds(
    State,
    due_at_seconds=strategies.floats(0, NOW),
    attempts=strategies.integers(0, schedule.MOST_ATTEMPTS),
    begun=strategies.sampled_from([None, BEGUN]),
    nudge=strategies.sampled_from(Nudge),
    nudge_at_seconds=strategies.sampled_from(
        [0.0, NOW, NOW + 0.01, NOW + 5.0]
    ),
    unreadable=strategies.sampled_from([None, 'not XML']),
)


class NeverInThePastTest(base.TestCase):
    """A check that is due at once after a check is a loop that spins."""

    @hypothesis.given(
        state=STATES,
        entry=strategies.sampled_from([None, ENTRY]),
        situation=strategies.sampled_from(Situation),
        result=strategies.sampled_from([None, SHORT, WHOLE]),
        unreadable=strategies.sampled_from(
            [None, exceptions.JournalUnreadable(entry='', problem='')]
        ),
        interval_seconds=strategies.integers(5, 3600),
        watched=strategies.booleans(),
    )
    def test_after_whatever_was_seen_there_is_a_pause(
        self, state: State, interval_seconds: int, watched: bool, **seen: Any
    ) -> None:
        action, following = schedule.decide(
            state, Seen(**seen), NOW, interval_seconds, watched
        )
        if action not in (Action.FORGET, Action.LEAVE):
            self.assert_later(following)

    @hypothesis.given(
        state=STATES, interval_seconds=strategies.integers(5, 3600)
    )
    def test_after_an_error_and_a_lock_there_is_a_pause(
        self, state: State, interval_seconds: int
    ) -> None:
        for happens in (schedule.failed, schedule.postponed):
            self.assert_later(happens(state, NOW, interval_seconds))
        self.assert_later(schedule.notified(state, NOW, NOW))

    def assert_later(self, state: State) -> None:
        self.assertGreaterEqual(
            state.due_at_seconds, NOW + schedule.SHORTEST_SECONDS
        )
        self.assertLessEqual(
            state.due_at_seconds, NOW + schedule.LONGEST_SECONDS
        )
