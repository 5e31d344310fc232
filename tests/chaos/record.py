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


"""What was found in one cell; pure."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses

from tests.chaos import phases
from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase
from tests.lab import guest as lab_guest
from tests.lab import witness


@dataclasses.dataclass(frozen=True)
class Account(witness.Witness):
    """What must be the same of a guest before and after a fault.

    :param period_seconds: its statistics period; live, at its next
        start.
    :param oom_kills: by its kernel, since it booted.
    """

    period_seconds: tuple[int, int]
    oom_kills: int


@dataclasses.dataclass(frozen=True)
class Nova:
    """What Nova has of a server and of its migration; None: nothing.

    :param status: of the server.
    :param task: what Nova is doing with it.
    :param host: where the server is.
    :param migration: the status of the migration.
    :param allocations: memory in placement, MiB, by who has it (``server``
        or ``migration``) and the host.
    """

    status: str | None
    task: str | None
    host: str | None
    migration: str | None
    allocations: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Other:
    """Another guest that migrated at the same time, as it went.

    :param source: the host it was on; it was to go to the other one.
    :param stopped: whether it is the one whose QEMU was stopped.
    :param whole_seconds: from the fault until it was whole for good, 0 where
        it was by then; None where it never was.
    :param headroom: what it noted of its available memory; None where it has
        booted since.

    The rest is as in :class:`Record`.
    """

    source: str
    stopped: bool
    runs_on: tuple[str, ...]
    journal_entry: bool
    before: Account
    after: Account | None
    nova: Nova
    whole_seconds: float | None
    headroom: lab_guest.Headroom | None


@dataclasses.dataclass(frozen=True)
class Record:
    """One cell, as it went.

    :param phase: the phase the fault was to be injected in.
    :param plugin: whether the computes had the plugin.
    :param injected_in: the phases in which the injection began and ended.
    :param outstanding: whether there had been a journal entry by then.
    :param source: the host the guest was on.
    :param destination: the host it went to.
    :param refused: why Nova refused the request; None if it did not.
    :param runs_on: the hosts the guest runs on in the end, by libvirt.
    :param journal_entry: whether there is a journal entry in the end.
    :param before: the guest before.
    :param after: the guest in the end; None where there is none to ask.
    :param nova: what Nova has in the end.
    :param reached_seconds: from the request to the phase.
    :param recovered_seconds: from the fault until both hosts had recovered.
    :param whole_seconds: from the fault until the guest was whole for good;
        None where it never was.
    :param timeout_seconds: how long that was waited for after both hosts had
        recovered.
    :param warnings: the plugin's warnings and errors.
    :param headroom: what the guest noted of its available memory from before
        the migration until it was whole; None where it has booted since.
    :param others: other guests that migrated at the same time.
    :param remarks: what else was done to recover from the fault.
    """

    phase: str
    fault: str
    plugin: bool
    injected_in: tuple[str, str]
    outstanding: bool
    source: str
    destination: str
    refused: str | None
    runs_on: tuple[str, ...]
    journal_entry: bool
    before: Account
    after: Account | None
    nova: Nova
    reached_seconds: float
    recovered_seconds: float
    whole_seconds: float | None
    timeout_seconds: float
    warnings: tuple[str, ...]
    headroom: lab_guest.Headroom | None = None
    others: tuple[Other, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def cell(self) -> Cell:
        """Where it belongs."""
        return Cell(phases.BY_WORD[self.phase], self.fault)

    @property
    def headrooms(self) -> list[lab_guest.Headroom]:
        """What all guests noted that have not booted since."""
        guests: tuple[Record | Other, ...] = (self, *self.others)
        return [one.headroom for one in guests if one.headroom is not None]

    @property
    def phases_met(self) -> set[Phase]:
        """Where the migration was while the fault happened."""
        by_word = {phase.word: phase for phase in Phase}
        return {by_word[word] for word in self.injected_in}


@dataclasses.dataclass(frozen=True)
class Inconclusive:
    """A cell that is inconclusive, and why.

    :param plugin: whether the computes had the plugin.
    """

    phase: str
    fault: str
    why: str
    plugin: bool = True

    @property
    def cell(self) -> Cell:
        """Where it belongs."""
        return Cell(phases.BY_WORD[self.phase], self.fault)


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that was found.

    :param machine: what it was found on, and which versions.
    :param records: with the plugin.
    :param without_plugin: without it.
    """

    machine: Mapping[str, str]
    records: tuple[Record, ...] = ()
    inconclusive: tuple[Inconclusive, ...] = ()
    without_plugin: tuple[Record, ...] = ()

    def plus(self, found: Record | Inconclusive) -> 'Findings':
        """Add a cell; what was known of it before is dropped.

        Without the plugin it is kept, for Nova does not end the same thing
        in the same way each time; what was inconclusive says nothing.
        """
        if not found.plugin:
            if isinstance(found, Record):
                without_plugin = (*self.without_plugin, found)
                return dataclasses.replace(self, without_plugin=without_plugin)
            return self
        records = [one for one in self.records if one.cell != found.cell]
        inconclusive = [
            one for one in self.inconclusive if one.cell != found.cell
        ]
        if isinstance(found, Record):
            records.append(found)
        else:
            inconclusive.append(found)
        return dataclasses.replace(
            self, records=tuple(records), inconclusive=tuple(inconclusive)
        )

    def rest(self, cells: Iterable[Cell], *, plugin: bool) -> list[Cell]:
        """Tell which cells are still to be run, with the plugin or without."""
        run = {
            one.cell
            for one in (self.records if plugin else self.without_plugin)
        }
        return [cell for cell in cells if cell not in run]

    def plus_all(self, others: 'Findings') -> 'Findings':
        """Add what others have found, on their machine."""
        added = dataclasses.replace(self, machine=others.machine)
        for found in (
            *others.records,
            *others.inconclusive,
            *others.without_plugin,
        ):
            added = added.plus(found)
        return added
