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


"""Whether a guest and its migration are as they should be; pure."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses

from tests.chaos import matrix
from tests.chaos.kinds import Effect
from tests.chaos.kinds import End
from tests.chaos.phases import Phase
from tests.chaos.record import Account
from tests.chaos.record import Other
from tests.chaos.record import Record
from tests.lab import witness

#: The verdict on a cell, in a word or a few.
WHOLE = 'whole'
MISSED = 'missed'
WORSE = 'worse'
LOST = 'lost'
LOST_WITHOUT = 'lost without the plugin too'

_NOT_DELETED = 'the server has not been deleted'


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict on one cell.

    :param went: what became of the guest, in a word or two.
    :param wrong: what was lost, a sentence each; empty if nothing was.
    :param lost_without: what is lost without the plugin as well.
    :param worse: how Nova ended the migration worse than it ever does without
        the plugin.
    :param missed: whether the fault was injected in another phase, or into a
        migration whose release was skipped.
    """

    went: str
    wrong: tuple[str, ...]
    lost_without: tuple[str, ...]
    worse: tuple[str, ...]
    missed: bool

    @property
    def word(self) -> str:
        """The verdict in a word or a few."""
        if self.wrong:
            return LOST
        if self.worse:
            return WORSE
        if self.missed:
            return MISSED
        return LOST_WITHOUT if self.lost_without else WHOLE


def judge(record: Record, without_plugin: Iterable[Record] = ()) -> Verdict:
    """Find what a fault has cost that it need not have cost.

    :param without_plugin: runs without the plugin, to compare with.
    """
    without = [
        one
        for one in without_plugin
        if one.fault == record.fault
        and record.cell.phase in matrix.WITHOUT_PLUGIN[one.cell.phase]
        and not _missed(one)
    ]
    lost = list(_losses(record))
    lost_without = {loss for one in without for loss in _losses(one)}
    return Verdict(
        went=_went(record),
        wrong=tuple(one for one in lost if one not in lost_without),
        lost_without=tuple(one for one in lost if one in lost_without),
        worse=tuple(_worse(record, without)),
        missed=_missed(record),
    )


def _losses(record: Record) -> Iterator[str]:
    effect = record.cell.kind.effect_in(record.cell.phase)
    if (
        effect is Effect.DELETED
        and record.refused is None
        and not record.runs_on
    ):
        yield from _leftovers(record)
        return
    yield from _guest(record, effect)
    yield from _memory(record)
    yield from _meanwhile(record)
    yield from _migration(record, effect)
    for other in record.others:
        for loss in _losses_of_other(record, other):
            yield f'another guest, from {other.source}: {loss}'


def _missed(record: Record) -> bool:
    """Find a fault that came too late, or met a migration without release."""
    phase = record.cell.phase
    skipped = (
        record.plugin and phase >= Phase.JOURNALED and not record.outstanding
    )
    return skipped or phase not in record.phases_met


def _went(record: Record) -> str:
    restarted = record.after and record.after.boot_id != record.before.boot_id
    if not record.runs_on:
        return 'gone'
    word = 'stayed' if record.runs_on == (record.source,) else 'moved'
    return f'{word}, restarted' if restarted else word


def _worse(record: Record, without: Sequence[Record]) -> Iterator[str]:
    """Compare the end with the worst that Nova has without the plugin."""
    if without and _goodness(record) < min(map(_goodness, without)):
        ends = ', or '.join(sorted({_ending(one) for one in without}))
        yield (
            f'Nova ends it with {_ending(record)}; without the plugin with'
            f' {ends}'
        )


def _goodness(record: Record) -> tuple[bool, ...]:
    """Make an end comparable: first what matters most to the owner."""
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
    """Find what is left of a server that was deleted."""
    if record.nova.status is not None:
        yield _NOT_DELETED
    for who, mib in record.nova.allocations.items():
        yield f'Placement keeps {mib} MiB for the {who.partition(" ")[0]}'


def _guest(record: Record | Other, effect: Effect) -> Iterator[str]:
    """Find what is wrong with the guest itself."""
    after = record.after
    if after is None:
        yield 'the guest does not answer'
        return
    if len(record.runs_on) > 1:
        yield f'the guest runs on {" and ".join(record.runs_on)}'
    if after.boot_id != record.before.boot_id and effect is Effect.RESTART:
        return
    yield from witness.changes(record.before, after)
    if after.oom_kills > record.before.oom_kills:
        kills = after.oom_kills - record.before.oom_kills
        yield f'its kernel killed {kills} processes for want of memory'


def _memory(record: Record) -> Iterator[str]:
    """Find memory that is outstanding, and a journal entry that is left."""
    yield from _outstanding(record, record.timeout_seconds)


def _outstanding(
    record: Record | Other, timeout_seconds: float
) -> Iterator[str]:
    if record.after is not None:
        yield from differences(record.before, record.after)
    # A guest that runs and does not answer cannot be restored: as long as
    # that is so, its entry has to stay.
    if record.journal_entry and (record.after or not record.runs_on):
        yield 'its journal entry is still there'
    if record.whole_seconds is None:
        yield (
            f'it was not whole {timeout_seconds:.0f} s after both'
            ' hosts had recovered'
        )


def _meanwhile(record: Record) -> Iterator[str]:
    """Find a guest that had landed and waited for the end of the fault."""
    if (
        record.cell.kind.lets_restore
        and record.cell.phase >= Phase.LANDED
        and (record.whole_seconds or 0) > record.cell.kind.seconds
    ):
        yield (
            'it was not whole until the end of the fault, which does not'
            ' concern it'
        )


def _losses_of_other(record: Record, other: Other) -> Iterator[str]:
    """Find what a fault has cost another guest, which it did not meet."""
    yield from _guest(other, Effect.NONE)
    yield from _outstanding(other, record.timeout_seconds)
    if record.cell.kind.end is End.ANY:
        return
    if other.nova.migration != 'completed':
        yield f'the migration is {other.nova.migration}, not completed'
    if len(other.nova.allocations) != 1:
        yield f'Placement has {len(other.nova.allocations)} allocations for it'


def differences(before: Account, after: Account) -> Iterator[str]:
    """Find what a guest has not as before, to the KiB."""
    yield from witness.losses(before, after)
    if after.period_seconds != before.period_seconds:
        yield (
            'its balloon statistics are updated every'
            f' {after.period_seconds} s, {before.period_seconds} before'
        )


def _migration(record: Record, effect: Effect) -> Iterator[str]:
    """Find a migration that did not end as without the plugin."""
    end = record.cell.kind.end
    if effect is Effect.DELETED and record.refused is None:
        yield _NOT_DELETED
    nova = record.nova
    if record.refused is not None:
        end = End.COMPLETES
    if end is End.ANY:
        return
    if nova.task is not None:
        yield f'Nova has not finished: {nova.task}'
    if end is End.COMPLETES:
        is_migrated = record.cell.phase is not Phase.OUTSIDE
        if is_migrated and nova.migration != 'completed':
            yield f'the migration is {nova.migration}, not completed'
        if nova.status != 'ACTIVE':
            yield f'the server is {nova.status}'
    if len(nova.allocations) != 1:
        yield f'Placement has {len(nova.allocations)} allocations for it'
