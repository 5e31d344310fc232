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

"""What is released of a guest that leaves this host, if anything."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire
from nova_freemem.migrate.engine import Engine
from nova_freemem.plan import eligibility
from nova_freemem.plan import planner
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.planner import Moment
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.traffic import Sender
from nova_freemem.release.requests import Requests
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import MemoryStats


@dataclasses.dataclass(frozen=True)
class Migration:
    """What Nova and libvirt have said of a migration.

    :ivar uuid: Nova's
    :ivar host: this host, by the name that Nova has for it
    :ivar dest: the destination, likewise
    :ivar node: this host, by the name that libvirt has for it, if known
    :ivar os_type: what the guest's image says it runs, if anything
    :ivar copies_disks: whether libvirt copies disks before it sends memory
    """

    uuid: str
    host: str
    dest: str
    node: str | None = None
    os_type: str | None = None
    copies_disks: bool = False


class Decider:
    """Asks the guest what it can spare, and decides."""

    def __init__(
        self,
        guest: guests.Guest,
        engine: Engine,
        migration: Migration,
        sender: Sender,
        clock: clocks.Clock,
        requests: Requests,
        destination_skip: Callable[[], Skip | None],
    ) -> None:
        """Initialize it; nothing is asked yet.

        :param guest: the guest
        :param engine: this host's
        :param migration: the migration
        :param sender: what others are told of it, who share its path
        :param clock: for all waits
        :param requests: what is requested of the migration
        :param destination_skip: returns why nothing is to be released for the
                                 destination, None if it restores memory
        """
        self._guest = guest
        self._engine = engine
        self._migration = migration
        self._sender = sender
        self._clock = clock
        self._requests = requests
        self._destination_skip = destination_skip

    def before_transfer(
        self, deadline: clocks.Deadline
    ) -> Plan | Eligible | Skip:
        """Decide before the transfer.

        :param deadline: of acquiring and releasing together
        :returns: the guest where that is decided once disks are copied
        :raises FreememError: the guest could not be asked
        """
        disabled = eligibility.disabled(self._engine.policy)
        if disabled is not None:
            return disabled
        if self._migration.dest == self._migration.host:
            return Skip(Reason.SAME_HOST)
        if self._guest.read_metadata() is not None:
            return Skip(Reason.OUTSTANDING_MEMORY)
        remaining_seconds = self._engine.backoff.remaining_seconds(
            self._guest.uuid, self._clock.now()
        )
        if remaining_seconds:
            return Skip(
                Reason.BACKING_OFF, f'for {remaining_seconds:.0f} s more'
            )
        if not self._guest.is_running():
            return Skip(Reason.NOT_RUNNING)
        # Whatever follows would wait for another job, for 30 s.
        self._guest.need_no_job()
        guest = self._examine()
        if isinstance(guest, Skip):
            return guest
        stats = self._report()
        if isinstance(stats, Skip):
            return stats
        bandwidth = self.bandwidth()
        if not self._migration.copies_disks:
            hopeless = planner.cannot_pay(
                stats, guest, self._engine.policy, bandwidth
            )
            if hopeless is not None:
                return hopeless
        # Placement takes longer than all of the above, and is asked only where
        # there may be something to gain.
        not_ready = self._destination_skip()
        if not_ready is not None:
            return not_ready
        moment = Moment.BEFORE_TRANSFER
        if self._migration.copies_disks:
            if not self._engine.policy.dry_run:
                return guest
            # Once the transfer runs, a guest could not be asked without its
            # statistics period changed, and a journal entry that tells it.
            moment = Moment.COPYING_DISKS
        return self._plan(guest, stats, bandwidth, deadline, moment)

    def during_transfer(
        self, moment: Moment, requests: Requests
    ) -> Plan | Skip:
        """Decide while the transfer runs.

        :param moment: how far it is
        :param requests: the end of the transfer arrives here, and what is
                         requested of it
        :returns: what is released
        :raises FreememError: the guest could not be asked
        """
        if requests.latest is not None:
            return Skip(Reason.INTERRUPTED, requests.latest.value)
        guest = self._examine()
        if isinstance(guest, Skip):
            return guest
        stats = self._report()
        if isinstance(stats, Skip):
            return stats
        bandwidth = self.bandwidth()
        hopeless = planner.cannot_pay(
            stats, guest, self._engine.policy, bandwidth
        )
        if hopeless is not None:
            return hopeless
        plan = self._plan(
            guest,
            stats,
            bandwidth,
            clocks.Deadline(self._clock, self._engine.policy.deadline_seconds),
            moment,
        )
        if requests.latest is not None:
            return Skip(Reason.INTERRUPTED, requests.latest.value)
        return plan

    def release_seconds(self) -> float:
        """Forecast how long a release would take now.

        :returns: 0.0 where nothing would be released
        :raises FreememError: libvirt could not be asked
        """
        guest = self._examine()
        if isinstance(guest, Skip):
            return 0.0
        return planner.release_seconds(
            self._guest.memory_stats(),
            guest,
            self._engine.policy,
            self._engine.release_rates.of(self._guest.uuid, self._clock.now()),
        )

    def bandwidth(self) -> Bandwidth:
        """Return what this migration can expect, beside those of now."""
        bandwidths = self._engine.bandwidths
        return bandwidths.to(
            self._migration.dest,
            self._clock.now(),
            bandwidths.traffic.beside(self._sender),
        )

    def _examine(self) -> Eligible | Skip:
        return eligibility.examine(
            self._guest.is_running(),
            self._guest.xml(),
            self._guest.memory_stats(),
            self._migration.os_type,
            self._engine.holds_zeros,
        )

    def _report(self) -> MemoryStats | Skip:
        """Return what the balloon driver reports when it is asked."""
        stats = self._guest.fresh_memory_stats(self._clock)
        if stats is None:
            return Skip(Reason.NO_BALLOON_DRIVER)
        return eligibility.unwatchable(stats) or stats

    def _plan(
        self,
        guest: Eligible,
        stats: MemoryStats,
        bandwidth: Bandwidth,
        deadline: clocks.Deadline,
        moment: Moment,
    ) -> Plan | Skip:
        """Acquire, and plan a release."""
        try:
            memory = acquire.acquire_from(
                self._engine.sources,
                self._guest,
                guest.original_kib,
                stats,
                self._clock,
                deadline,
            )
        except exceptions.SourceUnavailable as error:
            return Skip(Reason.NO_SOURCE, str(error))
        if self._requests.latest is not None:
            return Skip(Reason.INTERRUPTED, self._requests.latest.value)
        plan = planner.make(
            memory,
            guest,
            self._engine.policy,
            bandwidth,
            self._engine.release_rates.of(self._guest.uuid, self._clock.now()),
            moment,
        )
        if isinstance(plan, Plan) and self._engine.reclaimer is None:
            return dataclasses.replace(plan, cold_kib=0)
        return plan
