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

"""How much to take from a guest, when, or why to leave it alone: pure."""

from __future__ import annotations

import dataclasses
import enum

from nova_freemem.acquire.base import FreeMemory
from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.eligibility import QEMU_OWN_KIB
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.policy import Policy
from nova_freemem.virt.memory_stats import MemoryStats

# A release that is not expected to shorten the migration by this much, in
# seconds and as a share, is within what cannot be foretold.
LEAST_GAIN_SECONDS = 0.3
LEAST_GAIN_SHARE = 0.1

# What QEMU looks through of a guest in a second, KiB, to find pages that need
# not be sent. Where balloon and link have shortened the queue from both ends
# it does so once more, for what the balloon has written to. Measured under
# TCG: 2.2 s for 4 GiB.
LOOK_KIB_PER_SECOND = 1.9 * 1024 * 1024

# A transfer that starts early sends pages that would have been taken soon: two
# to four times the bytes. It has to be foretold to save a quarter of the time.
# (Freed memory at 450 MiB/s: as quick either way, and a quarter of the bytes
# if it waits. Cold page cache at 250 MiB/s: a fifth quicker if it does not.)
GOOD_SHARE = 0.75

# A guest that stood still for so much of its last ten seconds is short of
# memory, whatever else it says. Asked before a release alone: the reclaim of a
# release is a stall to the guest's kernel too (47 % of the time it took to
# take 3 GiB of cold page cache from an idle guest), so that it cannot tell
# a guest in need from one that gives.
MOST_MEMORY_PRESSURE_SHARE = 0.1

# Between what a guest keeps and what is called pressure: its own small ups
# and downs while it migrates.
SLACK_SHARE = 0.25


class Mode(enum.Enum):
    """When the transfer starts."""

    BEFORE = 'before'
    AUTO = 'auto'
    DURING = 'during'


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be taken from one guest.

    :ivar original_kib: memory it has, and is to have again
    :ivar rss_kib: its resident size before anything is taken
    :ivar target_kib: memory it is to have for now
    :ivar free_kib: free memory in what is to be taken; the rest is cache
    :ivar needed_kib: what it uses and keeps, which has to be transferred in
                       any case
    :ivar nonresident_kib: of its memory, what the host does not hold:
                             never touched, or reported free
    :ivar headroom_kib: available memory below which it is under pressure
    :ivar expected_saving_kib: memory that need not be transferred
    :ivar expected_saving_seconds: by how much the migration gets shorter
    :ivar mode: when the transfer starts
    :ivar link: what the migration network is taken to carry
    :ivar source: who told what is free
    """

    original_kib: int
    rss_kib: int
    target_kib: int
    free_kib: int
    needed_kib: int
    nonresident_kib: int
    headroom_kib: int
    expected_saving_kib: int
    expected_saving_seconds: float
    mode: Mode
    link: Bandwidth
    source: str

    @property
    def release_kib(self) -> int:
        """What is to be taken."""
        return self.original_kib - self.target_kib

    @property
    def least_rss_kib(self) -> int:
        """Resident size at which nothing of what it can spare is resident."""
        return self.needed_kib + QEMU_OWN_KIB

    def expected_fall_kib(self, released_kib: int) -> int:
        """Tell by how much the resident size must have fallen, at least.

        The guest may hand out never-touched memory first; only what comes
        after that is known to have been resident.

        :param released_kib: what the balloon has taken so far
        :returns: KiB
        """
        return max(0, released_kib - self.nonresident_kib)


def make(
    memory: FreeMemory,
    guest: Eligible,
    policy: Policy,
    link: Bandwidth,
    pace: ReleaseRate,
) -> Plan | Skip:
    """Decide what to take and when.

    :param memory: what the guest said, plausible
    :param guest: what the host knows of it
    :param policy: the host's
    :param link: what the migration network carries
    :param pace: how fast guests of this host give memory
    :returns: the plan, or the reason for leaving the guest alone
    """
    if (
        memory.memory_pressure_share is not None
        and memory.memory_pressure_share > MOST_MEMORY_PRESSURE_SHARE
    ):
        return Skip(
            Reason.MEMORY_PRESSURE,
            f'{memory.memory_pressure_share:.0%} of the last ten seconds',
        )
    stake = _at_stake(memory, guest, policy)
    if isinstance(stake, Skip):
        return stake
    mode = Mode(policy.mode)
    forecast = _forecast(guest, stake, link, pace, mode)
    too_little = _too_little(stake, forecast, policy, link)
    if too_little is not None:
        return too_little
    return Plan(
        original_kib=guest.actual_kib,
        rss_kib=guest.rss_kib,
        target_kib=guest.actual_kib - stake.release_kib,
        free_kib=stake.free_kib,
        needed_kib=max(
            0, guest.actual_kib - memory.free_kib - stake.cache_kib
        ),
        nonresident_kib=guest.nonresident_kib,
        headroom_kib=stake.headroom_kib,
        expected_saving_kib=stake.saving_kib,
        expected_saving_seconds=forecast.saving_seconds,
        mode=mode,
        link=link,
        source=memory.source,
    )


def cannot_pay(
    driver: MemoryStats, guest: Eligible, policy: Policy, link: Bandwidth
) -> Skip | None:
    """Find what no answer of the guest can change.

    The balloon driver tells of free memory and page cache in 2 ms, an agent
    in 50. Where a release would not pay with all of that page cache cold, and
    taken in no time, no agent need be asked: it is believed only where it
    tells of less.

    :param driver: what the balloon driver told
    :param guest: what the host knows of it
    :param policy: the host's
    :param link: what the migration network carries
    :returns: the reason for leaving the guest alone; None where there may be
              something to win, or the driver tells too little
    """
    if (
        driver.total_kib is None
        or driver.free_kib is None
        or driver.available_kib is None
        or driver.page_cache_kib is None
    ):
        return None
    stake = _at_stake(
        FreeMemory(
            source='',
            total_kib=driver.total_kib,
            free_kib=driver.free_kib,
            available_kib=driver.available_kib,
            inactive_file_kib=driver.page_cache_kib,
            unwritten_kib=0,
        ),
        guest,
        policy,
    )
    if isinstance(stake, Skip):
        return stake
    plain_seconds = guest.resident_kib / link.kib_per_second
    forecast = _Forecast(
        plain_seconds, plain_seconds - stake.saving_kib / link.kib_per_second
    )
    return _too_little(stake, forecast, policy, link)


@dataclasses.dataclass(frozen=True)
class _Stake:
    """What can be taken from a guest, and what of it is worth taking.

    :ivar headroom_kib: what it keeps available
    :ivar free_kib: free memory to be taken
    :ivar cache_kib: page cache to be taken
    :ivar free_nonresident_kib: of the free memory, what the host does not hold: the
                       guest hands that out first
    :ivar saving_kib: what the host holds of all that
    """

    headroom_kib: int
    free_kib: int
    cache_kib: int
    free_nonresident_kib: int
    saving_kib: int

    @property
    def release_kib(self) -> int:
        return self.free_kib + self.cache_kib


def _at_stake(
    memory: FreeMemory, guest: Eligible, policy: Policy
) -> _Stake | Skip:
    headroom_kib = policy.headroom_kib(guest.actual_kib, guest.windows)
    spare_kib = _spare_kib(memory, policy.reclaim)
    release_kib = spare_kib - int(headroom_kib * (1 + SLACK_SHARE))
    if release_kib <= 0:
        return Skip(
            Reason.NOTHING_FREE,
            f'{_mib(spare_kib)} to spare, headroom {_mib(headroom_kib)}',
        )
    free_kib = min(release_kib, memory.free_kib)
    free_nonresident_kib = min(free_kib, guest.nonresident_kib)
    return _Stake(
        headroom_kib=headroom_kib,
        free_kib=free_kib,
        cache_kib=release_kib - free_kib,
        free_nonresident_kib=free_nonresident_kib,
        saving_kib=min(guest.resident_kib, release_kib - free_nonresident_kib),
    )


def _too_little(
    stake: _Stake, forecast: _Forecast, policy: Policy, link: Bandwidth
) -> Skip | None:
    """Judge whether a release would win enough."""
    pays = forecast.pays or Mode(policy.mode) is not Mode.AUTO
    if pays and stake.saving_kib >= policy.min_saving_mib * 1024:
        return None
    return Skip(
        Reason.NOT_WORTHWHILE,
        f'{_mib(stake.saving_kib)} resident of {_mib(stake.release_kib)}, '
        f'{forecast.saving_seconds:.1f} of {forecast.plain_seconds:.1f} s '
        f'at {link}',
    )


def _spare_kib(memory: FreeMemory, reclaim: str) -> int:
    """What the policy allows to take, headroom included."""
    spare_kib = memory.free_kib
    if reclaim == 'cold':
        spare_kib += memory.cold_cache_kib
    if memory.available_kib is None:
        return spare_kib
    if reclaim == 'available':
        return memory.available_kib
    return min(spare_kib, memory.available_kib)


@dataclasses.dataclass(frozen=True)
class _Forecast:
    plain_seconds: float
    released_seconds: float

    @property
    def saving_seconds(self) -> float:
        return self.plain_seconds - self.released_seconds

    @property
    def pays(self) -> bool:
        return self.saving_seconds >= max(
            LEAST_GAIN_SECONDS, LEAST_GAIN_SHARE * self.plain_seconds
        )


def _forecast(
    guest: Eligible,
    stake: _Stake,
    link: Bandwidth,
    pace: ReleaseRate,
    mode: Mode,
) -> _Forecast:
    """Foretell a migration without and with a release.

    The guest hands out what the host does not hold first, which costs time
    and saves nothing. Beside a transfer, balloon and link shorten the queue
    from both ends after that, until the balloon has what it can get.
    """
    saving_kib = stake.saving_kib
    nonresident_seconds = pace.seconds(stake.free_nonresident_kib, 0)
    useful_seconds = pace.seconds(
        stake.free_kib - stake.free_nonresident_kib, stake.cache_kib
    )
    plain_seconds = guest.resident_kib / link.kib_per_second
    if not saving_kib or plain_seconds <= nonresident_seconds:
        return _Forecast(plain_seconds, plain_seconds)
    rest_kib = guest.resident_kib - saving_kib
    apart_seconds = (
        nonresident_seconds + useful_seconds + (rest_kib / link.kib_per_second)
    )
    sent_meanwhile_kib = link.kib_per_second * nonresident_seconds
    beside_seconds = nonresident_seconds + overlapping_seconds(
        saving_kib,
        max(0.0, rest_kib - sent_meanwhile_kib),
        saving_kib / useful_seconds,
        link,
        guest.actual_kib,
    )
    together = mode is Mode.DURING or (
        mode is Mode.AUTO
        and transfer_now_is_better(
            saving_kib,
            rest_kib,
            saving_kib / useful_seconds,
            link,
            guest.actual_kib,
        )
    )
    return _Forecast(
        plain_seconds, beside_seconds if together else apart_seconds
    )


def transfer_now_is_better(
    left_kib: float,
    needed_kib: float,
    pace_kib_per_second: float,
    link: Bandwidth,
    memory_kib: int,
) -> bool:
    """Tell whether a transfer that waits for the balloon had better start.

    So it had where both are done much sooner at the same time, and where it
    would carry everything sooner than the balloon is done.

    :param left_kib: resident memory still to be taken
    :param needed_kib: what has to be transferred in any case
    :param pace_kib_per_second: what the balloon takes, above 0
    :param link: what the migration network carries
    :param memory_kib: the guest's memory
    """
    apart_seconds = (
        left_kib / pace_kib_per_second + needed_kib / link.kib_per_second
    )
    plain_seconds = (left_kib + needed_kib) / link.kib_per_second
    return apart_seconds >= plain_seconds or (
        GOOD_SHARE * apart_seconds
        >= overlapping_seconds(
            left_kib, needed_kib, pace_kib_per_second, link, memory_kib
        )
    )


def overlapping_seconds(
    left_kib: float,
    needed_kib: float,
    pace_kib_per_second: float,
    link: Bandwidth,
    memory_kib: int,
) -> float:
    """Foretell how long balloon and link need at the same time.

    :param left_kib: resident memory still to be taken
    :param needed_kib: what has to be transferred in any case
    :param pace_kib_per_second: what the balloon takes
    :param link: what the migration network carries
    :param memory_kib: the guest's memory, to be looked through once more
    """
    return memory_kib / LOOK_KIB_PER_SECOND + max(
        needed_kib / link.kib_per_second,
        (left_kib + needed_kib) / (link.kib_per_second + pace_kib_per_second),
    )


def _mib(kib: int) -> str:
    return f'{kib // 1024} MiB'
