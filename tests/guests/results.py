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

"""What was measured: runs, and the file that keeps them; pure."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import statistics

from tests.bench import files

#: Changes when a figure changes its meaning.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Run:
    """One migration of a guest at work.

    :param round: counted from 1.
    :param killed: processes and services that ended.
    :param failed_allocations: of memory, for the guest's kernel, its programs
        and its work.
    :param swapped_out_kib: memory.
    :param refaulted_kib: page cache that it read again after dropping it.
    :param stalls: how often a process had to free memory itself to get some.
    :param throughput_before: pieces of work a second.
    :param throughput_during: the same, in these ``seconds``.
    :param throughput_after: the same, in the 60 s after them.
    :param p99_ms_before: 99 of 100 pieces of work took no longer; None where
        none was done.
    :param p99_ms_during: the same.
    :param p99_ms_after: the same.
    :param seconds: from the request to the guest running at the destination;
        with post-copy, with all its memory.
    :param bytes_sent: by the source over the migration network, in those
        seconds.
    :param downtime_ms: for how long the guest was stopped, by QEMU.
    :param work: pieces of work in each second, by the seconds since the
        migration.
    :param load: of this machine as the run began, one-minute average.
    :param harm: lines of the guest's journal that tell of kills and failed
        allocations, and the services that have ended.
    :param wrong: what is wrong with the guest itself; nothing where it is
        intact and has all its memory.
    :param told: what the plugin reported, line by line.
    """

    case: str
    method: str
    round: int
    killed: int
    failed_allocations: int
    swapped_out_kib: int
    refaulted_kib: int
    stalls: int
    throughput_before: float
    throughput_during: float
    throughput_after: float
    p99_ms_before: float | None
    p99_ms_during: float | None
    p99_ms_after: float | None
    seconds: float
    bytes_sent: int
    downtime_ms: int
    work: tuple[tuple[float, float], ...]
    load: float
    harm: tuple[str, ...]
    wrong: tuple[str, ...]
    told: tuple[str, ...]

    @property
    def share_during(self) -> float | None:
        """Throughput during the migration, as a share of that before."""
        return _share(self.throughput_during, self.throughput_before)

    @property
    def share_after(self) -> float | None:
        """Throughput after the landing, as a share of that before."""
        return _share(self.throughput_after, self.throughput_before)

    @property
    def lost_seconds(self) -> float | None:
        """How long its work at the pace before takes that the migration cost.

        Less than 0 where more was done than before.
        """
        share = self.share_during
        return None if share is None else (1 - share) * self.seconds


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that could not be measured, and why."""

    case: str
    method: str
    round: int
    why: str


@dataclasses.dataclass(frozen=True)
class Result:
    """A case and a method: sums of what hurts, medians of the rest."""

    case: str
    method: str
    killed: int
    failed_allocations: int
    swapped_out_kib: int
    refaulted_kib: int
    throughput_share_during: float | None
    throughput_share_after: float | None
    p99_ms_before: float | None
    p99_ms_during: float | None
    p99_ms_after: float | None
    seconds: float
    bytes_sent: int
    not_intact: int
    rounds: int
    lost_seconds: float | None


@dataclasses.dataclass(frozen=True)
class Guests:
    """All that was measured at one time.

    :param started: when, ISO 8601.
    :param seconds: how long all of it took so far.
    :param rounds: how often each case was to be measured with each method.
    :param machine: what it was measured on, with which versions.
    :param results: what :func:`summarise` makes of the runs.
    :param unable: runs that a method cannot make.
    :param quick: whether it was measured with the plugin alone, and for too
        short a while to tell how quick the guests are.
    """

    started: str
    seconds: float
    rounds: int
    machine: Mapping[str, str]
    results: tuple[Result, ...] = ()
    runs: tuple[Run, ...] = ()
    failures: tuple[Failure, ...] = ()
    unable: tuple[Failure, ...] = ()
    quick: bool = False

    def with_run(self, run: Run) -> Guests:
        """Add a run, and what it changes in the results."""
        runs = (*self.runs, run)
        return dataclasses.replace(
            self, runs=runs, results=tuple(summarise(runs))
        )

    def of(self, case: str, method: str) -> list[Run]:
        """Find the runs of a case with a method."""
        return [
            run
            for run in self.runs
            if (run.case, run.method) == (case, method)
        ]

    def result(self, case: str, method: str) -> Result | None:
        """Find what a case came to with a method."""
        for one in self.results:
            if (one.case, one.method) == (case, method):
                return one
        return None

    def cases(self) -> list[str]:
        """Name the cases that were measured, in their order."""
        return list(dict.fromkeys(run.case for run in self.runs))


def summarise(runs: Iterable[Run]) -> list[Result]:
    """Make a result of the runs of each case and method."""
    grouped: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        grouped.setdefault((run.case, run.method), []).append(run)
    return [
        _summary(case, method, some)
        for (case, method), some in grouped.items()
    ]


def _summary(case: str, method: str, runs: Sequence[Run]) -> Result:
    def middle(pick: Callable[[Run], float | None]) -> float | None:
        known = [value for run in runs if (value := pick(run)) is not None]
        return statistics.median(known) if known else None

    return Result(
        case=case,
        method=method,
        killed=sum(run.killed for run in runs),
        failed_allocations=sum(run.failed_allocations for run in runs),
        swapped_out_kib=sum(run.swapped_out_kib for run in runs),
        refaulted_kib=round(statistics.median(r.refaulted_kib for r in runs)),
        throughput_share_during=middle(lambda run: run.share_during),
        throughput_share_after=middle(lambda run: run.share_after),
        p99_ms_before=middle(lambda run: run.p99_ms_before),
        p99_ms_during=middle(lambda run: run.p99_ms_during),
        p99_ms_after=middle(lambda run: run.p99_ms_after),
        seconds=statistics.median(run.seconds for run in runs),
        bytes_sent=round(statistics.median(run.bytes_sent for run in runs)),
        not_intact=sum(bool(run.wrong) for run in runs),
        rounds=len(runs),
        lost_seconds=middle(lambda run: run.lost_seconds),
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def to_json(guests: Guests) -> str:
    """Write all that was measured."""
    return files.to_json(guests, FORMAT)


def from_json(text: str) -> Guests:
    """Read what to_json() wrote.

    :raises ValueError: it is something else.
    """
    guests = files.from_json(text, Guests, FORMAT)
    # What a file has of them was rounded.
    return dataclasses.replace(guests, results=tuple(summarise(guests.runs)))


def write(guests: Guests, file: pathlib.Path) -> None:
    """Write it into a file, in full or not at all."""
    files.write(guests, FORMAT, file)
