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

"""What the figures of a transfer say of its path and of its host."""

from __future__ import annotations

import collections
from collections.abc import Callable
import dataclasses

from nova_freemem.virt.transfer_progress import TransferProgress

# A shorter window says more of when QEMU counts than of what it sends.
LEAST_WINDOW_SECONDS = 0.08

# Windows that are kept: what the path carried lately.
MOST_WINDOWS = 30

# For so long the path must have been full, all in all, to tell its bandwidth.
LEAST_FULL_SECONDS = 0.25

# What a path carried at least shows in spans of this length. What is in the
# buffers of its connection a transfer has sent, though no path has carried it:
# as much as tcp_wmem and tcp_rmem allow by default (4 and 6 MiB). These grow
# during the transfer, so that any span may have filled them.
BOUND_SECONDS = 1.0
BUFFERS_KIB = 10 * 1024

# Slower than this a path has been cut rather than filled.
LEAST_KIB_PER_SECOND = 1024.0

# What others may send meanwhile, of what this one sends, for it to count as
# alone.
MOST_BESIDE_SHARE = 0.1

# QEMU looks at a page to see that it is zero, and sends nothing meanwhile. How
# long that takes differs: memory that was never touched is looked through
# faster than what a balloon gave back. A window in which it found more
# zeros than this share of what it sent tells nothing of the path; one in which
# it sent so much less than it looked at tells how fast it looks.
MOST_ZERO_SHARE = 0.5
LEAST_LOOKED_TIMES = 8.0


@dataclasses.dataclass(frozen=True)
class _Window:
    """Two moments of a transfer between which the path was full.

    :ivar sent_kib: sent meanwhile
    :ivar from_seconds: its start, monotonic
    :ivar to_seconds: its end
    """

    sent_kib: float
    from_seconds: float
    to_seconds: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.to_seconds - self.from_seconds


@dataclasses.dataclass(frozen=True)
class Carried:
    """What a path carried in a transfer.

    Each is None where the transfer did not tell; all are KiB a second.

    :ivar alone_kib_per_second: for this one, while no other sent
    :ivar shared_kib_per_second: for all that sent at the same time, together
    :ivar at_least_kib_per_second: whether the path was full or not
    """

    alone_kib_per_second: float | None
    shared_kib_per_second: float | None
    at_least_kib_per_second: float


@dataclasses.dataclass(frozen=True)
class Sent:
    """A transfer that has ended, as far as it was seen.

    :ivar seconds: from when memory began to be sent
    :ivar sent_kib: up to the last look at it
    """

    seconds: float
    sent_kib: float


@dataclasses.dataclass(frozen=True)
class Sending:
    """A transfer at this moment.

    :ivar kib_per_second: what it gets of the path
    :ivar remaining_kib: what is left to be looked at, and sent unless it is
                         zero
    """

    kib_per_second: float
    remaining_kib: float


class TransferMeter:
    """Reads the bandwidth of a path off a transfer.

    Only what is sent while the path is full tells: memory is left to be sent
    at both ends of a window, in one pass, and neither auto-converge nor a
    look for zero pages held it up.

    :ivar look_kib_per_second: what QEMU looked through in the best window,
                               None where it mostly sent, and looked no faster
                               than was expected
    :ivar throttled: whether auto-converge slows the guest down, which it goes
                     on to do until the transfer ends
    """

    def __init__(self, look_kib_per_second: float) -> None:
        """Initialize it before the transfer.

        :param look_kib_per_second: what QEMU is expected to look through
        """
        self.look_kib_per_second: float | None = None
        self.throttled = False
        self._expected_look = look_kib_per_second
        self._began_at_seconds: float | None = None
        self._ended_at_seconds: float | None = None
        self._last: tuple[float, TransferProgress] | None = None
        self._last_asked_at_seconds = 0.0
        self._windows: collections.deque[_Window] = collections.deque(
            maxlen=MOST_WINDOWS
        )
        self._bound_since: tuple[float, float] | None = None
        self._at_least_kib_per_second = 0.0

    def add(
        self,
        now_seconds: float,
        progress: TransferProgress,
        asked_at_seconds: float | None = None,
    ) -> None:
        """Take in the figures of one more moment.

        :param now_seconds: monotonic, when libvirt had told them
        :param progress: what libvirt tells
        :param asked_at_seconds: when it was asked; None for the same moment
        """
        if progress.throttle_percent:
            self.throttled = True
        if self._began_at_seconds is None and progress.sent_kib:
            self._began_at_seconds = now_seconds
        if self._last is not None:
            if now_seconds - self._last[0] < LEAST_WINDOW_SECONDS:
                return
            self._judge(*self._last, now_seconds, progress)
        self._last = now_seconds, progress
        self._last_asked_at_seconds = (
            now_seconds if asked_at_seconds is None else asked_at_seconds
        )
        self._bound(now_seconds, progress.sent_kib)

    def end(self, now_seconds: float) -> None:
        """Take in that memory is sent no more.

        :param now_seconds: monotonic
        """
        self._ended_at_seconds = now_seconds

    def sent(self) -> Sent | None:
        """Return what was sent, None where beginning or end were not seen."""
        if (
            self._last is None
            or self._began_at_seconds is None
            or self._ended_at_seconds is None
        ):
            return None
        return Sent(
            self._ended_at_seconds - self._began_at_seconds,
            self.sent_kib,
        )

    @property
    def sent_kib(self) -> float:
        """What has been sent, up to the last look at it."""
        return 0.0 if self._last is None else self._last[1].sent_kib

    def sending(self) -> Sending | None:
        """Return how the transfer is now, None where that is not known yet."""
        kib_per_second = self._rate(list(self._windows))
        if kib_per_second is None or self._last is None:
            return None
        remaining_kib = self._last[1].remaining_kib
        if remaining_kib is None:
            return None
        return Sending(kib_per_second, remaining_kib)

    def carried(
        self, sent_beside_kib: Callable[[float, float], float | None]
    ) -> Carried:
        """Return what the path carried.

        :param sent_beside_kib: returns what others sent over it between two
                                moments; None where that is not known
        """
        alone, shared = [], []
        for one in list(self._windows):
            beside_kib = sent_beside_kib(one.from_seconds, one.to_seconds)
            if beside_kib is None:
                continue
            if beside_kib <= MOST_BESIDE_SHARE * one.sent_kib:
                alone.append(one)
            else:
                together_kib = one.sent_kib + beside_kib
                shared.append(dataclasses.replace(one, sent_kib=together_kib))
        return Carried(
            self._rate(alone),
            self._rate(shared),
            self._at_least_kib_per_second,
        )

    def _judge(
        self,
        from_seconds: float,
        before: TransferProgress,
        to_seconds: float,
        after: TransferProgress,
    ) -> None:
        if not before.sent_kib:
            return  # what the kernel's buffers take at once, no path carries
        sent_kib = max(0.0, after.sent_kib - before.sent_kib)
        # On a busy host an answer may be old when it is read: what was looked
        # at, was looked at since it was asked for.
        longest_seconds = to_seconds - self._last_asked_at_seconds
        zero_kib = max(0.0, (after.zero_kib or 0) - (before.zero_kib or 0))
        is_full = _is_held_up_by_nothing(before, after)
        # It looked at least so fast; just so fast, where it did little else
        # and had enough to look at.
        look = zero_kib / longest_seconds
        if look > (self.look_kib_per_second or self._expected_look) or (
            self.look_kib_per_second is None
            and is_full
            and zero_kib > LEAST_LOOKED_TIMES * sent_kib
            and (after.remaining_kib or 0) > zero_kib
        ):
            self.look_kib_per_second = look
        if not is_full:
            return
        if sent_kib and zero_kib <= MOST_ZERO_SHARE * sent_kib:
            self._windows.append(_Window(sent_kib, from_seconds, to_seconds))

    def _bound(self, now_seconds: float, sent_kib: float) -> None:
        """Raise what the path carried at least.

        Since an answer may be old when it is read, a span begins as it is
        asked for.
        """
        if self._bound_since is not None:
            from_seconds, before_kib = self._bound_since
            carried_kib = sent_kib - before_kib - BUFFERS_KIB
            seconds = now_seconds - from_seconds
            self._at_least_kib_per_second = max(
                self._at_least_kib_per_second, carried_kib / seconds
            )
            if seconds < BOUND_SECONDS:
                return
        if sent_kib:
            self._bound_since = self._last_asked_at_seconds, sent_kib

    @staticmethod
    def _rate(windows: list[_Window]) -> float | None:
        seconds = sum(one.seconds for one in windows)
        if seconds < LEAST_FULL_SECONDS:
            return None
        rate = sum(one.sent_kib for one in windows) / seconds
        return rate if rate >= LEAST_KIB_PER_SECOND else None


def _is_held_up_by_nothing(
    before: TransferProgress, after: TransferProgress
) -> bool:
    """Return whether memory was there to be sent all the time."""
    return bool(
        before.remaining_kib
        and after.remaining_kib
        and before.passes == after.passes
        and not before.throttle_percent
        and not after.throttle_percent
    )
