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


"""One cell: a migration, a fault as it reaches a phase, and what is left.

In a cell with several guests the others migrate at the same time, each to the
host that it is not on; the phase is the first guest's.
"""

from collections.abc import Callable
import contextlib
import datetime
import functools
import time
from typing import NamedTuple

import libvirt
from oslo_config import cfg

from nova_freemem import conf as freemem_conf
from nova_freemem import policy as policies
from tests.chaos import account
from tests.chaos import arguments
from tests.chaos import faults
from tests.chaos import phases
from tests.chaos import record
from tests.chaos import stage as stages
from tests.chaos.faults import base
from tests.chaos.kinds import Effect
from tests.chaos.matrix import Cell
from tests.chaos.phases import Before
from tests.chaos.phases import Phase
from tests.chaos.record import Record
from tests.chaos.stage import Stage
from tests.lab import guest as lab_guest
from tests.lab import observer
from tests.lab import outstanding
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab.observation import Since
from tests.lab.observation import View

_FREED_MIB, _FREED_OF_OTHERS_MIB = 400, 170
# What is outstanding outside a migration; and what will do on a machine whose
# guests do not release it before the computes look at them again.
_OUTSTANDING_KIB, _LEAST_KIB = 300 * 1024, 50 * 1024
_BALLOON_SECONDS = stages.RECONCILE_SECONDS / 2
_PHASE_SECONDS = 90
_SETTLED_SECONDS = 60
_LOOK_SECONDS = 0.25

# Closely enough to hit a phase; once the fault is there, nobody waits for a
# moment any more. What changes seldom is asked for seldom.
_STATE_SECONDS, _MEMORY_SECONDS, _DEFINITION_SECONDS = 0.02, 0.03, 0.3
_SLOWER_AFTERWARDS = 5
# Of the others it is only asked when they are whole.
_OTHERS_SECONDS = 0.25

#: How long a guest may take to be whole once both hosts are in order: one
#: interval of the computes, and what a balloon takes on a busy machine.
WHOLE_SECONDS = stages.RECONCILE_SECONDS + 15

# 10^6 bits a second: so that the transfer takes its time where the fault is
# to meet it.
_SLOW_MBIT = 100
_SLOW_PHASES = (Phase.TRANSFER, Phase.POST_COPY)

# The agent runs "cat" for the plugin, with several files: this takes a while.
_SLOW_CAT = (
    'rm /bin/cat; printf "#!/bin/sh\\n[ \\$# -gt 1 ] && sleep 2\\n'
    'exec busybox cat \\"\\$@\\"\\n" > /bin/cat; chmod +x /bin/cat'
)
_QUICK_CAT = 'ln -sf busybox /bin/cat'
_NO_ANSWER = (steps.LabError, TimeoutError, libvirt.libvirtError)


def run(cell: Cell, stage: Stage) -> Record:
    """Run one cell.

    :param stage: the cloud with its guest, whole; see
        :mod:`tests.chaos.tidy` for afterwards.
    :raises LabError: it is inconclusive.
    """
    with steps.step(str(cell)):
        return _Run(cell, stage).run()


class _Watched(NamedTuple):
    """Another guest: how it was, and since when it has been whole."""

    other: stages.Other
    before: record.Account
    whole: Since


class _Run:
    """What is known of a cell while it runs."""

    def __init__(self, cell: Cell, stage: Stage) -> None:
        self._cell = cell
        self._stage = stage
        self._fault = faults.MAKE[cell.fault]()
        self._effect = cell.kind.effect_in(cell.phase)
        self._logs = account.Logs()
        self._refused: str | None = None

    def run(self) -> Record:
        stage, cell = self._stage, self._cell
        self._before = self._prepare()
        asked_at = datetime.datetime.now(datetime.UTC)
        with self._watch() as watch, contextlib.ExitStack() as watches:
            stage.watch = watch
            others = self._watch_others(watches)
            at_start = self._fresh()
            began = time.monotonic()
            self._begin(watch, at_start)
            reached = time.monotonic()
            hit_first = self._phase(watch, at_start)
            try:
                self._inject()
                hit_last = self._phase(watch, at_start)
                was_outstanding = _had_entry(watch)
                watch.slow_down(_SLOWER_AFTERWARDS)
                whole = watch.follow(self._whole_if())
                stage.set_link(room.LINK_MBIT)
                time.sleep(cell.kind.seconds)
            finally:
                with steps.step(f'recover {cell.fault}'):
                    self._fault.recover(stage)
            recovered = time.monotonic()
            self._settle(whole, others)
            whole_at = whole.seconds
            stage.watch = None
        after = self._after()
        return Record(
            phase=cell.phase.word,
            fault=cell.fault,
            plugin=all(stage.cloud.plugins.values()),
            injected_in=(hit_first.word, hit_last.word),
            outstanding=was_outstanding,
            source=stage.source.name,
            destination=stage.destination.name,
            refused=self._refused,
            runs_on=tuple(host.name for host in stage.runs_on()),
            journal_entry=account.has_journal_entry(stage),
            before=self._before,
            after=after,
            nova=account.nova(stage.cloud.api, stage.server.id, asked_at),
            reached_seconds=reached - began,
            recovered_seconds=recovered - reached,
            whole_seconds=(
                None if whole_at is None else max(0, whole_at - reached)
            ),
            timeout_seconds=WHOLE_SECONDS,
            warnings=self._logs.warnings(),
            headroom=_read_headroom(stage, stage.server) if after else None,
            others=tuple(
                self._ended(one, asked_at, reached) for one in others
            ),
            remarks=tuple(self._fault.remarks),
        )

    def _prepare(self) -> record.Account:
        """Have the guest use memory and free it; get the fault ready."""
        stage, phase = self._stage, self._cell.phase
        guest = stage.wait_answering()
        guest.fill_dirty(_FREED_MIB)
        guest.watch_headroom(_headroom_mib(arguments.MEMORY_MIB))
        if phase is Phase.ACQUIRING:
            guest.do('sh', '-c', _SLOW_CAT)
        slow = phase in _SLOW_PHASES
        stage.set_link(_SLOW_MBIT if slow else room.LINK_MBIT)
        self._fault.prepare(stage)
        return account.question(guest)

    def _watch(self) -> observer.Observer:
        stage = self._stage
        definition = observer.seldom(observer.definition, _DEFINITION_SECONDS)
        return observer.Observer(
            stage.server.id,
            {'source': stage.source, 'destination': stage.destination},
            state_seconds=_STATE_SECONDS,
            memory_seconds=_MEMORY_SECONDS,
            read=(
                observer.memory,
                observer.journal,
                observer.job,
                definition,
            ),
        )

    def _watch_others(self, watches: contextlib.ExitStack) -> list[_Watched]:
        """Have the others use memory and free it, and watch them."""
        prepared = steps.in_parallel(
            *(
                functools.partial(self._prepare_other, other)
                for other in self._stage.others
            )
        )
        found = []
        for other, before in zip(self._stage.others, prepared, strict=True):
            watch = watches.enter_context(
                observer.Observer(
                    other.server.id,
                    {'source': other.source, 'destination': other.destination},
                    state_seconds=_OTHERS_SECONDS,
                    memory_seconds=_OTHERS_SECONDS,
                    read=(
                        observer.memory,
                        observer.journal,
                        observer.definition,
                    ),
                )
            )
            is_whole = functools.partial(
                phases.is_whole, original_kib=before.balloon_kib
            )
            found.append(_Watched(other, before, watch.follow(is_whole)))
        return found

    def _prepare_other(self, other: stages.Other) -> record.Account:
        other.is_stopped = False
        guest = self._stage.wait_answering(other.server)
        guest.fill_dirty(_FREED_OF_OTHERS_MIB)
        guest.watch_headroom(_headroom_mib(stages.OTHER_MEMORY_MIB))
        return account.question(guest)

    def _phase(self, watch: observer.Observer, at_start: Before) -> Phase:
        if self._cell.phase is not Phase.OUTSIDE:
            return phases.now(watch.view(), at_start)
        is_outstanding = watch.view().source.journal_entry
        return Phase.OUTSIDE if is_outstanding else Phase.OVER

    def _begin(self, watch: observer.Observer, at_start: Before) -> None:
        """Request the migrations, and wait for the phase."""
        stage = self._stage
        if self._cell.phase is Phase.OUTSIDE:
            self._leave_outstanding(watch)
            return
        # The first guest last: on a busy machine each request takes a second.
        everyone: tuple[Stage | stages.Other, ...] = (*stage.others, stage)
        for one in everyone:
            stage.cloud.begin_migration(one.server, to=one.destination.name)
        self._reach(watch, at_start)

    def _leave_outstanding(self, watch: observer.Observer) -> None:
        """Have the guest as if it had landed and nobody restored it yet.

        Without the plugin nothing is ever outstanding.
        """
        if not all(self._stage.cloud.plugins.values()):
            return

        def take() -> None:
            outstanding.take(
                self._stage.here(),
                self._stage.destination.name,
                _OUTSTANDING_KIB,
                _LEAST_KIB,
                _BALLOON_SECONDS,
            )

        try:
            take()
        except steps.LabError:  # It is restored already: the interval is up.
            watch.wait_for(self._whole_if(), WHOLE_SECONDS)
            take()
        watch.wait_for(
            lambda view: bool(view.source.journal_entry), _BALLOON_SECONDS
        )

    def _fresh(self) -> Before:
        """Have the guest report its statistics now."""
        handle = self._stage.here()
        handle.setMemoryStatsPeriod(0)
        handle.setMemoryStatsPeriod(self._before.period_seconds[0])
        time.sleep(1.1)
        stats = handle.memoryStats()
        return Before(self._before.balloon_kib, stats.get('last_update', 0))

    def _reach(self, watch: observer.Observer, at_start: Before) -> None:
        """Wait for the phase; bring about what does not come by itself.

        :raises LabError: it did not come.
        """

        def wait_for(phase: Phase) -> bool:
            """Wait for a phase, or a later one where it was missed."""
            return watch.wait_for(
                lambda view: phases.now(view, at_start) >= phase,
                _PHASE_SECONDS,
            )

        phase, happens_at = self._cell.phase, 0.0
        if phase is Phase.POST_COPY:
            wait_for(Phase.TRANSFER)
            happens_at = time.monotonic() + self._fault.arm(self._stage)
            api = self._stage.cloud.api.compute
            for one in api.server_migrations(self._stage.server.id):
                api.force_complete_server_migration(
                    one.id, self._stage.server.id
                )
        if not wait_for(phase):
            where = phases.now(watch.view(), at_start)
            raise steps.LabError(
                f'reach {phase.word}', f'it stays at {where.word}'
            )
        time.sleep(max(0.0, happens_at - time.monotonic()))

    def _inject(self) -> None:
        try:
            self._fault.inject(self._stage)
        except base.Refusal as refusal:
            self._refused = str(refusal)
            self._effect = Effect.NONE

    def _whole_if(self) -> Callable[[View], bool]:
        is_whole = functools.partial(
            phases.is_whole, original_kib=self._before.balloon_kib
        )
        if self._effect is not Effect.DELETED:
            return is_whole
        # Nova does not always manage to delete a server that migrates.
        return lambda view: phases.is_gone(view) or is_whole(view)

    def _settle(self, whole: Since, others: list[_Watched]) -> None:
        """Wait until Nova has done with all guests and they are whole."""
        for server in (
            self._stage.server,
            *(one.other.server for one in others),
        ):
            self._stage.wait_idle(_SETTLED_SECONDS, server)
        every = (whole, *(one.whole for one in others))
        until = time.monotonic() + WHOLE_SECONDS
        while time.monotonic() < until and any(
            one.seconds is None for one in every
        ):
            time.sleep(_LOOK_SECONDS)
        time.sleep(_LOOK_SECONDS)

    def _ended(
        self,
        watched: _Watched,
        asked_at: datetime.datetime,
        reached: float,
    ) -> record.Other:
        """Describe one of the others in the end."""
        stage, (other, before, whole) = self._stage, watched
        whole_at = whole.seconds
        after = _question(stage, other.server, before)
        return record.Other(
            source=other.source.name,
            stopped=other.is_stopped,
            runs_on=tuple(host.name for host in stage.runs_on(other.server)),
            journal_entry=account.has_journal_entry(stage, other.server),
            before=before,
            after=after,
            nova=account.nova(stage.cloud.api, other.server.id, asked_at),
            whole_seconds=(
                None if whole_at is None else max(0, whole_at - reached)
            ),
            headroom=_read_headroom(stage, other.server) if after else None,
        )

    def _after(self) -> record.Account | None:
        if self._effect is Effect.DELETED and not any(self._stage.running()):
            return None
        if self._cell.phase is Phase.ACQUIRING:
            with contextlib.suppress(*_NO_ANSWER):
                self._stage.wait_answering().do('sh', '-c', _QUICK_CAT)
        return _question(self._stage, self._stage.server, self._before)


def _question(
    stage: Stage, server: servers.Server, before: record.Account
) -> record.Account | None:
    try:
        return account.question(stage.wait_answering(server), before)
    except _NO_ANSWER:
        return None


def _read_headroom(
    stage: Stage, server: servers.Server
) -> lab_guest.Headroom | None:
    try:
        return stage.guest(server).headroom()
    except _NO_ANSWER:
        return None


@functools.cache
def _headroom_mib(memory_mib: int) -> int:
    """Return the headroom that the plugin leaves a guest by default."""
    conf = cfg.ConfigOpts()
    freemem_conf.register_opts(conf)
    conf([])
    policy = policies.Policy.from_conf(conf)
    return policy.headroom_kib(memory_mib * 1024) // 1024


def _had_entry(watch: observer.Observer) -> bool:
    """Tell whether the guest has had a journal entry, on either host."""
    seen = watch.observation()
    return any(one.journal_entry for one in (*seen.source, *seen.destination))
