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

"""The phases of a migration, found in what was seen from outside."""

from collections.abc import Iterator
import unittest

from tests.lab import recording
from tests.lab.recording import Sample

GIB = 1 << 20
ORIGINAL_KIB = 4 * GIB
TICK_SECONDS = 0.25


def watch(seconds: float) -> Iterator[float]:
    """Count from 1000 in the recorder's ticks."""
    return (1000 + tick * TICK_SECONDS for tick in range(int(seconds * 4) + 1))


def plain() -> recording.Recording:
    """A transfer from second 4.1 to 10, and nothing else."""
    return recording.Recording(
        source=tuple(
            Sample(
                at_seconds=at,
                sent_bytes=7000 + max(0, int(min(at, 1010) - 1004) * 100),
                running=at < 1010,
                balloon_kib=ORIGINAL_KIB if at < 1010 else None,
                job_seconds=at - 1004.1 if 1004.1 < at < 1010 else None,
            )
            for at in watch(12)
        ),
        destination=tuple(
            Sample(
                at,
                sent_bytes=0,
                running=at >= 1010,
                balloon_kib=ORIGINAL_KIB if at > 1010 else None,
            )
            for at in watch(12)
        ),
    )


def shrunk() -> recording.Recording:
    """A release in seconds 2 to 5, a transfer 6 to 8, restored at 10."""

    def source_kib(at: float) -> int:
        return int(max(1, min(4, 4 - (at - 1002))) * GIB)

    def destination_kib(at: float) -> int:
        return int(min(4, 1 + (at - 1008) * 1.5) * GIB)

    return recording.Recording(
        source=tuple(
            Sample(
                at,
                sent_bytes=0,
                running=at < 1008,
                balloon_kib=source_kib(at) if at < 1008 else None,
                job_seconds=at - 1006 if 1006 <= at < 1008 else None,
            )
            for at in watch(12)
        ),
        destination=tuple(
            Sample(
                at,
                sent_bytes=0,
                running=at >= 1008,
                balloon_kib=destination_kib(at) if at >= 1008 else None,
            )
            for at in watch(12)
        ),
    )


def until(seen: recording.Recording, end: float) -> recording.Recording:
    """What had been seen by then."""
    return recording.Recording(
        tuple(one for one in seen.source if one.at_seconds < end),
        tuple(one for one in seen.destination if one.at_seconds < end),
    )


def found(seen: recording.Recording) -> recording.Phases:
    phases = recording.find(seen, ORIGINAL_KIB)
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
            recording.find(until(shrunk(), end=1008), ORIGINAL_KIB)
        )

    def test_memory_that_is_not_back_has_no_time_of_return(self) -> None:
        phases = found(until(shrunk(), end=1009))
        self.assertIsNone(phases.restored)
        self.assertIsNone(phases.restore_seconds)

    def test_looks_without_an_answer_are_no_balloon_of_nothing(self) -> None:
        seen = plain()
        blind = Sample(1003.9, sent_bytes=7000, running=True)
        phases = found(
            recording.Recording((*seen.source, blind), seen.destination)
        )
        self.assertIsNone(phases.release_started)

    def test_what_was_sent_is_counted_from_the_first_look(self) -> None:
        self.assertEqual(600, recording.sent_bytes(plain()))
