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


"""What was found in one cell, and the file that keeps it; pure."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import json
import os
import pathlib
from typing import Any

from tests.chaos import phases
from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase
from tests.lab import witness

#: Changes when a figure changes its meaning.
FORMAT = 2


@dataclasses.dataclass(frozen=True)
class Account(witness.Witness):
    """What must be the same of a guest before and after a fault.

    :param period_seconds: how often its balloon tells; live, at its next
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
class Record:
    """One cell, as it went.

    :param phase: where the fault was to be met.
    :param plugin: whether the computes had the plugin.
    :param hit: where the migration was as it began, and as it was done.
    :param owed: whether memory had been taken, or noted, by then.
    :param source: the host the guest was on.
    :param destination: the host it went to.
    :param refused: why Nova would not have it; None where it would.
    :param runs_on: the hosts the guest runs on in the end, by libvirt.
    :param noted: whether there is a journal entry in the end.
    :param before: the guest before.
    :param after: the guest in the end; None where there is none to ask.
    :param nova: what Nova has in the end.
    :param reached_seconds: from the request to the phase.
    :param healed_seconds: from the fault until both hosts were in order.
    :param whole_seconds: from the fault until the guest was whole for good;
        None where it never was.
    :param patience_seconds: how long that was waited for once both hosts
        were in order.
    :param told: what the plugin warned of.
    """

    phase: str
    fault: str
    plugin: bool
    hit: tuple[str, str]
    owed: bool
    source: str
    destination: str
    refused: str | None
    runs_on: tuple[str, ...]
    noted: bool
    before: Account
    after: Account | None
    nova: Nova
    reached_seconds: float
    healed_seconds: float
    whole_seconds: float | None
    patience_seconds: float
    told: tuple[str, ...]

    @property
    def cell(self) -> Cell:
        """Where it belongs."""
        return Cell(phases.BY_WORD[self.phase], self.fault)

    @property
    def hit_phases(self) -> set[Phase]:
        """Where the migration was while the fault happened."""
        by_word = {phase.word: phase for phase in Phase}
        return {by_word[word] for word in self.hit}


@dataclasses.dataclass(frozen=True)
class Failure:
    """A cell that came to nothing, and why.

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
    :param plain: without it.
    """

    machine: Mapping[str, str]
    records: tuple[Record, ...] = ()
    failures: tuple[Failure, ...] = ()
    plain: tuple[Record, ...] = ()

    def plus(self, found: Record | Failure) -> 'Findings':
        """Add a cell; what was known of it before is dropped.

        Without the plugin it is kept, for Nova does not end the same thing
        in the same way each time; what came to nothing says nothing.
        """
        if not found.plugin:
            if isinstance(found, Record):
                plain = (*self.plain, found)
                return dataclasses.replace(self, plain=plain)
            return self
        records = [one for one in self.records if one.cell != found.cell]
        failures = [one for one in self.failures if one.cell != found.cell]
        if isinstance(found, Record):
            records.append(found)
        else:
            failures.append(found)
        return dataclasses.replace(
            self, records=tuple(records), failures=tuple(failures)
        )

    def rest(self, cells: Iterable[Cell], *, plugin: bool) -> list[Cell]:
        """Tell which cells are still to be run, with the plugin or without."""
        run = {one.cell for one in (self.records if plugin else self.plain)}
        return [cell for cell in cells if cell not in run]

    def plus_all(self, others: 'Findings') -> 'Findings':
        """Add what others have found, on their machine."""
        added = dataclasses.replace(self, machine=others.machine)
        for found in (*others.records, *others.failures, *others.plain):
            added = added.plus(found)
        return added


def to_json(findings: Findings) -> str:
    """Write them down, on one line."""
    return json.dumps(_content(findings)) + '\n'


def _content(findings: Findings) -> dict[str, Any]:
    content = {'format': FORMAT, **dataclasses.asdict(findings)}
    rounded: dict[str, Any] = _rounded(content)
    return rounded


def _rounded(value: Any) -> Any:
    """Write seconds to the millisecond."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return value


def from_json(text: str) -> Findings:
    """Read what to_json() wrote.

    :raises ValueError: it is something else.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(f'not findings of the faults, format {FORMAT}')
    try:
        return Findings(
            machine=content['machine'],
            records=tuple(_record(one) for one in content['records']),
            failures=tuple(Failure(**one) for one in content['failures']),
            plain=tuple(_record(one) for one in content['plain']),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f'the findings are not whole: {error}') from error


def _record(content: dict[str, Any]) -> Record:
    return Record(
        **{
            **content,
            'hit': tuple(content['hit']),
            'runs_on': tuple(content['runs_on']),
            'told': tuple(content['told']),
            'nova': Nova(**content['nova']),
            'before': _account(content['before']),
            'after': content['after'] and _account(content['after']),
        }
    )


def _account(content: dict[str, Any]) -> Account:
    first, second = content['period_seconds']
    return Account(**{**content, 'period_seconds': (first, second)})


def write(findings: Findings, file: pathlib.Path) -> None:
    """Put them into a file, a line each: all, or what was there stays."""
    scratch = file.with_name(f'{file.name}.new')
    lines = ',\n'.join(
        f'"{name}": {_in_lines(value)}'
        for name, value in _content(findings).items()
    )
    scratch.write_text(f'{{\n{lines}\n}}\n')
    os.replace(scratch, file)


def _in_lines(value: Any) -> str:
    """Give each cell a line, for whoever compares two files."""
    if not isinstance(value, list):
        return json.dumps(value)
    lines = ',\n'.join(map(json.dumps, value))
    return f'[\n{lines}\n]' if lines else '[]'
