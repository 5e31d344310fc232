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

"""The release of one guest: begun, watched to its end, and learnt from."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import dataclasses

from nova_freemem import clock as clocks
from nova_freemem.migrate.engine import Engine
from nova_freemem.migrate.states import AwaitingMemory
from nova_freemem.migrate.states import Released
from nova_freemem.migrate.states import Releasing
from nova_freemem.migrate.states import Restored
from nova_freemem.migrate.states import State
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.bandwidth import Origin
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.base import Release
from nova_freemem.release.requests import Requests
from nova_freemem.release.watch import Watch
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.virt import guest as guests

# A guest got back 575 MiB in 0.3 s, emulated; what has not arrived when
# post-copy begins arrives slower, as the guest's own pages do.
POST_COPY_RESTORE_SECONDS = 2.0


class GuestRelease:
    """Moves from state to state, and reports how a release ended."""

    def __init__(
        self,
        guest: guests.Guest,
        engine: Engine,
        reporter: reporters.Reporter,
        record: journal.Record,
        clock: clocks.Clock,
    ) -> None:
        """Initialize it; nothing is released yet.

        :param guest: the guest
        :param engine: this host's
        :param reporter: reports on the guest
        :param record: its journal entry, which must be there before a release
        :param clock: for all waits
        """
        self._guest = guest
        self._engine = engine
        self._reporter = reporter
        self._record = record
        self._clock = clock
        self._watch = Watch(
            engine.releaser,
            guest,
            record,
            clock,
            engine.reclaimer,
            engine.sources,
        )
        self._event = contextlib.ExitStack()

    def make_ready(self) -> None:
        """Do what libvirt does not do during a transfer.

        :raises FreememError: it could not be done
        """
        self._watch.make_ready()

    def before_transfer(
        self,
        plan: Plan,
        deadline: clocks.Deadline,
        requests: Requests,
        bandwidth: Callable[[], Bandwidth],
    ) -> State:
        """Begin a release, and wait for what is to be released first.

        :param plan: what is to be released
        :param deadline: of the release
        :param requests: where a request ends it
        :param bandwidth: returns what the transfer can expect by then
        :returns: the state; if :class:`Restored`, everything is to be
                  restored, by whoever does that here
        """
        releasing = self.begin(plan, Phase.BEFORE_TRANSFER)
        if plan.mode is Mode.DURING:
            return releasing
        release = self._watch.until_end(
            plan,
            Phase.BEFORE_TRANSFER,
            requests,
            deadline,
            bandwidth=bandwidth,
        )
        self._learn_rate(plan, release)
        return self._state_after(releasing, release)

    def begin(self, plan: Plan, phase: Phase) -> Releasing:
        """Begin a release, and do not wait.

        :param plan: what is to be released
        :param phase: whether the transfer runs
        :raises FreememError: it could not be begun
        """
        self._event.enter_context(self._reporter.releasing(plan))
        releasing = Releasing(plan, self._clock.now())
        self._watch.start(plan, phase)
        if plan.is_trial:
            self._engine.release_rates.note_trial(
                self._guest.uuid, self._clock.now()
            )
        return releasing

    def during_transfer(
        self, state: Releasing, meter: TransferMeter, requests: Requests
    ) -> State:
        """Watch a release to its end, while the transfer runs.

        :param state: the release
        :param meter: tells how fast the transfer is
        :param requests: the end of the transfer arrives here, and requests
        :returns: the state after it
        """
        release = self._watch.until_end(
            state.plan,
            Phase.DURING_TRANSFER,
            requests,
            state.deadline,
            meter,
        )
        state = dataclasses.replace(state, plan=_as_seen(state.plan, meter))
        # Throttled, it tells nothing of how fast the guest is.
        if state.plan.mode is Mode.DURING and not meter.throttled:
            self._learn_rate(state.plan, release)
        following = self._state_after(state, release)
        if release.end is EndReason.POST_COPY:
            self._watch.until_restored(state.plan, POST_COPY_RESTORE_SECONDS)
        return following

    def hold(self, state: Released, requests: Requests) -> State | None:
        """Watch a guest after its release.

        :param state: what was released
        :param requests: the end of the transfer arrives here, and requests
        :returns: the state after it, None for no more to do
        """
        plan = state.plan
        end = self._watch.hold(plan, requests, state.deadline)
        if end is EndReason.PRESSURE:
            self._back_off()
        if end is not EndReason.TRANSFER_ENDED:
            self._reporter.restored_during_transfer(plan, end)
        if end is EndReason.COPYING_DISKS:
            return AwaitingMemory(0.0)
        if end is EndReason.POST_COPY:
            self._watch.until_restored(plan, POST_COPY_RESTORE_SECONDS)
        return None

    def restore_during_transfer(self) -> None:
        """Restore, during the transfer, what may have been released.

        :raises FreememError: libvirt could not be asked
        """
        if self._record.entry is not None:
            self._watch.restore(self._record.entry.original_kib)

    def close(self) -> None:
        """Show the end of the release, if it began and has not been shown."""
        self._watch.stop_asking()
        self._event.close()

    def _learn_rate(self, plan: Plan, release: Release) -> None:
        rates = self._engine.release_rates
        learn = rates.learn_during if plan.mode is Mode.DURING else rates.learn
        free_kib = min(release.released_kib, plan.free_kib)
        learn(
            self._guest.uuid,
            free_kib,
            release.released_kib - free_kib,
            release.seconds,
            self._clock.now(),
        )
        if release.released_kib == free_kib and not release.dropped_kib:
            rates.learn_order(
                self._guest.uuid,
                release.released_kib,
                release.resident_fall_kib,
                plan.guest_free_kib,
                plan.nonresident_kib,
                self._clock.now(),
            )

    def _state_after(self, state: Releasing, release: Release) -> State:
        """Report the end of a release, and return what the state is now."""
        if release.end is EndReason.NEARLY_DONE:
            return state
        self._reporter.released(
            state.plan,
            dataclasses.replace(
                release, seconds=self._clock.now() - state.began_at_seconds
            ),
        )
        self._event.close()
        if release.end is EndReason.PRESSURE:
            self._back_off()
        if release.end.restores:
            return Restored()
        return Released(
            dataclasses.replace(state.plan, target_kib=release.target_kib),
            state.deadline,
        )

    def _back_off(self) -> None:
        self._engine.backoff.add(self._guest.uuid, self._clock.now())


def _as_seen(plan: Plan, meter: TransferMeter) -> Plan:
    """Return a plan with the bandwidth that its transfer is seen to get."""
    sending = meter.sending()
    if sending is None:
        return plan
    return dataclasses.replace(
        plan, bandwidth=Bandwidth(sending.kib_per_second, Origin.SEEN)
    )
