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

"""What of a guest's memory is released, and when."""

from __future__ import annotations

import dataclasses
import enum
import math

from nova_freemem.acquire.free_memory import CommitLimit
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.acquire.free_memory import NodeMemory
from nova_freemem.plan import forecast as forecasts
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.eligibility import QEMU_OWN_KIB
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.forecast import Forecast
from nova_freemem.plan.forecast import Releasable
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.release_rate import FIRST_GUESS
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.policy import Policy
from nova_freemem.virt.memory_stats import MemoryStats

# A guest whose tasks stood still for so much of its last ten seconds is short
# of memory, whatever else it says. Looked at before a release alone: the
# reclaim of a release is a stall to the guest's kernel too (47 % of the time
# it took to release 3 GiB of cold page cache from an idle guest), so that it
# cannot tell a guest in need from one that gives.
MOST_MEMORY_PRESSURE_SHARE = 0.1

# With so much of its memory free no kernel drops anything for want of memory,
# and whoever waits is at a limit of its own, as a container is. It stops to at
# its high watermark: 1.5 times min_free_kbytes, which transparent huge pages
# raise to 5 % at most (set_recommended_min_free_kbytes() in mm/khugepaged.c).
# One of several NUMA nodes may be empty all the same.
LEAST_FREE_SHARE = 0.1

# Between what a guest keeps and what is called pressure: its own small ups
# and downs while it migrates.
SLACK_SHARE = 0.25

# As a guest may give up its memory: what the host holds comes first. Emulated
# guests of Linux 6.1 do, which report no free pages.
AT_BEST_SHARE = 0.0

# What a release that is only tried may cost, of a migration without it.
LEAST_LOSS_SECONDS = 0.15
MOST_LOSS_SHARE = 0.03


class Mode(enum.Enum):
    """When memory is released relative to the transfer, as in the option."""

    BEFORE = 'before'
    DURING = 'during'
    AUTO = 'auto'


class Moment(enum.Enum):
    """When it is decided what is released."""

    BEFORE_TRANSFER = 'before the transfer, which can wait'
    COPYING_DISKS = 'while disks are copied, in time for a release'
    SENDING_MEMORY = 'while memory is sent'


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be released from one guest.

    :ivar original_kib: memory it has, and is to have again
    :ivar rss_kib: its resident size before the release
    :ivar target_kib: memory it is to have for now
    :ivar free_kib: free memory in what is to be released; the rest is cache
    :ivar guest_free_kib: free memory that it reported, what it keeps included
    :ivar used_kib: what it uses, page cache included, and the host holds
    :ivar nonresident_kib: of its memory, what the host does not hold: never
                           touched, or reported free; or may hold as zeros
    :ivar headroom_kib: available memory below which it is under pressure
    :ivar plain: the migration as it would be without a release, and idle
    :ivar expected_saving_kib: memory that need not be transferred
    :ivar expected_saving_seconds: by how much the migration gets shorter
    :ivar expected_sent_kib: memory that is sent
    :ivar mode: when the transfer starts
    :ivar bandwidth: what the path is taken to carry
    :ivar source: name of the source that reported what is free
    :ivar rate: how fast the guest is expected to give it up
    :ivar watches_free: whether what is free tells what the guest has left,
                        whatever it reports as available
    :ivar goes_on_if_it_pays: whether a release during the transfer ends where
                              it is seen not to shorten it
    :ivar is_trial: whether it is done to see how fast the guest is
    :ivar deadline_seconds: for how long the transfer waits for it at most
    :ivar cold_kib: page cache that the guest's kernel calls cold and is asked
                    to drop; 0 where that is not known
    :ivar has_swap: whether it may have swap
    """

    original_kib: int
    rss_kib: int
    target_kib: int
    free_kib: int
    guest_free_kib: int
    used_kib: int
    nonresident_kib: int
    headroom_kib: int
    plain: Forecast
    expected_saving_kib: int
    expected_saving_seconds: float
    expected_sent_kib: float
    mode: Mode
    bandwidth: Bandwidth
    source: str
    rate: ReleaseRate = FIRST_GUESS
    watches_free: bool = False
    goes_on_if_it_pays: bool = False
    is_trial: bool = False
    deadline_seconds: float = math.inf
    cold_kib: int = 0
    has_swap: bool = True

    @property
    def release_kib(self) -> int:
        """What is to be released."""
        return self.original_kib - self.target_kib

    @property
    def cache_kib(self) -> int:
        """Page cache that the guest is to do without."""
        return max(self.cold_kib, self.release_kib - self.free_kib)

    @property
    def needed_kib(self) -> int:
        """What it uses and keeps: has to be transferred in any case."""
        return max(0, self.used_kib - self.cache_kib)

    @property
    def least_rss_kib(self) -> int:
        """Resident size at which nothing of what is released is resident.

        What the guest drops and keeps available may be resident for a while.
        """
        released_cache_kib = self.release_kib - self.free_kib
        return max(0, self.used_kib - released_cache_kib) + QEMU_OWN_KIB

    def expected_fall_kib(self, released_kib: int) -> int:
        """Return by how much the resident size must have fallen, at least.

        The guest may give up nonresident memory first; only what comes after
        that is known to have been resident.

        :param released_kib: what has been released so far
        :returns: KiB
        """
        return max(0, released_kib - self.nonresident_kib)


def make(
    memory: FreeMemory,
    guest: Eligible,
    policy: Policy,
    bandwidth: Bandwidth,
    rate: ReleaseRate,
    moment: Moment = Moment.BEFORE_TRANSFER,
) -> Plan | Skip:
    """Decide what to release and when.

    :param memory: what the guest reported, plausible
    :param guest: what the host knows of it
    :param policy: the host's
    :param bandwidth: of the path to the destination
    :param rate: how fast guests of this host give up memory
    :param moment: when this is; a transfer that runs waits for nothing
    :returns: the plan, or the reason for a skip
    """
    stalled_share = memory.memory_pressure_share or 0.0
    if stalled_share > MOST_MEMORY_PRESSURE_SHARE and (
        guest.nodes > 1
        or memory.free_kib < LEAST_FREE_SHARE * memory.total_kib
    ):
        return Skip(
            Reason.MEMORY_PRESSURE,
            f'{stalled_share:.0%} of the last ten seconds, '
            f'{_mib(memory.free_kib)} free',
        )
    if guest.nodes > 1 and len(memory.nodes) != guest.nodes:
        return Skip(
            Reason.GUEST_NUMA,
            f'{memory.source} reported {len(memory.nodes)} of {guest.nodes}',
        )
    guest = guest.with_free(memory.free_kib)
    releasable = _releasable(memory, guest, policy, rate.nonresident_share)
    if isinstance(releasable, Skip):
        return releasable
    during = forecasts.during_transfer(guest, releasable, bandwidth, rate)
    if moment is Moment.BEFORE_TRANSFER:
        mode, forecast = _best(
            Mode(policy.mode),
            forecasts.before_transfer(
                guest, releasable, bandwidth, rate, policy.deadline_seconds
            ),
            during,
            bandwidth.is_known,
        )
    elif moment is Moment.COPYING_DISKS:
        # Nothing waits for the release: it ends with the copy.
        mode = Mode.DURING
        forecast = forecasts.at_best(guest, releasable, bandwidth)
    else:
        mode, forecast = Mode.DURING, during
    too_little = _too_little(releasable, forecast, policy, bandwidth)
    trial = None
    if too_little is not None:
        trial = _trial(memory, guest, policy, bandwidth, rate, moment)
    if trial is not None:
        mode, too_little = trial, None
    if too_little is not None:
        return too_little
    return Plan(
        original_kib=guest.original_kib,
        rss_kib=guest.rss_kib,
        target_kib=guest.original_kib - releasable.total_kib,
        free_kib=releasable.free_kib,
        guest_free_kib=memory.free_kib,
        # What it never touched, its kernel's reserves for one, is not held.
        used_kib=min(guest.original_kib - memory.free_kib, guest.resident_kib),
        nonresident_kib=guest.nonresident_kib,
        headroom_kib=releasable.headroom_kib,
        plain=forecasts.plain(guest, bandwidth),
        expected_saving_kib=releasable.saving_kib,
        expected_saving_seconds=forecast.saving_seconds,
        expected_sent_kib=forecast.sent_kib,
        mode=mode,
        bandwidth=bandwidth,
        source=memory.source,
        rate=rate,
        watches_free=guest.windows,
        goes_on_if_it_pays=policy.mode == Mode.AUTO.value,
        is_trial=trial is not None,
        deadline_seconds=policy.deadline_seconds,
        cold_kib=_cold_kib(memory, guest, releasable, policy),
        has_swap=memory.swap_total_kib != 0,
    )


def cannot_pay(
    stats: MemoryStats, guest: Eligible, policy: Policy, bandwidth: Bandwidth
) -> Skip | None:
    """Find what no answer of a source can change.

    The balloon driver reports free memory and page cache in 2 ms, an agent in
    50. Where a release would not pay with all of that page cache cold, and
    released in no time, no source need be waited for: the driver is believed
    only where it reports less.

    :param stats: what the balloon driver reported
    :param guest: what the host knows of it
    :param policy: the host's
    :param bandwidth: of the path to the destination
    :returns: the reason for a skip; None where a release may pay, or the
              driver reports too little
    """
    if guest.windows:
        return None  # What it reports as available is more than that.
    memory = _as_reported(stats, policy)
    if memory is None:
        return None
    guest = guest.with_free(memory.free_kib)
    releasable = _releasable(memory, guest, policy, AT_BEST_SHARE)
    if isinstance(releasable, Skip):
        return releasable
    return _too_little(
        releasable,
        forecasts.at_best(guest, releasable, bandwidth),
        policy,
        bandwidth,
    )


def release_seconds(
    stats: MemoryStats | None,
    guest: Eligible,
    policy: Policy,
    rate: ReleaseRate,
) -> float:
    """Forecast how long a release would take, from the balloon driver alone.

    :param stats: what it reported, None where it does not
    :param guest: what the host knows of the guest
    :param policy: the host's
    :param rate: how fast the guest gives up memory
    :returns: with all of its page cache cold; 0.0 where it reports too
              little, or nothing could be released
    """
    memory = None if stats is None else _as_reported(stats, policy)
    if memory is None:
        return 0.0
    releasable = _releasable(memory, guest, policy, rate.nonresident_share)
    if isinstance(releasable, Skip):
        return 0.0
    return rate.seconds(releasable.free_kib, releasable.cache_kib)


def _as_reported(stats: MemoryStats, policy: Policy) -> FreeMemory | None:
    """Return what would be free with all page cache cold, if it is known."""
    if (
        stats.total_kib is None
        or stats.free_kib is None
        or stats.available_kib is None
        or stats.page_cache_kib is None
    ):
        return None
    return FreeMemory(
        source='',
        total_kib=stats.total_kib,
        free_kib=_best_free_kib(
            stats.free_kib,
            stats.available_kib,
            stats.page_cache_kib,
            policy.reclaim,
        ),
        available_kib=stats.available_kib,
        inactive_file_kib=stats.page_cache_kib,
        unwritten_kib=0,
    )


def _best_free_kib(
    free_kib: int, available_kib: int, page_cache_kib: int, reclaim: str
) -> int:
    """Return how much free memory would make a release save most.

    A source may report less than the balloon driver did a moment before. Where
    page cache makes up for it, that is more: free memory is what the host may
    not hold.
    """
    if reclaim == 'available':
        return 0
    if reclaim == 'cold':
        return min(free_kib, max(0, available_kib - page_cache_kib))
    return free_kib


def _best(
    allowed: Mode, before: Forecast, during: Forecast, is_path_known: bool
) -> tuple[Mode, Forecast]:
    """Choose among the modes that the policy allows.

    With ``auto`` a release begins before the transfer wherever that pays: how
    fast this guest is, is seen then, and the transfer starts early where that
    is better. Where what the path carries is not known, it has to be seen
    first: the transfer starts at once.

    :returns: the mode, and what to expect of it
    """
    if allowed is Mode.BEFORE:
        return Mode.BEFORE, before
    if allowed is Mode.DURING or (during.pays and not before.pays):
        return Mode.DURING, during
    if not is_path_known:
        return Mode.DURING, during if during.pays else before
    much_better = (
        during.released_seconds
        <= forecasts.GOOD_SHARE * before.released_seconds
    )
    return Mode.AUTO, during if much_better else before


def _trial(
    memory: FreeMemory,
    guest: Eligible,
    policy: Policy,
    bandwidth: Bandwidth,
    rate: ReleaseRate,
    moment: Moment,
) -> Mode | None:
    """Decide whether to see how fast the guest is, though it will not pay.

    Else a rate that nobody sees any more would be believed for ever. Before
    the transfer it is seen best; where that costs too much, a release during
    the transfer is tried, and ends where it does not pay. One that costs next
    to nothing as a whole, and may pay, is tried each time.

    :returns: the mode to try; None where the guest need not be tried, could
              not pay, or a trial could cost too much
    """
    releasable = _releasable(memory, guest, policy, AT_BEST_SHARE)
    if isinstance(releasable, Skip) or Mode(policy.mode) is not Mode.AUTO:
        return None
    best = forecasts.at_best(guest, releasable, bandwidth)
    if _too_little(releasable, best, policy, bandwidth):
        return None
    most_seconds = LEAST_LOSS_SECONDS + MOST_LOSS_SHARE * best.plain_seconds
    whole_seconds = rate.seconds(releasable.free_kib, releasable.cache_kib)
    if rate.is_fresh and whole_seconds > most_seconds:
        return None
    if (
        moment is Moment.BEFORE_TRANSFER
        and bandwidth.is_known
        and most_seconds >= forecasts.TRIAL_SECONDS
    ):
        return Mode.AUTO
    if most_seconds >= forecasts.trial_seconds(rate):
        return Mode.DURING
    return None


def _releasable(
    memory: FreeMemory,
    guest: Eligible,
    policy: Policy,
    nonresident_share: float,
) -> Releasable | Skip:
    if guest.windows and policy.reclaim == 'free':
        return Skip(
            Reason.NO_SOURCE,
            'Windows reports free memory together with its standby list',
        )
    spare_kib = (
        memory.free_kib
        if guest.windows
        else _spare_kib(memory, policy.reclaim)
    )
    headroom_kib = _headroom_kib(spare_kib, guest, policy)
    kept_kib = int(headroom_kib * (1 + SLACK_SHARE))
    release_kib = spare_kib - kept_kib
    if release_kib <= 0:
        return Skip(
            Reason.NOTHING_FREE,
            f'{_mib(spare_kib)} to spare, headroom {_mib(headroom_kib)}',
        )
    if memory.commit is not None and (
        guest.total_shrinks or not memory.commit.stays
    ):
        release_kib = min(release_kib, _allowed_kib(memory.commit, kept_kib))
        if release_kib <= 0:
            return Skip(
                Reason.OVERCOMMIT_LIMIT,
                f'{_mib(memory.commit.left_kib)} left of CommitLimit, '
                f'headroom {_mib(headroom_kib)}',
            )
    for number, node in enumerate(memory.nodes):
        node_spare_kib = _node_spare_kib(node, policy.reclaim)
        node_headroom_kib = policy.headroom_kib(node.total_kib, guest.windows)
        node_kept_kib = int(node_headroom_kib * (1 + SLACK_SHARE))
        release_kib = min(release_kib, node_spare_kib - node_kept_kib)
        if release_kib <= 0:
            return Skip(
                Reason.GUEST_NUMA,
                f'node {number} has {_mib(node_spare_kib)} to spare, headroom '
                f'{_mib(node_headroom_kib)}',
            )
    free_kib = min(release_kib, memory.free_kib)
    ahead_kib = int(nonresident_share * min(free_kib, guest.nonresident_kib))
    free_resident_kib = max(0, memory.free_kib - guest.nonresident_kib)
    free_nonresident_kib = max(ahead_kib, free_kib - free_resident_kib)
    return Releasable(
        headroom_kib=headroom_kib,
        free_kib=free_kib,
        cache_kib=release_kib - free_kib,
        free_nonresident_kib=free_nonresident_kib,
        ahead_kib=ahead_kib,
        saving_kib=min(guest.resident_kib, release_kib - free_nonresident_kib),
    )


def _cold_kib(
    memory: FreeMemory,
    guest: Eligible,
    releasable: Releasable,
    policy: Policy,
) -> int:
    """Return how much page cache a guest is asked to drop by itself.

    Where it reports free pages, all that is cold: what it keeps available
    need not be sent then, as free memory. Else what is to be released.

    A kernel that finds little inactive page cache in comparison makes active
    page cache inactive (inactive_is_low() in mm/vmscan.c): so much is left. Of
    a guest with several NUMA nodes it is not known which would drop it.
    """
    if (
        guest.windows
        or guest.nodes > 1
        or policy.reclaim == 'free'
        or memory.inactive_file_kib is None
        or memory.active_file_kib is None
    ):
        return 0
    gib = (memory.inactive_file_kib + memory.active_file_kib) // (1024 * 1024)
    least_kib = memory.active_file_kib // max(1, math.isqrt(10 * gib))
    cold_kib = max(0, memory.cold_cache_kib - least_kib)
    if guest.reports_free:
        return cold_kib
    return min(cold_kib, releasable.cache_kib)


def _headroom_kib(spare_kib: int, guest: Eligible, policy: Policy) -> int:
    """Return what a guest is to keep available.

    Where its MemTotal shrinks with its balloon, it is left with what it uses
    and a share of what it is left with.
    """
    shrunk_kib = None
    if guest.total_shrinks:
        shrunk_kib = float(guest.original_kib)
        kept_share = policy.headroom_percent / 100 * (1 + SLACK_SHARE)
        used_kib = max(0, guest.original_kib - spare_kib)
        if used_kib < shrunk_kib * (1 - kept_share):
            shrunk_kib = used_kib / (1 - kept_share)
    return policy.headroom_kib(guest.original_kib, guest.windows, shrunk_kib)


def _node_spare_kib(node: NodeMemory, reclaim: str) -> int:
    """Return what the policy allows to release of one node.

    The guest's allocator chooses the node that a balloon gets its pages from:
    it begins with that of the processor that the driver happens to run on, and
    takes all that is free there. Any node may have to give all of a release.
    """
    if reclaim == 'available':
        return node.free_kib + max(0, node.file_kib - node.unwritten_kib)
    if reclaim == 'cold':
        return node.free_kib + node.cold_cache_kib
    return node.free_kib


def _allowed_kib(commit: CommitLimit, kept_kib: int) -> int:
    """Return what can be released so that processes can ask for enough yet."""
    return int(max(0, commit.left_kib - kept_kib) / max(commit.share, 1e-6))


def _too_little(
    releasable: Releasable,
    forecast: Forecast,
    policy: Policy,
    bandwidth: Bandwidth,
) -> Skip | None:
    """Decide whether a release would gain enough."""
    pays = forecast.pays or Mode(policy.mode) is not Mode.AUTO
    if pays and releasable.saving_kib >= policy.min_saving_mib * 1024:
        return None
    return Skip(
        Reason.NOT_WORTHWHILE,
        f'{_mib(releasable.saving_kib)} of {_mib(releasable.total_kib)} are '
        f'resident, which saves {forecast.saving_seconds:.1f} of '
        f'{forecast.plain_seconds:.1f} s at {bandwidth}',
    )


def _spare_kib(memory: FreeMemory, reclaim: str) -> int:
    """Return what the policy allows to release, headroom included."""
    spare_kib = memory.free_kib
    if reclaim == 'cold':
        spare_kib += memory.cold_cache_kib
    if memory.available_kib is None:
        return spare_kib
    if reclaim == 'available':
        return memory.available_kib
    return min(spare_kib, memory.available_kib)


def _mib(kib: int) -> str:
    return f'{kib // 1024} MiB'
