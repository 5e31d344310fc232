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

"""How fast a guest does its own work, while it migrates and around that."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import itertools
import statistics
import time
from typing import TYPE_CHECKING

from tests.bench.results import Pace

if TYPE_CHECKING:
    from tests.lab.guest import Guest

_LOG = '/run/throughput'
#: How long before the migration the guest's work counts.
BEFORE_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Work:
    """What was done in an interval.

    :param at_seconds: the middle of it, by the guest's own time of day.
    :param bytes_per_second: gone over in it.
    """

    at_seconds: float
    bytes_per_second: float


def start(guest: Guest, hot_file: str | None) -> None:
    """Have the guest begin its work; see ``guest/throughput.c``.

    :param hot_file: the file it reads; None for work on its memory.
    """
    guest.do('throughput', _LOG, *([hot_file] if hot_file else []))


def read(guest: Guest) -> list[Work]:
    """Ask the guest what it has done."""
    return parse(guest.do('cat', _LOG))


def parse(log: str) -> list[Work]:
    """Make sense of the guest's log; pure.

    :param log: lines of a time of day, and the bytes gone over up to then;
        one that is being written may be cut short.
    """
    lines = [
        line.split()
        for line in log.splitlines(keepends=True)
        if line.endswith('\n')
    ]
    points = [(float(at), int(done)) for at, done in lines]
    return [
        Work((at + then) / 2, (done - so_far) / (at - then))
        for (then, so_far), (at, done) in itertools.pairwise(points)
        if at > then
    ]


def clock_ahead_seconds(guest: Guest) -> float:
    """Tell how far the guest's clock is ahead of this machine's monotonic.

    The guest's clock stands still with the guest: ask anew after a landing.
    """
    before = time.monotonic()
    guest_seconds = guest.ask('guest-get-time') / 1e9
    return float(guest_seconds - (before + time.monotonic()) / 2)


def pace(
    work: Sequence[Work], asked: float, ended: float, after_seconds: float
) -> Pace:
    """Tell how fast the work went before, during and after; pure.

    :param asked: when the migration was asked for, by the guest's clock.
    :param ended: when the migration had ended, by the same.
    :param after_seconds: for how long it counts after that.
    """
    return Pace(
        before=_mean(work, asked - BEFORE_SECONDS, asked),
        during=_mean(work, asked, ended),
        after=_mean(work, ended, ended + after_seconds),
    )


def _mean(work: Sequence[Work], begin: float, end: float) -> float | None:
    values = [
        one.bytes_per_second for one in work if begin <= one.at_seconds < end
    ]
    return statistics.fmean(values) if values else None
