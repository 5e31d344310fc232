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

"""What looks at a migrating guest from outside tell of its migration."""

from collections.abc import Iterator
import unittest

from tests.lab import observation
from tests.lab.observation import Observation
from tests.lab.observation import Sample
from tests.lab.observation import State

GIB = 1 << 20
ORIGINAL_KIB = 4 * GIB
TICK_SECONDS = 0.25


def watch(seconds: float) -> Iterator[float]:
    """Count from 1000 in ticks of the demo's observer."""
    return (1000 + tick * TICK_SECONDS for tick in range(int(seconds * 4) + 1))


def away_from(at: float, moment: float) -> State:
    return State.RUNNING if at < moment else State.AWAY


def here_from(at: float, moment: float) -> State:
    return State.ARRIVING if at < moment else State.RUNNING


def plain() -> Observation:
    """A transfer from second 4.1 to 10, and nothing else."""
    return Observation(
        source=tuple(
            Sample(
                at_seconds=at,
                sent_bytes=7000 + max(0, int(min(at, 1010) - 1004) * 100),
                state=away_from(at, 1010),
                balloon_kib=ORIGINAL_KIB if at < 1010 else None,
                job_seconds=at - 1004.1 if 1004.1 < at < 1010 else None,
            )
            for at in watch(12)
        ),
        destination=tuple(
            Sample(
                at,
                sent_bytes=0,
                state=here_from(at, 1010),
                balloon_kib=ORIGINAL_KIB if at > 1010 else None,
            )
            for at in watch(12)
        ),
    )


def shrunk() -> Observation:
    """A release in seconds 2 to 5, a transfer 6 to 8, restored at 10."""

    def source_kib(at: float) -> int:
        return int(max(1, min(4, 4 - (at - 1002))) * GIB)

    def destination_kib(at: float) -> int:
        return int(min(4, 1 + (at - 1008) * 1.5) * GIB)

    return Observation(
        source=tuple(
            Sample(
                at,
                sent_bytes=0,
                state=away_from(at, 1008),
                balloon_kib=source_kib(at) if at < 1008 else None,
                job_seconds=at - 1006 if 1006 <= at < 1008 else None,
            )
            for at in watch(12)
        ),
        destination=tuple(
            Sample(
                at,
                sent_bytes=0,
                state=here_from(at, 1008),
                balloon_kib=destination_kib(at) if at >= 1008 else None,
            )
            for at in watch(12)
        ),
    )


def until(seen: Observation, end: float) -> Observation:
    """What had been seen by then."""
    return Observation(
        tuple(one for one in seen.source if one.at_seconds < end),
        tuple(one for one in seen.destination if one.at_seconds < end),
    )


def found(seen: Observation) -> observation.Phases:
    phases = observation.find(seen, ORIGINAL_KIB)
    assert phases is not None
    return phases


class PhasesTest(unittest.TestCase):
    def test_a_plain_migration_is_all_transfer(self) -> None:
        phases = found(plain())
        self.assertEqual(0, phases.release_seconds)
        self.assertEqual(0, phases.restore_seconds)
        self.assertAlmostEqual(5.9, phases.transfer_seconds)
        self.assertEqual(phases.transfer_seconds, phases.total_seconds)

    def test_a_release_counts_from_the_last_look_before_it(self) -> None:
        phases = found(shrunk())
        self.assertEqual(1002, phases.started)
        self.assertEqual(3, phases.release_seconds)
        self.assertEqual(2, phases.transfer_seconds)
        self.assertEqual(6, phases.total_seconds)
        self.assertEqual(2, phases.restore_seconds)

    def test_nothing_is_found_before_the_guest_has_landed(self) -> None:
        self.assertIsNone(
            observation.find(until(shrunk(), end=1008), ORIGINAL_KIB)
        )

    def test_memory_that_is_not_back_has_no_time_of_return(self) -> None:
        phases = found(until(shrunk(), end=1009))
        self.assertIsNone(phases.restored)
        self.assertIsNone(phases.restore_seconds)

    def test_looks_without_an_answer_are_no_balloon_of_nothing(self) -> None:
        seen = plain()
        blind = Sample(1003.9, State.RUNNING)
        phases = found(Observation((*seen.source, blind), seen.destination))
        self.assertIsNone(phases.release_started)

    def test_what_was_sent_is_counted_from_the_first_look(self) -> None:
        self.assertEqual(600, plain().sent_bytes)


class HistoryTest(unittest.TestCase):
    def seen(self, *samples: Sample) -> Sample:
        history = observation.History()
        for sample in samples:
            history.add(sample)
        return history.latest

    def test_answers_of_several_looks_are_taken_together(self) -> None:
        latest = self.seen(
            Sample(1.0, State.RUNNING),
            Sample(1.1, balloon_kib=GIB, journal_entry=False),
            Sample(1.2, State.SWITCHING),
        )
        self.assertEqual(
            (State.SWITCHING, GIB, False),
            (latest.state, latest.balloon_kib, latest.journal_entry),
        )

    def test_nothing_is_known_of_a_guest_that_has_left(self) -> None:
        latest = self.seen(
            Sample(1.0, balloon_kib=GIB), Sample(1.1, State.AWAY)
        )
        self.assertIsNone(latest.balloon_kib)

    def test_a_balloon_is_still_since_it_moved_last(self) -> None:
        latest = self.seen(
            Sample(1.0, balloon_kib=GIB),
            Sample(1.5, balloon_kib=GIB - 4),
            Sample(1.75, balloon_kib=GIB - 4),
            Sample(9.0, State.RUNNING),  # Nobody asked for its balloon.
        )
        self.assertEqual(0.25, latest.still_seconds)


class SinceTest(unittest.TestCase):
    def since(self, *states: State) -> float | None:
        since = observation.Since(
            lambda view: view.source.state is State.RUNNING
        )
        for at, state in enumerate(states):
            since.see(observation.View(Sample(at, state), Sample()), at)
        return since.seconds

    def test_only_the_last_unbroken_time_counts(self) -> None:
        runs, away = State.RUNNING, State.AWAY
        self.assertEqual(2, self.since(runs, away, runs, runs))
        self.assertIsNone(self.since(runs, away))
        self.assertIsNone(self.since())
