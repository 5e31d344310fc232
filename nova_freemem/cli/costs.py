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

"""What a live migration costs, as what decides about one has it; pure."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
from typing import Any

from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.plan import eligibility
from nova_freemem.plan import forecast as forecasts
from nova_freemem.plan import planner
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.forecast import Forecast
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.release_rate import FIRST_GUESS
from nova_freemem.policy import Policy
from nova_freemem.virt.memory_stats import MemoryStats

KIB_PER_MIB = 1024

#: What the row with the sums has in the place of a server.
TOTAL = 'total'

COLUMNS = (
    'server',
    'memory_mib',
    'resident_mib',
    'free_mib',
    'cold_mib',
    'plain_seconds',
    'plain_mib',
    'seconds',
    'sent_mib',
    'release',
    'bandwidth',
    'details',
)


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a live migration takes, and what it sends.

    :ivar seconds: from its first byte, or the start of a release, to its end
    :ivar sent_kib: memory that is sent
    """

    seconds: float
    sent_kib: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What is foretold of one guest; None is what is not known.

    :ivar server: its UUID
    :ivar memory_kib: memory that its domain has
    :ivar resident_kib: what the host holds of that
    :ivar memory: what it reported
    :ivar plain: a migration without a release
    :ivar decision: what a migration would do
    :ivar bandwidth: what the path is taken to carry
    :ivar free_is_left_out: whether no free memory counts as sent
    """

    server: str
    memory_kib: int
    resident_kib: int | None
    memory: FreeMemory | None
    plain: Costs | None
    decision: Plan | Skip
    bandwidth: Bandwidth
    free_is_left_out: bool = False

    @property
    def costs(self) -> Costs | None:
        """A migration with the plugin."""
        plan = self.decision
        if self.plain is None or self.memory is None or isinstance(plan, Skip):
            return self.plain
        # A plan counts on the worst: that the host holds all of the free
        # memory that the guest keeps. It may as well hold none of it.
        kept_free_kib = (
            0
            if self.free_is_left_out
            else max(0, self.memory.free_kib - plan.free_kib)
        )
        return Costs(
            self.plain.seconds - plan.expected_saving_seconds,
            max(
                0.0,
                plan.expected_sent_kib
                - min(kept_free_kib, plan.nonresident_kib) / 2,
            ),
        )

    @property
    def row(self) -> tuple[Any, ...]:
        """The row that is shown."""
        free_kib = cold_kib = None
        if self.memory is not None:
            free_kib = self.memory.free_kib
            cold_kib = known_cold_kib(self.memory)
        decision = self.decision
        if isinstance(decision, Skip):
            release, details = f'skip_{decision.name}', str(decision)
        else:
            release, details = decision.mode.value, ''
        return (
            self.server,
            *map(_mib, (self.memory_kib, self.resident_kib)),
            *map(_mib, (free_kib, cold_kib)),
            *_shown(self.plain),
            *_shown(self.costs),
            release,
            str(self.bandwidth),
            details,
        )


def of_guest(
    server: str,
    memory_kib: int,
    guest: Eligible | Skip,
    stats: MemoryStats | None,
    memory: FreeMemory | Skip | None,
    policy: Policy,
    bandwidth: Bandwidth,
    refused: Skip | None = None,
) -> Estimate:
    """Foretell a live migration, by what decides about one.

    :param server: the guest's UUID
    :param memory_kib: memory that its domain has
    :param guest: what the host knows of it, or why it is skipped
    :param stats: what its balloon driver reported; what libvirt has of it
                  where it is skipped; None without a balloon
    :param memory: what a source reported, or why none did; None where none
                   was asked
    :param policy: the guest's
    :param bandwidth: of the path to the destination
    :param refused: why nothing would be released for this destination
    """
    known = memory if isinstance(memory, FreeMemory) else None
    measured = sent = _as_it_is(memory_kib, guest, stats)
    if sent is not None and known is not None:
        sent = sent.with_free(known.free_kib)
    return Estimate(
        server=server,
        memory_kib=memory_kib,
        resident_kib=None if measured is None else measured.resident_kib,
        memory=known,
        plain=(
            None if sent is None else _costs(forecasts.plain(sent, bandwidth))
        ),
        decision=_decision(guest, stats, memory, policy, bandwidth, refused),
        bandwidth=bandwidth,
        free_is_left_out=measured is not None and measured.holds_zeros,
    )


def known_cold_kib(memory: FreeMemory) -> int | None:
    """Return how much page cache is cold, None where that was not reported.

    :param memory: what a guest reported
    """
    if None in (memory.inactive_file_kib, memory.unwritten_kib):
        return None
    return memory.cold_cache_kib


def total(estimates: Iterable[Estimate]) -> tuple[Any, ...]:
    """Return the row of sums, of what is known of each guest.

    :param estimates: of the guests, which migrate one after the other
    """
    every = list(estimates)
    unknown = sum(one.plain is None for one in every)
    released = sum(isinstance(one.decision, Plan) for one in every)
    details = f'{released} of {len(every)} with a release, one by one'
    if unknown:
        details += f'; {unknown} of unknown cost are left out'
    rows = [one.row for one in every]
    sums = [
        round(sum(amounts), 1)
        if (amounts := [row[at] for row in rows if row[at] is not None])
        else None
        for at in range(1, COLUMNS.index('release'))
    ]
    return (TOTAL, *sums, '', '', details)


def _decision(
    guest: Eligible | Skip,
    stats: MemoryStats | None,
    memory: FreeMemory | Skip | None,
    policy: Policy,
    bandwidth: Bandwidth,
    refused: Skip | None,
) -> Plan | Skip:
    """Decide in the order in which a migration does."""
    disabled = eligibility.disabled(policy)
    if disabled is not None:
        return disabled
    if isinstance(guest, Skip):
        return guest
    if stats is None:
        return Skip(Reason.NO_BALLOON_DRIVER)
    decided = (
        eligibility.unwatchable(stats)
        or planner.cannot_pay(stats, guest, policy, bandwidth)
        or refused
    )
    if decided is not None:
        return decided
    if memory is None or isinstance(memory, Skip):
        return memory or Skip(Reason.NO_SOURCE)
    return planner.make(memory, guest, policy, bandwidth, FIRST_GUESS)


def _as_it_is(
    memory_kib: int, guest: Eligible | Skip, stats: MemoryStats | None
) -> Eligible | None:
    """Return what Nova would migrate, None where nobody knows how much."""
    if isinstance(guest, Eligible):
        return guest
    if guest.reason is Reason.PINNED_MEMORY:
        # Huge pages do not count as resident, and all of it is.
        return Eligible(memory_kib, memory_kib + eligibility.QEMU_OWN_KIB)
    if stats is None or stats.rss_kib is None:
        return None
    return Eligible(memory_kib, stats.rss_kib)


def _costs(forecast: Forecast) -> Costs:
    return Costs(forecast.plain_seconds, forecast.sent_kib)


def _shown(costs: Costs | None) -> tuple[float | None, int | None]:
    if costs is None:
        return None, None
    return round(costs.seconds, 1), _mib(costs.sent_kib)


def _mib(kib: float | None) -> int | None:
    return None if kib is None else round(kib / KIB_PER_MIB)
