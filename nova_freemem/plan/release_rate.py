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

"""How fast guests of this host give up memory."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses

from nova_freemem.plan.evidence import Evidence

# What is expected until something has been seen: measured under TCG with Linux
# 6.1 (see the manual's page on measurements). Hosts with hardware
# virtualization are faster: 0.92 GiB/s of free memory that was touched is
# published for KVM.

# What a balloon takes in a second, KiB: free memory, and page cache that has
# to be reclaimed.
ASSUMED_INFLATE_KIB_PER_SECOND = 650.0 * 1024
ASSUMED_RECLAIM_KIB_PER_SECOND = 400.0 * 1024

# What it takes during a transfer, of what it takes before one.
ASSUMED_BUSY_SHARE = 0.72

# What QEMU looks through of a guest in a second, KiB, to find pages that need
# not be sent. It does so once more for what the balloon has taken during the
# transfer, since the guest's kernel has written to it. 2.2 s for 4 GiB.
ASSUMED_LOOK_KIB_PER_SECOND = 1.9 * 1024 * 1024

# Less than this says more of the ticks of the watch than of the guest. What
# takes less time than this was at least as fast.
LEAST_RELEASED_KIB = 128 * 1024
LEAST_SECONDS = 0.5

# What all guests have in common.
_HOST = ''

# What is skipped because guests release too slowly is tried, unless this guest
# or so many others were seen to release within this time.
FRESH_SECONDS = 600.0
FRESH_GUESTS = 3


@dataclasses.dataclass(frozen=True)
class ReleaseRate:
    """How fast a guest gives up memory that is resident.

    :ivar inflate_kib_per_second: free memory
    :ivar reclaim_kib_per_second: page cache, which the guest has to drop
    :ivar busy_share: what it gives up during a transfer, of that before one
    :ivar look_kib_per_second: memory given up during a transfer, which QEMU
                               looks through
    :ivar nonresident_share: of its free memory that the host does not hold,
                             what it gives up before what the host holds
    :ivar is_fresh: whether this guest, or several others, showed it lately
    """

    inflate_kib_per_second: float = ASSUMED_INFLATE_KIB_PER_SECOND
    reclaim_kib_per_second: float = ASSUMED_RECLAIM_KIB_PER_SECOND
    busy_share: float = ASSUMED_BUSY_SHARE
    look_kib_per_second: float = ASSUMED_LOOK_KIB_PER_SECOND
    nonresident_share: float = 1.0
    is_fresh: bool = dataclasses.field(default=False, compare=False)

    def seconds(self, free_kib: float, cache_kib: float) -> float:
        """Forecast how long a release takes.

        :param free_kib: free memory to release
        :param cache_kib: page cache to release after that
        """
        return (
            free_kib / self.inflate_kib_per_second
            + cache_kib / self.reclaim_kib_per_second
        )


FIRST_GUESS = ReleaseRate()


def nonresident_share(
    released_kib: float,
    fall_kib: float,
    free_kib: float,
    nonresident_kib: float,
) -> float | None:
    """Return what share of a release was nonresident, of what could have been.

    :param released_kib: what was released of free memory
    :param fall_kib: by how much the resident size fell meanwhile
    :param free_kib: what was free
    :param nonresident_kib: of that, what the host did not hold
    :returns: from 0.0 to 1.0, for the least and the most that could have been
              nonresident of so much; None where the two are too near to tell
    """
    nonresident_kib = min(nonresident_kib, free_kib)
    least_kib = max(0.0, released_kib - (free_kib - nonresident_kib))
    most_kib = min(released_kib, nonresident_kib)
    if most_kib - least_kib < LEAST_RELEASED_KIB:
        return None
    share = (released_kib - fall_kib - least_kib) / (most_kib - least_kib)
    return min(1.0, max(0.0, share))


class ReleaseRates:
    """What is known of the guests of this host."""

    def __init__(self, first_guess: ReleaseRate = FIRST_GUESS) -> None:
        """Initialize it with what is assumed.

        :param first_guess: what is expected until guests have shown better
        """
        self._inflate = Evidence(first_guess.inflate_kib_per_second)
        self._reclaim = Evidence(first_guess.reclaim_kib_per_second)
        self._busy_share = Evidence(first_guess.busy_share)
        self._look = Evidence(first_guess.look_kib_per_second)
        # With 1 added: evidence is of figures above 0.
        self._nonresident_share = Evidence(1 + first_guess.nonresident_share)
        self._tried_at_seconds: dict[str, float] = {}

    def of(self, guest: str, now_seconds: float) -> ReleaseRate:
        """Return what to expect of a guest.

        :param guest: its UUID
        :param now_seconds: monotonic
        """
        inflate = self._inflate.expected(guest, now_seconds)
        times = inflate / self._inflate.first_guess
        return ReleaseRate(
            inflate,
            # What makes the one faster does so with the other.
            self._reclaim.expected(
                guest, now_seconds, times * self._reclaim.first_guess
            ),
            min(1.0, self._busy_share.expected(guest, now_seconds)),
            self._look.expected(_HOST, now_seconds),
            self._nonresident_share.expected(guest, now_seconds) - 1,
            self._is_fresh(guest, now_seconds),
        )

    def learnt(self, now_seconds: float) -> dict[str, str]:
        """Return what is expected of a guest not seen before, for people.

        :param now_seconds: monotonic
        """
        rate = self.of(_HOST, now_seconds)
        mib = 1024
        return {
            'free memory': f'{rate.inflate_kib_per_second / mib:.0f} MiB/s',
            'page cache': f'{rate.reclaim_kib_per_second / mib:.0f} MiB/s',
            'during a transfer': f'{rate.busy_share:.0%} of that',
            'looked through': f'{rate.look_kib_per_second / mib:.0f} MiB/s',
            'nonresident memory': f'{rate.nonresident_share:.0%} of it first',
        }

    def learn(
        self,
        guest: str,
        free_kib: float,
        cache_kib: float,
        seconds: float,
        now_seconds: float,
    ) -> None:
        """Learn from a release.

        Free memory goes first; what was released beyond it was cache. One
        that was too small to tell teaches nothing.

        :param guest: the guest's UUID
        :param free_kib: free memory that was released
        :param cache_kib: page cache that was released
        :param seconds: how long that took
        :param now_seconds: monotonic
        """
        self.note_trial(guest, now_seconds)
        if free_kib + cache_kib < LEAST_RELEASED_KIB or seconds <= 0:
            return
        at_least = (free_kib + cache_kib) / seconds
        cache_seconds = seconds - free_kib / self._inflate.expected(
            guest, now_seconds
        )
        if cache_kib < LEAST_RELEASED_KIB and seconds >= LEAST_SECONDS:
            self._inflate.add(guest, at_least, now_seconds)
        elif cache_seconds >= LEAST_SECONDS:
            self._reclaim.add(guest, cache_kib / cache_seconds, now_seconds)
        else:
            self._update(
                guest,
                free_kib,
                cache_kib,
                lambda known: max(known, at_least),
                now_seconds,
            )

    def learn_during(
        self,
        guest: str,
        free_kib: float,
        cache_kib: float,
        seconds: float,
        now_seconds: float,
    ) -> None:
        """Learn from a release during a transfer.

        Of a guest that has been seen before one it says how much slower it is
        during one; of another, how fast it is.

        :param guest: the guest's UUID
        :param free_kib: free memory that was released
        :param cache_kib: page cache that was released
        :param seconds: how long that took
        :param now_seconds: monotonic
        """
        if free_kib + cache_kib < LEAST_RELEASED_KIB or seconds <= 0:
            return
        expected = self.of(guest, now_seconds)
        times = expected.seconds(free_kib, cache_kib) / seconds
        is_known = self._inflate.has(guest) or self._reclaim.has(guest)
        if seconds < LEAST_SECONDS:
            times = max(1.0, times)
        elif is_known and times <= 1:
            self._busy_share.add(guest, times, now_seconds)
            return
        elif not is_known:
            times /= expected.busy_share
        # It is as fast as that; or faster than was known, if it was.
        self._update(
            guest,
            free_kib,
            cache_kib,
            lambda known: known * times,
            now_seconds,
        )

    def learn_order(
        self,
        guest: str,
        released_kib: float,
        fall_kib: float,
        free_kib: float,
        nonresident_kib: float,
        now_seconds: float,
    ) -> None:
        """Learn what a guest gives up first, from a release of free memory.

        :param guest: the guest's UUID
        :param released_kib: what was released
        :param fall_kib: by how much the resident size fell meanwhile
        :param free_kib: what was free
        :param nonresident_kib: of that, what the host did not hold
        :param now_seconds: monotonic
        """
        share = nonresident_share(
            released_kib, fall_kib, free_kib, nonresident_kib
        )
        if share is not None:
            self._nonresident_share.add(guest, 1 + share, now_seconds)

    def _update(
        self,
        guest: str,
        free_kib: float,
        cache_kib: float,
        seen: Callable[[float], float],
        now_seconds: float,
    ) -> None:
        """Learn the rates of what was released, if it was not too little.

        :param seen: returns the rate that was seen, given the one known
        """
        for amount_kib, evidence in (
            (free_kib, self._inflate),
            (cache_kib, self._reclaim),
        ):
            if amount_kib >= LEAST_RELEASED_KIB:
                known = evidence.expected(guest, now_seconds)
                evidence.add(guest, seen(known), now_seconds)

    def note_trial(self, guest: str, now_seconds: float) -> None:
        """Note that it is seen how fast a guest releases.

        :param guest: its UUID
        :param now_seconds: monotonic
        """
        for name, at_seconds in list(self._tried_at_seconds.items()):
            if now_seconds - at_seconds >= FRESH_SECONDS:
                self._tried_at_seconds.pop(name, None)
        self._tried_at_seconds[guest] = now_seconds

    def _is_fresh(self, guest: str, now_seconds: float) -> bool:
        lately = [
            name
            for name, at_seconds in list(self._tried_at_seconds.items())
            if now_seconds - at_seconds < FRESH_SECONDS
        ]
        return guest in lately or len(lately) >= FRESH_GUESTS

    def learn_look(self, kib_per_second: float, now_seconds: float) -> None:
        """Learn how fast QEMU found that memory need not be sent.

        That is the host's doing, whichever guest it was.

        :param kib_per_second: what it looked through in the best window
        :param now_seconds: monotonic
        """
        self._look.add(_HOST, kib_per_second, now_seconds)
