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

"""What a guest's work amounted to: throughput and latency; pure."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import math

from tests.guests.inside import load

# A line of pgbench's log: client, number, microseconds, script, and the time
# of day in seconds and microseconds.
_PGBENCH_WORDS = 6


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece of work.

    :param at_seconds: the guest's time of day as it ended.
    :param milliseconds: how long it took; None where it failed.
    """

    at_seconds: float
    milliseconds: float | None


@dataclasses.dataclass(frozen=True)
class Pace:
    """Work in a while.

    :param throughput: pieces a second.
    :param p99_ms: 99 of 100 pieces took no longer; None where none was done.
    :param failed: how many pieces failed.
    """

    throughput: float
    p99_ms: float | None
    failed: int


def parse(log: str) -> list[Piece]:
    """Read the log of ``inside/load.py`` or of pgbench.

    A line that is being written may be cut short, and does not count.
    """
    return [
        _piece(line.split())
        for line in log.splitlines(keepends=True)
        if line.endswith('\n')
    ]


def _piece(words: Sequence[str]) -> Piece:
    if len(words) >= _PGBENCH_WORDS:
        at_seconds = int(words[4]) + int(words[5]) / 1e6
        return Piece(at_seconds, int(words[2]) / 1000)
    at, took = words
    milliseconds = None if took == load.FAILED else int(took) / 1000
    return Piece(float(at), milliseconds)


def pace(pieces: Sequence[Piece], begin: float, end: float) -> Pace:
    """Tell how the work went in a while.

    :param begin: by the guest's time of day.
    :param end: the same.
    """
    took = [
        piece.milliseconds
        for piece in pieces
        if begin <= piece.at_seconds < end
    ]
    done = sorted(one for one in took if one is not None)
    return Pace(
        throughput=len(done) / (end - begin),
        p99_ms=done[math.ceil(0.99 * len(done)) - 1] if done else None,
        failed=len(took) - len(done),
    )


def each_second(
    pieces: Sequence[Piece], begin: float, end: float
) -> Iterator[tuple[float, float]]:
    """Tell how the work went, second by second.

    :returns: the seconds since ``begin`` to the middle of each, and pieces
        a second.
    """
    counts = [0] * math.floor(end - begin)
    for piece in pieces:
        second = math.floor(piece.at_seconds - begin)
        if piece.milliseconds is not None and 0 <= second < len(counts):
            counts[second] += 1
    for second, count in enumerate(counts):
        yield second + 0.5, count
