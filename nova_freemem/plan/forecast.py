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

"""How long a live migration takes, without and with a release."""

from __future__ import annotations

import dataclasses

from nova_freemem.plan.bandwidth import Bandwidth
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.plan.transfer_meter import Sending

# A release that is not expected to shorten the migration by this much, in
# seconds and as a share, is within what a forecast can be off.
LEAST_GAIN_SECONDS = 0.3
LEAST_GAIN_SHARE = 0.1

# Between the request for a transfer and its first byte QEMU is started at the
# destination, which takes 0.6 s; a release goes on meanwhile.
START_SECONDS = 0.6

# By then what a path carries, or how fast a guest gives up memory, is seen.
TRIAL_SECONDS = 0.8

# How many times faster QEMU must look through memory than it sends it, for
# that to save more than a forecast can be off.
CLEAR_TIMES = 1.25

# Of what a balloon takes during a transfer, the share that lies where the
# transfer has not been yet; the rest lies anywhere (fitted to measured
# migrations, see the manual's page on the simulation).
FAR_END_SHARE = 0.37

# A transfer that starts early sends pages that would have been released soon:
# two to four times the bytes. So it waits for the release unless that takes
# a tenth longer.
GOOD_SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Releasable:
    """What of a guest can be released, and what of it is worth it.

    :ivar headroom_kib: what the guest keeps available
    :ivar free_kib: free memory to be released
    :ivar cache_kib: page cache to be released
    :ivar free_nonresident_kib: of the free memory, what the host does not
                                hold
    :ivar ahead_kib: of that, what the guest gives up first; the rest comes
                     after the free memory that the host holds
    :ivar saving_kib: what the host holds of all that, and need not be
                      transferred
    """

    headroom_kib: int
    free_kib: int
    cache_kib: int
    free_nonresident_kib: int
    ahead_kib: int
    saving_kib: int

    @property
    def total_kib(self) -> int:
        """Free memory and page cache."""
        return self.free_kib + self.cache_kib


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A migration as it would be without a release, and with it.

    :ivar plain_seconds: without
    :ivar released_seconds: with
    :ivar sent_kib: memory that is sent, with
    """

    plain_seconds: float
    released_seconds: float
    sent_kib: float

    @property
    def saving_seconds(self) -> float:
        """By how much the migration gets shorter."""
        return self.plain_seconds - self.released_seconds

    @property
    def pays(self) -> bool:
        """Whether it gets shorter by more than a forecast can be off."""
        return self.saving_seconds >= max(
            LEAST_GAIN_SECONDS, LEAST_GAIN_SHARE * self.plain_seconds
        )


def plain(guest: Eligible, bandwidth: Bandwidth) -> Forecast:
    """Forecast a migration without a release.

    :param guest: what the host knows of the guest
    :param bandwidth: of the path
    """
    seconds = guest.resident_kib / bandwidth.kib_per_second
    return Forecast(seconds, seconds, guest.resident_kib)


def at_best(
    guest: Eligible, releasable: Releasable, bandwidth: Bandwidth
) -> Forecast:
    """Forecast a migration whose release takes no time at all.

    :param guest: what the host knows of the guest
    :param releasable: what is to be released
    :param bandwidth: of the path
    """
    rest_kib = guest.resident_kib - releasable.saving_kib
    return Forecast(
        guest.resident_kib / bandwidth.kib_per_second,
        rest_kib / bandwidth.kib_per_second,
        rest_kib,
    )


def before_transfer(
    guest: Eligible,
    releasable: Releasable,
    bandwidth: Bandwidth,
    rate: ReleaseRate,
    deadline_seconds: float,
) -> Forecast:
    """Forecast a migration whose transfer waits for the release.

    What the host does not hold takes time, too, and saves nothing.

    :param guest: what the host knows of the guest
    :param releasable: what is to be released
    :param bandwidth: of the path
    :param rate: how fast the guest gives up memory
    :param deadline_seconds: for how long the transfer waits at most
    """
    without = plain(guest, bandwidth)
    if _saves_nothing(without.plain_seconds, releasable, rate):
        return without
    nonresident_seconds = _ahead_seconds(releasable, rate)
    resident_seconds = _resident_seconds(releasable, rate)
    in_time_seconds = min(
        resident_seconds, max(0.0, deadline_seconds - nonresident_seconds)
    )
    rest_kib = (
        guest.resident_kib
        - releasable.saving_kib * in_time_seconds / resident_seconds
    )
    return Forecast(
        without.plain_seconds,
        nonresident_seconds
        + in_time_seconds
        + rest_kib / bandwidth.kib_per_second,
        rest_kib,
    )


def during_transfer(
    guest: Eligible,
    releasable: Releasable,
    bandwidth: Bandwidth,
    rate: ReleaseRate,
) -> Forecast:
    """Forecast a migration that releases while it transfers.

    Once the guest gives up what the host holds, balloon and path shorten the
    queue from both ends, until the balloon has what it can get.

    :param guest: what the host knows of the guest
    :param releasable: what is to be released
    :param bandwidth: of the path
    :param rate: how fast the guest gives up memory
    """
    without = plain(guest, bandwidth)
    if _saves_nothing(without.plain_seconds, releasable, rate):
        return without
    ahead_seconds = _ahead_seconds(releasable, rate) - START_SECONDS
    nonresident_seconds = max(0.0, ahead_seconds) / rate.busy_share
    rate_kib_per_second = releasable.saving_kib / _resident_seconds(
        releasable, rate
    )
    left_kib = releasable.saving_kib + min(
        0.0, ahead_seconds * rate_kib_per_second
    )
    rest_kib = guest.resident_kib - releasable.saving_kib
    sent_meanwhile_kib = bandwidth.kib_per_second * nonresident_seconds
    left_kib = max(0.0, left_kib)
    sending_seconds, looking_seconds = _overlap(
        left_kib,
        max(0.0, rest_kib - sent_meanwhile_kib),
        rate_kib_per_second * rate.busy_share,
        bandwidth,
        rate.look_kib_per_second,
    )
    return Forecast(
        without.plain_seconds,
        nonresident_seconds
        + _looking_seconds(
            max(0.0, ahead_seconds) * rate.inflate_kib_per_second,
            rate.look_kib_per_second,
            bandwidth,
        )
        + sending_seconds
        + looking_seconds,
        min(
            guest.resident_kib,
            sent_meanwhile_kib + sending_seconds * bandwidth.kib_per_second,
        ),
    )


def trial_seconds(rate: ReleaseRate) -> float:
    """Return by how much a migration gets longer, at most, by a trial.

    QEMU looks through what is released until the trial ends.

    :param rate: how fast the guest is expected to give up memory
    """
    return (
        TRIAL_SECONDS
        * rate.inflate_kib_per_second
        * rate.busy_share
        / rate.look_kib_per_second
    )


def release_still_pays(
    sending: Sending,
    resident_kib: float,
    nonresident_kib: float,
    rate_kib_per_second: float,
    look_kib_per_second: float,
) -> bool:
    """Return whether a release had better go on while a transfer runs.

    What is released need not be sent, unless it has been; but QEMU looks
    through it.

    :param sending: the transfer as it is now
    :param resident_kib: what the host holds of the guest's memory
    :param nonresident_kib: what the guest gives up before that, and the host
                            does not hold, which saves nothing
    :param rate_kib_per_second: what the guest gives up, above 0
    :param look_kib_per_second: what QEMU looks through; never less than it
                                sends, since it looks at that too
    """
    unsent_kib = min(sending.remaining_kib, resident_kib)
    left_seconds = (
        unsent_kib / sending.kib_per_second
        - nonresident_kib / rate_kib_per_second
    )
    if left_seconds <= CLEAR_TIMES * nonresident_kib / look_kib_per_second:
        return False
    unsent_share = FAR_END_SHARE + (1 - FAR_END_SHARE) * (
        unsent_kib / resident_kib
    )
    return (
        unsent_share * look_kib_per_second
        > CLEAR_TIMES * sending.kib_per_second
    )


def transfer_now_is_better(
    left_kib: float,
    needed_kib: float,
    rate_kib_per_second: float,
    bandwidth: Bandwidth,
    rate: ReleaseRate,
    deadline_seconds: float,
) -> bool:
    """Return whether a transfer that waits for the release had better start.

    So it had where both are done much sooner at the same time, and where it
    would send everything sooner than the release is done.

    :param left_kib: resident memory still to be released
    :param needed_kib: what has to be transferred in any case
    :param rate_kib_per_second: what the guest gives up, above 0
    :param bandwidth: of the path
    :param rate: what else is known of the host
    :param deadline_seconds: for how long the transfer waits at most; what is
                             not released by then is transferred
    """
    release_seconds = min(left_kib / rate_kib_per_second, deadline_seconds)
    late_kib = left_kib - release_seconds * rate_kib_per_second
    # While QEMU is started, the release goes on in either case.
    waiting_seconds = (
        max(START_SECONDS, release_seconds)
        + (late_kib + needed_kib) / bandwidth.kib_per_second
    )
    plain_seconds = (
        START_SECONDS + (left_kib + needed_kib) / bandwidth.kib_per_second
    )
    return waiting_seconds >= plain_seconds or (
        GOOD_SHARE * waiting_seconds
        >= START_SECONDS
        + overlapping_seconds(
            max(0.0, left_kib - rate_kib_per_second * START_SECONDS),
            needed_kib,
            rate_kib_per_second * rate.busy_share,
            bandwidth,
            rate.look_kib_per_second,
        )
    )


def overlapping_seconds(
    left_kib: float,
    needed_kib: float,
    rate_kib_per_second: float,
    bandwidth: Bandwidth,
    look_kib_per_second: float,
) -> float:
    """Return how long release and transfer take at the same time.

    That is until all has been sent or released, and QEMU has looked through
    what was released by then.

    :param left_kib: resident memory still to be released
    :param needed_kib: what has to be transferred in any case
    :param rate_kib_per_second: what the guest gives up, above 0
    :param bandwidth: of the path
    :param look_kib_per_second: what QEMU looks through
    """
    return sum(
        _overlap(
            left_kib,
            needed_kib,
            rate_kib_per_second,
            bandwidth,
            look_kib_per_second,
        )
    )


def _overlap(
    left_kib: float,
    needed_kib: float,
    rate_kib_per_second: float,
    bandwidth: Bandwidth,
    look_kib_per_second: float,
) -> tuple[float, float]:
    """Return how long QEMU sends, and then looks, without sending.

    QEMU sends in the order of addresses, and what is needed lies everywhere:
    the more there is to be released, the more of what is sent is released
    afterwards. With release rate R, bandwidth B, memory F + W of which W is
    needed, and share e of what is released lying where the transfer has not
    been yet, the unsent part L of what is left, X = F + W - R t, falls by
    dL/dt = -B - R (e + (1 - e) L / X). So the transfer has passed
    1 - L / X = B / R (((F + W) / X)^e - 1) / e of it.
    """
    path = bandwidth.kib_per_second
    total_kib = left_kib + needed_kib
    times = rate_kib_per_second / path
    # What is left of it when everything has been passed.
    passed_kib = total_kib * (1 + FAR_END_SHARE * times) ** (
        -1 / FAR_END_SHARE
    )
    if passed_kib >= needed_kib:
        sending_seconds = (total_kib - passed_kib) / rate_kib_per_second
    else:
        passed_share = ((total_kib / needed_kib) ** FAR_END_SHARE - 1) / (
            FAR_END_SHARE * times
        )
        sending_seconds = (
            left_kib / rate_kib_per_second
            + (1 - passed_share) * needed_kib / path
        )
    return sending_seconds, _looking_seconds(
        min(left_kib, sending_seconds * rate_kib_per_second),
        look_kib_per_second,
        bandwidth,
    )


def _looking_seconds(
    released_kib: float, look_kib_per_second: float, bandwidth: Bandwidth
) -> float:
    """Return how long QEMU looks through what was released.

    That is never slower than it sends, since it looks at that as well.
    """
    return released_kib / max(look_kib_per_second, bandwidth.kib_per_second)


def _ahead_seconds(releasable: Releasable, rate: ReleaseRate) -> float:
    return rate.seconds(releasable.ahead_kib, 0)


def _resident_seconds(releasable: Releasable, rate: ReleaseRate) -> float:
    """Return how long it takes to release the rest, as far as it saves.

    What the host does not hold is in between where there is page cache to
    come, and else the end, which nobody waits for.
    """
    behind_kib = (
        releasable.ahead_kib
        if releasable.cache_kib
        else releasable.free_nonresident_kib
    )
    return rate.seconds(releasable.free_kib - behind_kib, releasable.cache_kib)


def _saves_nothing(
    plain_seconds: float, releasable: Releasable, rate: ReleaseRate
) -> bool:
    """Whether a transfer alone is done before the balloon gets to the rest."""
    return not releasable.saving_kib or plain_seconds <= _ahead_seconds(
        releasable, rate
    )
