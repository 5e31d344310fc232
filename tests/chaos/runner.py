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


"""One cell: a migration, a fault as it reaches a phase, and what is left."""

from collections.abc import Callable
import datetime
import functools
import time

import libvirt

from tests.chaos import account
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
from tests.lab import observer
from tests.lab import room
from tests.lab import steps
from tests.lab.observation import Since
from tests.lab.observation import View

_FREED_MIB = 400
_PHASE_SECONDS = 90
_SETTLED_SECONDS = 60
_LOOK_SECONDS = 0.25

# Closely enough to hit a phase; once the fault is there, nobody waits for a
# moment any more. What changes seldom is asked for seldom.
_STATE_SECONDS, _MEMORY_SECONDS, _DEFINITION_SECONDS = 0.02, 0.03, 0.3
_SLOWER_AFTERWARDS = 5

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


def run(cell: Cell, stage: Stage) -> Record:
    """Run one cell.

    :param stage: the cloud with its guest, whole; see
        :mod:`tests.chaos.tidy` for afterwards.
    :raises LabError: it is inconclusive.
    """
    with steps.step(str(cell)):
        return _Run(cell, stage).run()


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
        with self._watch() as watch:
            stage.watch = watch
            at_start = self._fresh()
            began = time.monotonic()
            stage.cloud.begin_migration(
                stage.server, to=stage.destination.name
            )
            self._reach(watch, at_start)
            reached = time.monotonic()
            hit_first = phases.now(watch.view(), at_start)
            try:
                self._inject()
                hit_last = phases.now(watch.view(), at_start)
                outstanding = _had_entry(watch)
                watch.slow_down(_SLOWER_AFTERWARDS)
                whole = watch.follow(self._whole_if())
                stage.set_link(room.LINK_MBIT)
                time.sleep(cell.kind.seconds)
            finally:
                with steps.step(f'recover {cell.fault}'):
                    self._fault.recover(stage)
            recovered = time.monotonic()
            self._settle(whole)
            whole_at = whole.seconds
            stage.watch = None
        return Record(
            phase=cell.phase.word,
            fault=cell.fault,
            plugin=all(stage.cloud.plugins.values()),
            injected_in=(hit_first.word, hit_last.word),
            outstanding=outstanding,
            source=stage.source.name,
            destination=stage.destination.name,
            refused=self._refused,
            runs_on=tuple(host.name for host in stage.runs_on()),
            journal_entry=account.has_journal_entry(stage),
            before=self._before,
            after=self._after(),
            nova=account.nova(stage.cloud.api, stage.server.id, asked_at),
            reached_seconds=reached - began,
            recovered_seconds=recovered - reached,
            whole_seconds=(
                None if whole_at is None else max(0, whole_at - reached)
            ),
            timeout_seconds=WHOLE_SECONDS,
            warnings=self._logs.warnings(),
        )

    def _prepare(self) -> record.Account:
        """Have the guest use memory and free it; get the fault ready."""
        stage, phase = self._stage, self._cell.phase
        guest = stage.wait_answering()
        guest.fill_dirty(_FREED_MIB)
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

    def _settle(self, whole: Since) -> None:
        """Wait until Nova has done with it and the guest is whole."""
        self._stage.wait_idle(_SETTLED_SECONDS)
        until = time.monotonic() + WHOLE_SECONDS
        while whole.seconds is None and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
        time.sleep(_LOOK_SECONDS)

    def _after(self) -> record.Account | None:
        if self._effect is Effect.DELETED and not any(self._stage.running()):
            return None
        try:
            guest = self._stage.wait_answering()
            if self._cell.phase is Phase.ACQUIRING:
                guest.do('sh', '-c', _QUICK_CAT)
            return account.question(guest, self._before)
        except (steps.LabError, TimeoutError, libvirt.libvirtError):
            return None


def _had_entry(watch: observer.Observer) -> bool:
    """Tell whether the guest has had a journal entry, on either host."""
    seen = watch.observation()
    return any(one.journal_entry for one in (*seen.source, *seen.destination))
