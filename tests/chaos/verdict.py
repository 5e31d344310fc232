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


"""What a record says: whole, or what was lost; pure."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Set
import dataclasses

from tests.chaos import matrix
from tests.chaos.kinds import End
from tests.chaos.kinds import Toll
from tests.chaos.phases import Phase
from tests.chaos.record import Account
from tests.chaos.record import Record

_NOT_DELETED = 'the server was to be deleted and is there'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What came of one cell.

    :param went: what became of the guest, in a word.
    :param wrong: what was lost, one sentence each; none where all is well.
    :param otherwise: how Nova ended it otherwise than without the plugin.
    :param missed: whether the fault met another phase than it was to.
    """

    went: str
    wrong: tuple[str, ...]
    otherwise: tuple[str, ...]
    missed: bool

    @property
    def word(self) -> str:
        """Say it in a word."""
        if self.wrong:
            return 'lost'
        if self.otherwise:
            return 'otherwise'
        return 'missed' if self.missed else 'whole'


def judge(record: Record, plain: Iterable[Record] = ()) -> Verdict:
    """Find what a fault cost that it need not have cost.

    :param plain: what came of faults without the plugin.
    """
    toll = record.cell.kind.toll_at(record.cell.phase)
    by_itself = {
        _ending(one)
        for one in plain
        if one.fault == record.fault
        and record.cell.phase in matrix.PLAIN[one.cell.phase]
    }
    if toll is Toll.GONE and record.refused is None and not record.runs_on:
        wrong = list(_leftovers(record))
    else:
        wrong = [
            *_guest(record, toll),
            *_memory(record),
            *_migration(record, toll),
        ]
    if _ending(record) in by_itself:
        wrong = [one for one in wrong if one != _NOT_DELETED]
    return Verdict(
        went=_went(record),
        wrong=tuple(wrong),
        otherwise=tuple(_otherwise(record, by_itself)),
        missed=_missed(record),
    )


def _missed(record: Record) -> bool:
    """Find a fault that met nothing: too late, or a guest left alone."""
    phase = record.cell.phase
    left_alone = record.plugin and phase >= Phase.NOTED and not record.owed
    return left_alone or phase not in record.hit_phases


def _went(record: Record) -> str:
    restarted = record.after and record.after.boot_id != record.before.boot_id
    if not record.runs_on:
        return 'gone'
    word = 'stayed' if record.runs_on == (record.source,) else 'moved'
    return f'{word}, restarted' if restarted else word


def _otherwise(record: Record, by_itself: Set[str]) -> Iterator[str]:
    """Hold what Nova has in the end against what it has by itself."""
    if by_itself and _ending(record) not in by_itself:
        ends = ', or '.join(sorted(by_itself))
        yield f'Nova ends it with {_ending(record)}; by itself with {ends}'


def _ending(record: Record) -> str:
    nova = record.nova
    return (
        f'{_went(record)}, server {nova.status} {nova.task or "idle"},'
        f' migration {nova.migration}, {len(nova.allocations)} allocations'
    )


def _leftovers(record: Record) -> Iterator[str]:
    """Find what is left of a guest that has ended with its server."""
    if record.nova.status is not None:
        yield _NOT_DELETED
    for who, mib in record.nova.allocations.items():
        yield f'placement keeps {mib} MiB for {who}'


def _guest(record: Record, toll: Toll) -> Iterator[str]:
    """Find what is wrong with the guest itself."""
    after = record.after
    if after is None:
        yield 'the guest is not there to be asked'
        return
    if len(record.runs_on) > 1:
        yield f'the guest runs on {" and ".join(record.runs_on)}'
    if after.boot_id != record.before.boot_id:
        if toll is not Toll.RESTART:
            yield 'the guest was restarted'
        return
    if after.mismatches:
        yield f'{after.mismatches} looks at its memory found it changed'
    if after.checksum != record.before.checksum:
        yield 'the checksum over memory it holds is another'
    if after.oom_kills > record.before.oom_kills:
        kills = after.oom_kills - record.before.oom_kills
        yield f'its kernel killed {kills} processes for want of memory'


def _memory(record: Record) -> Iterator[str]:
    """Find memory that is not back, and what is left of the debt."""
    if record.after is not None:
        yield from differences(record.before, record.after)
    if record.noted:
        yield 'the journal still says that it is owed memory'
    if record.whole_seconds is None:
        yield (
            f'it was not whole {record.patience_seconds:.0f} s after both'
            ' hosts were in order'
        )


def differences(before: Account, after: Account) -> Iterator[str]:
    """Find what a guest does not have as before, to the kibibyte."""
    for what, then, now in (
        ('memory by its balloon', before.balloon_kib, after.balloon_kib),
        ('memory its kernel manages', before.total_kib, after.total_kib),
        (
            'memory at its next start',
            before.definition_kib,
            after.definition_kib,
        ),
    ):
        if now != then:
            yield f'{what}: {now} KiB, {then} KiB before'
    if after.period_seconds != before.period_seconds:
        yield (
            f'its balloon tells every {after.period_seconds} s,'
            f' {before.period_seconds} before'
        )


def _migration(record: Record, toll: Toll) -> Iterator[str]:
    """Find a migration that did not end as it would have without us."""
    end = record.cell.kind.end
    if toll is Toll.GONE and record.refused is None:
        yield _NOT_DELETED
    nova = record.nova
    if record.refused is not None:
        end = End.COMPLETES
    if end is End.ANY:
        return
    if nova.task is not None:
        yield f'Nova is still at it: {nova.task}'
    if end is End.COMPLETES:
        if nova.migration != 'completed':
            yield f'the migration is {nova.migration}, not completed'
        if nova.status != 'ACTIVE':
            yield f'the server is {nova.status}'
    if len(nova.allocations) != 1:
        yield f'placement has {len(nova.allocations)} allocations for it'
