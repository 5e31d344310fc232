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
from nova_freemem.eligibility import Eligible
from nova_freemem.link import LinkRate
from nova_freemem.policy import Policy
from nova_freemem.reasons import LeaveAlone
from nova_freemem.reasons import Reason

# What a balloon takes in a second, KiB: free memory, and page cache that has
# to be reclaimed. Measured under TCG with Linux 6.1 (see the manual's chapter
# on measurements); processors with hardware support are faster.
INFLATE_KIB_PER_SECOND = 650 * 1024
RECLAIM_KIB_PER_SECOND = 400 * 1024

# A release that is not expected to shorten the migration by this much, in
# seconds and as a share, is within what cannot be foretold.
LEAST_GAIN_SECONDS = 0.3
LEAST_GAIN_SHARE = 0.1

# Between what a guest keeps and what is called pressure: its own small ups
# and downs while it migrates.
SLACK_SHARE = 0.25


class Mode(enum.Enum):
    """When the transfer starts."""

    FIRST = 'before'
    OVERLAPPING = 'ahead of'
    BESIDE = 'beside'


MODES = {'first': Mode.FIRST, 'auto': Mode.OVERLAPPING,
         'beside': Mode.BESIDE}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be taken from one guest.

    :ivar original_kib: memory it has, and is to have again
    :ivar rss_kib: its resident size before anything is taken
    :ivar target_kib: memory it is to have for now
    :ivar never_touched_kib: of its memory, what the host does not hold:
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
    never_touched_kib: int
    headroom_kib: int
    expected_saving_kib: int
    expected_saving_seconds: float
    mode: Mode
    link: LinkRate
    source: str

    @property
    def release_kib(self) -> int:
        """What is to be taken."""
        return self.original_kib - self.target_kib

    def expected_fall_kib(self, taken_kib: int) -> int:
        """Tell by how much the resident size must have fallen, at least.

        The guest may hand out never-touched memory first; only what comes
        after that is known to have been resident.

        :param taken_kib: what the balloon has taken so far
        :returns: KiB
        """
        return max(0, taken_kib - self.never_touched_kib)


def make(memory: FreeMemory, guest: Eligible, policy: Policy, link: LinkRate
         ) -> Plan | LeaveAlone:
    """Decide what to take and when.

    :param memory: what the guest said, plausible
    :param guest: what the host knows of it
    :param policy: the host's
    :param link: what the migration network carries
    :returns: the plan, or the reason for leaving the guest alone
    """
    headroom_kib = policy.headroom_kib(guest.actual_kib, guest.windows)
    spare_kib = _spare_kib(memory, policy.reclaim)
    release_kib = spare_kib - int(headroom_kib * (1 + SLACK_SHARE))
    if release_kib <= 0:
        return LeaveAlone(
            Reason.NOTHING_FREE,
            f'{_mib(spare_kib)} to spare, headroom {_mib(headroom_kib)}')
    mode = MODES[policy.mode]
    forecast = _forecast(memory, guest, release_kib, link, mode)
    if forecast.saving_kib < policy.min_saving_mib * 1024 or (
            mode is Mode.OVERLAPPING and not forecast.pays):
        return LeaveAlone(
            Reason.WOULD_NOT_PAY,
            f'{_mib(forecast.saving_kib)} resident of {_mib(release_kib)}, '
            f'{forecast.saving_seconds:.1f} of {forecast.plain_seconds:.1f} s '
            f'at {link}')
    return Plan(
        original_kib=guest.actual_kib,
        rss_kib=guest.rss_kib,
        target_kib=guest.actual_kib - release_kib,
        never_touched_kib=guest.never_touched_kib,
        headroom_kib=headroom_kib,
        expected_saving_kib=forecast.saving_kib,
        expected_saving_seconds=forecast.saving_seconds,
        mode=mode,
        link=link,
        source=memory.source)


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
    saving_kib: int
    plain_seconds: float
    released_seconds: float

    @property
    def saving_seconds(self) -> float:
        return self.plain_seconds - self.released_seconds

    @property
    def pays(self) -> bool:
        return self.saving_seconds >= max(
            LEAST_GAIN_SECONDS, LEAST_GAIN_SHARE * self.plain_seconds)


def _forecast(memory: FreeMemory, guest: Eligible, release_kib: int,
              link: LinkRate, mode: Mode) -> _Forecast:
    """Foretell a migration without and with a release.

    The guest hands out what the host does not hold first, which costs time
    and saves nothing. Beside a transfer, balloon and link shorten the queue
    from both ends after that, until the balloon has what it can get.
    """
    from_free_kib = min(release_kib, memory.free_kib)
    from_cache_kib = release_kib - from_free_kib
    in_vain_kib = min(from_free_kib, guest.never_touched_kib)
    saving_kib = min(guest.rss_kib, release_kib - in_vain_kib)
    in_vain_seconds = in_vain_kib / INFLATE_KIB_PER_SECOND
    useful_seconds = (
        (from_free_kib - in_vain_kib) / INFLATE_KIB_PER_SECOND
        + from_cache_kib / RECLAIM_KIB_PER_SECOND)
    carried_meanwhile_kib = link.kib_per_second * in_vain_seconds
    plain_seconds = guest.rss_kib / link.kib_per_second
    if not saving_kib or plain_seconds <= in_vain_seconds:
        return _Forecast(saving_kib, plain_seconds, plain_seconds)
    rest_seconds = (guest.rss_kib - saving_kib) / link.kib_per_second
    if mode is not Mode.BESIDE:
        return _Forecast(saving_kib, plain_seconds,
                         in_vain_seconds + useful_seconds + rest_seconds)
    release_rate = saving_kib / useful_seconds
    meet_seconds = in_vain_seconds + (
        (guest.rss_kib - carried_meanwhile_kib)
        / (link.kib_per_second + release_rate))
    return _Forecast(saving_kib, plain_seconds,
                     max(meet_seconds, rest_seconds))


def _mib(kib: int) -> str:
    return f'{kib // 1024} MiB'
