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

from collections.abc import Mapping
import dataclasses
import pathlib

from tests.bench import files
from tests.bench import matrix

#: Changes when a figure changes its meaning.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast the guest did its own work, bytes a second; None: unknown.

    :param before: in the seconds before the migration was asked for.
    :param during: from then to the end of it, with the landing for most.
    :param after: in the seconds after that.
    """

    before: float | None
    during: float | None
    after: float | None


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A turn that was begun.

    :param round: counted from 1.
    """

    scenario: str
    reporting: bool
    migration_bandwidth_mbps: int | None
    method: str
    round: int

    @property
    def cell(self) -> matrix.Cell:
        """The situation it was measured in."""
        return matrix.Cell(
            self.scenario, self.reporting, self.migration_bandwidth_mbps
        )


@dataclasses.dataclass(frozen=True)
class Run(Attempt):
    """One migration in figures.

    :param seconds: from the first thing the method did to the guest running
        at the destination; to the end of libvirt's job where memory comes
        after the guest.
    :param delay_seconds: from that to the start of the transfer.
    :param bytes_sent: by the source over the migration network, in those
        seconds.
    :param downtime_ms: for how long the guest was stopped, by QEMU; None where
        libvirt does not tell.
    :param rss_before_kib: resident size of its QEMU at the source.
    :param rss_after_kib: the same at the destination, in the end.
    :param balloon_before_kib: memory the guest had at the source.
    :param balloon_after_kib: memory it had in the end.
    :param back_seconds: from the landing to all memory being restored; None
        where that took longer than anybody waits.
    :param oom_kills: by the guest's kernel.
    :param swapped_out_pages: by the guest's kernel.
    :param refaulted_pages: page cache it read again after dropping it.
    :param pace: how fast the guest worked.
    :param work: that in time: seconds since the end of the migration, bytes a
        second.
    :param cpu_seconds: of the process that ran the method, up to the landing.
    :param load: of this machine as the run began, one-minute average.
    :param wrong: what is wrong with the guest; nothing where it is intact.
    :param told: what the method reported, line by line.
    """

    seconds: float
    delay_seconds: float
    bytes_sent: int
    downtime_ms: int | None
    rss_before_kib: int
    rss_after_kib: int
    balloon_before_kib: int
    balloon_after_kib: int
    back_seconds: float | None
    oom_kills: int
    swapped_out_pages: int
    refaulted_pages: int
    pace: Pace
    work: tuple[tuple[float, float], ...]
    cpu_seconds: float
    load: float
    wrong: tuple[str, ...]
    told: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Failure(Attempt):
    """A run that gave no figures, and why."""

    why: str


@dataclasses.dataclass(frozen=True)
class Bench:
    """All that was measured at one time.

    :param started: when, ISO 8601.
    :param seconds: how long all of it took so far.
    :param memory_mib: the guest's memory.
    :param rounds: how often each method was to be measured.
    :param machine: what it was measured on, with which versions.
    :param assumed_bandwidths: what the plugin took each bandwidth to be as
        its first run that counts began, and how it knew, by the bandwidth's
        name.
    :param failures: runs that failed.
    :param unable: runs that a method cannot make.
    """

    started: str
    seconds: float
    memory_mib: int
    rounds: int
    machine: Mapping[str, str]
    assumed_bandwidths: Mapping[str, str]
    runs: tuple[Run, ...] = ()
    failures: tuple[Failure, ...] = ()
    unable: tuple[Failure, ...] = ()

    def cells(self) -> list[matrix.Cell]:
        """List the situations that were measured, in their order."""
        return list(dict.fromkeys(run.cell for run in self.runs))

    def of(self, cell: matrix.Cell, method: str) -> list[Run]:
        """Find the runs of a method in a situation."""
        return [
            run
            for run in self.runs
            if run.cell == cell and run.method == method
        ]

    def is_unable(self, cell: matrix.Cell, method: str) -> bool:
        """Tell whether a method was found unable in a situation."""
        return any(
            one.cell == cell and one.method == method for one in self.unable
        )

    def methods(self, cell: matrix.Cell) -> list[str]:
        """List the methods that were measured in a situation."""
        return [name for name in matrix.METHODS if self.of(cell, name)]


def to_json(bench: Bench) -> str:
    """Write all that was measured."""
    return files.to_json(bench, FORMAT)


def from_json(text: str) -> Bench:
    """Read what to_json() wrote.

    :raises ValueError: it is something else.
    """
    return files.from_json(text, Bench, FORMAT)


def write(bench: Bench, file: pathlib.Path) -> None:
    """Write it into a file, in full or not at all."""
    files.write(bench, FORMAT, file)
