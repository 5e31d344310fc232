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
from collections.abc import Sequence
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
    :param by_itself: what is lost without the plugin as well.
    :param worse: how Nova ended it worse than it ever does by itself.
    :param missed: whether the fault met another phase than it was to.
    """

    went: str
    wrong: tuple[str, ...]
    by_itself: tuple[str, ...]
    worse: tuple[str, ...]
    missed: bool

    @property
    def word(self) -> str:
        """Say it in a word."""
        if self.wrong:
            return 'lost'
        if self.worse:
            return 'worse'
        if self.missed:
            return 'missed'
        return 'lost by itself' if self.by_itself else 'whole'


def judge(record: Record, plain: Iterable[Record] = ()) -> Verdict:
    """Find what a fault cost that it need not have cost.

    :param plain: what came of faults without the plugin.
    """
    without = [
        one
        for one in plain
        if one.fault == record.fault
        and record.cell.phase in matrix.PLAIN[one.cell.phase]
        and not _missed(one)
    ]
    lost = list(_losses(record))
    lost_without = {loss for one in without for loss in _losses(one)}
    return Verdict(
        went=_went(record),
        wrong=tuple(one for one in lost if one not in lost_without),
        by_itself=tuple(one for one in lost if one in lost_without),
        worse=tuple(_worse(record, without)),
        missed=_missed(record),
    )


def _losses(record: Record) -> Iterator[str]:
    toll = record.cell.kind.toll_at(record.cell.phase)
    if toll is Toll.GONE and record.refused is None and not record.runs_on:
        yield from _leftovers(record)
        return
    yield from _guest(record, toll)
    yield from _memory(record)
    yield from _migration(record, toll)


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


def _worse(record: Record, without: Sequence[Record]) -> Iterator[str]:
    """Hold Nova's end of it against the worst that it has by itself."""
    if without and _goodness(record) < min(map(_goodness, without)):
        ends = ', or '.join(sorted({_ending(one) for one in without}))
        yield f'Nova ends it with {_ending(record)}; by itself with {ends}'


def _goodness(record: Record) -> tuple[bool, ...]:
    """Make an end comparable: what matters most to the owner comes first."""
    nova, after = record.nova, record.after
    return (
        after is not None and after.boot_id == record.before.boot_id,
        nova.status in ('ACTIVE', None) and nova.task is None,
        nova.migration in ('completed', None),
        len(nova.allocations) <= 1,
    )


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
        yield f'placement keeps {mib} MiB for the {who.partition(" ")[0]}'


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
