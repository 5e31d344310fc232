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

"""What is released, and watched, while Nova transfers a guest."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.migrate import disks
from nova_freemem.migrate.decision import Decider
from nova_freemem.migrate.engine import Engine
from nova_freemem.migrate.guest_release import GuestRelease
from nova_freemem.migrate.states import AwaitingMemory
from nova_freemem.migrate.states import Released
from nova_freemem.migrate.states import Releasing
from nova_freemem.migrate.states import Skipped
from nova_freemem.migrate.states import State
from nova_freemem.plan.disk_copy import DiskCopy
from nova_freemem.plan.planner import Moment
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.transfer_meter import TransferMeter
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.report import reporter as reporters
from nova_freemem.virt import guest as guests

# Between attempts to restore a guest that nobody watches.
RETRY_SECONDS = 1.0

# From then on a guest is restored by others, or once it has landed.
_ENDS = (Request.TRANSFER_ENDED, Request.SHUTDOWN, Request.POST_COPY)

# Skips that memory being sent changes nothing about.
_FINAL = (Reason.INTERRUPTED, Reason.ERROR)


class DuringTransfer:
    """Sees, during the transfer, that the guest can do without."""

    def __init__(
        self,
        guest: guests.Guest,
        engine: Engine,
        reporter: reporters.Reporter,
        decider: Decider,
        release: GuestRelease,
        clock: clocks.Clock,
    ) -> None:
        """Initialize it.

        :param guest: the guest
        :param engine: this host's
        :param reporter: reports on the guest
        :param decider: decides what is released once disks are copied
        :param release: its release, begun or not
        :param clock: for all waits
        """
        self._guest = guest
        self._engine = engine
        self._reporter = reporter
        self._decider = decider
        self._release = release
        self._clock = clock

    def states(
        self,
        state: AwaitingMemory | Releasing | Released,
        meter: TransferMeter,
        requests: Requests,
    ) -> Iterator[State]:
        """Watch the guest until the transfer ends, or it has all its memory.

        Raises nothing: what fails is reported, and the guest restored.

        :param state: as it is when the transfer starts
        :param meter: tells how fast the transfer is
        :param requests: the end of the transfer arrives here, and requests
        :returns: each state as it is entered
        """
        now: State | None = state
        try:
            while now is not None:
                yield now
                now = self._next(now, meter, requests)
        except exceptions.DomainGone:
            return  # it was transferred at that moment
        except Exception as error:
            self._reporter.error('Watching the guest', error)
            self._restore(requests)
        finally:
            self._release.close()

    def _restore(self, requests: Requests) -> None:
        """Restore what may have been released, as soon as that is possible.

        Nobody watches the guest any more, and what failed may fail again.
        """
        while True:
            try:
                self._release.restore_during_transfer()
                return
            except (exceptions.DomainGone, exceptions.OperationInvalid):
                return  # it was transferred meanwhile
            except Exception:
                if requests.latest in _ENDS:
                    return
            self._clock.wait(RETRY_SECONDS)

    def _next(
        self, state: State, meter: TransferMeter, requests: Requests
    ) -> State | None:
        if isinstance(state, AwaitingMemory):
            return self._await_memory(state, requests)
        if isinstance(state, Releasing):
            return self._release.during_transfer(state, meter, requests)
        if isinstance(state, Released):
            return self._release.hold(state, requests)
        return None

    def _await_memory(
        self, state: AwaitingMemory, requests: Requests
    ) -> State:
        """Wait until memory is sent, or is about to be; decide, and begin."""
        copy = DiskCopy()
        deadline = None
        try:
            disks.wait_for_memory(
                self._guest,
                copy,
                self._decider.release_seconds,
                state.ahead_seconds,
                self._clock,
                requests,
            )
            moment = Moment.SENDING_MEMORY
            if not copy.is_over:
                moment = Moment.COPYING_DISKS
                deadline = disks.MemoryDeadline(
                    self._guest,
                    self._clock,
                    self._engine.policy.deadline_seconds,
                )
            decision = self._decider.during_transfer(moment, requests)
        except (exceptions.DomainGone, exceptions.OperationInvalid):
            decision = Skip(Reason.INTERRUPTED, Request.TRANSFER_ENDED.value)
        except Exception as error:
            self._reporter.error('Deciding what to release', error)
            decision = Skip(Reason.ERROR)
        if isinstance(decision, Plan):
            releasing = self._release.begin(decision, Phase.DURING_TRANSFER)
            return dataclasses.replace(releasing, deadline=deadline)
        if deadline is not None and decision.reason not in _FINAL:
            # The guest may have more to spare when its memory is sent.
            return AwaitingMemory(0.0)
        self._reporter.skipped(decision)
        return Skipped(decision)
