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

"""When a release ends: pure, from what was observed."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence

from nova_freemem.plan import forecast
from nova_freemem.plan import release_rate
from nova_freemem.plan.eligibility import QEMU_OWN_KIB
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.transfer_meter import Sending
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Observation
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Request
from nova_freemem.virt.memory_stats import TOLERANCE_KIB

# How far back a rate is measured.
WINDOW_SECONDS = 2.0

# The slowest release measured made 200 MiB/s. A guest that gives up less than
# this in a window has nothing more to give up (one page each 5 s has been
# reported as progress elsewhere; it is none).
STALL_KIB = 8 * 1024

# Between the request for a transfer and its first byte QEMU is started at the
# destination; about a second here, which the end of a release can share. Two
# and three seconds took as long, within noise, and sent half as much again and
# nearly twice as much.
LEAD_SECONDS = 1.0
RATE_SECONDS = 0.5

# Of what a guest needs, much can be zeros, which are not sent: 45 % were in
# the benchmark's guests.
LEAST_NEEDED_SHARE = 0.5

# How far the least resident size of a plan can be off: what QEMU has for
# itself, and the free pages a kernel keeps back, differ (63 MiB measured).
NEAR_KIB = 128 * 1024

# Where discarding is inhibited the resident size does not fall at all; where
# it works it falls one to one, less what the guest touches meanwhile. How much
# of the guest is resident is known less what QEMU has for itself, which counts
# as the guest's: 255 MiB were measured instead of QEMU_OWN_KIB, emulated and
# with a whole Debian in it.
LEAST_FALL_SHARE = 0.1
LEAST_FALL_JUDGED_KIB = 256 * 1024


# By how much of what it releases the resident size falls, at least, for a
# release that was only tried to go on.
TRIAL_FALL_SHARE = 0.5

# What is more than a container at its own limit, or a kernel that tidies up:
# 8 KiB were seen with 3 GiB free.
SWAP_KIB_PER_SECOND = 1024
SWAP_SECONDS = 1.0

# The same rate the other way: each waits for a page of 4 KiB at least.
MAJOR_FAULTS_PER_SECOND = SWAP_KIB_PER_SECOND / 4

# Of the page cache that a guest was to do without, it has needed so much.
MOST_REREAD_SHARE = 0.25

# Less page cache than this is too little to judge by what is read again of it.
LEAST_CACHE_KIB = 256 * 1024

# A guest that reports each second, and has not for so long, cannot be watched:
# its driver has failed, or it has no time for it. One that the host or
# auto-converge starves is some seconds late.
SILENT_SECONDS = 10.0

# With so many times its headroom a guest that swaps out does not do it for
# want of memory.
PLENTY = 2


def end_reason(
    seen: Sequence[Observation],
    plan: Plan,
    phase: Phase,
    request: Request | None,
    deadline_passed: bool,
    sending: Sending | None = None,
    may_stall: bool = False,
    first: Observation | None = None,
) -> EndReason | None:
    """Decide whether a release goes on.

    :param seen: all observations, oldest first; one at least
    :param plan: what is to be released
    :param phase: whether the transfer waits for it
    :param request: what is asked of it, if anything
    :param deadline_passed: whether the time is up
    :param sending: the transfer as it is now, None where that is not known
    :param may_stall: whether a guest that gives up little has not given up all
                      it has: auto-converge slows it down, or it is not moved
                      yet
    :param first: the guest as the release began, None where that was seen
                  first
    :returns: why it ends, or None where it goes on
    """
    first = first or seen[0]
    if request is Request.ABORT:
        return EndReason.ABORTED
    if request is Request.SHUTDOWN:
        return EndReason.SHUTDOWN
    restores = restoring_reason(seen, plan)
    if restores is not None:
        return restores
    if request is Request.POST_COPY:
        return EndReason.POST_COPY
    if seen[-1].actual_kib < plan.target_kib - TOLERANCE_KIB:
        return EndReason.NOT_OURS
    end = _end_that_keeps(seen, plan, request, deadline_passed, may_stall)
    if (
        end is None
        and phase is Phase.BEFORE_TRANSFER
        and plan.mode is Mode.AUTO
        and _transfer_had_better_start(seen, plan, first)
    ):
        end = EndReason.NEARLY_DONE
    if (
        end is None
        and sending is not None
        and plan.goes_on_if_it_pays
        and not _still_pays(seen, plan, sending, first)
    ):
        end = EndReason.NOT_WORTHWHILE
    if end is not None and _has_no_effect(first, seen[-1], plan):
        return EndReason.NO_EFFECT
    return end


def end_of_hold(seen: Sequence[Observation], plan: Plan) -> EndReason | None:
    """Find that the guest, which is sent, is to have all its memory at once.

    What it does not touch until it has been sent is not sent.

    :param seen: all observations, oldest first; one at least
    :param plan: what is released
    :returns: why, None where it can do without
    """
    reason = restoring_reason(seen, plan)
    if reason is None and _reads_again(seen, plan):
        return EndReason.READS_AGAIN
    return reason


def restoring_reason(
    seen: Sequence[Observation], plan: Plan
) -> EndReason | None:
    """Find that the guest is to have all its memory at once.

    :param seen: all observations, oldest first; one at least
    :param plan: what is released
    :returns: why, None where it can do without
    """
    if under_pressure(seen, plan):
        return EndReason.PRESSURE
    if _killed(seen):
        return EndReason.KILLED
    if grew(seen, plan):
        return EndReason.GREW
    if _silent(seen):
        return EndReason.SILENT
    return None


def under_pressure(seen: Sequence[Observation], plan: Plan) -> bool:
    """Return whether the guest needs what was released.

    :param seen: all observations, oldest first; one at least
    :param plan: what is released
    :returns: whether it has less available than its headroom; swaps out, or
              has killed a process, and has not plenty; or grows by itself and
              does not report what it has
    """
    available_kib = _available_kib(seen, plan)
    if available_kib is not None and available_kib < plan.headroom_kib:
        return True
    if available_kib is None:
        return _swaps_out(seen) or _killed(seen) or grew(seen, plan)
    return available_kib < PLENTY * plan.headroom_kib and (
        _swaps_out(seen) or _killed(seen)
    )


def grew(seen: Sequence[Observation], plan: Plan) -> bool:
    """Return whether the guest's balloon gave memory back by itself.

    It does where the guest is out of memory ('autodeflate'). From Linux 4.19
    until 5.6 the kernel took from it before it dropped page cache
    (virtio_balloon_register_shrinker() in drivers/virtio/virtio_balloon.c),
    with plenty available. Or somebody else has set another target.

    :param seen: all observations, oldest first; one at least
    :param plan: what is released
    :returns: whether it did
    """
    smallest_kib = max(plan.target_kib, min(one.actual_kib for one in seen))
    return seen[-1].actual_kib > smallest_kib + TOLERANCE_KIB


def last_report(seen: Sequence[Observation]) -> list[Observation]:
    """Return the observation that showed first what the guest last reported.

    :param seen: all observations, oldest first
    :returns: that one, or none where there are none
    """
    reported = list(seen[-1:])
    for one in reversed(seen):
        if (one.available_kib, one.free_kib) != (
            seen[-1].available_kib,
            seen[-1].free_kib,
        ):
            break
        reported = [one]
    return reported


def _available_kib(seen: Sequence[Observation], plan: Plan) -> int | None:
    """Return what is left of what the guest reported as available.

    What it reported may be a statistics period old, or stale; what it has
    given up since is known. Where it does not report what is available, or
    something else by that name, what is free counts.
    """
    last = seen[-1]
    reported_kib = last.available_kib
    if reported_kib is None or plan.watches_free:
        reported_kib = last.free_kib
    if reported_kib is None:
        return None
    (reported,) = last_report(seen)
    return reported_kib - max(0, reported.actual_kib - last.actual_kib)


def _killed(seen: Sequence[Observation]) -> bool:
    """Return whether its kernel has killed since it was first observed.

    A container at its own limit counts as well (``count_vm_event(OOM_KILL)``
    in mm/oom_kill.c), and so does a NUMA node.
    """
    kills = [one.oom_kills for one in seen if one.oom_kills is not None]
    return bool(kills) and kills[-1] > kills[0]


def _silent(seen: Sequence[Observation]) -> bool:
    """Return whether the guest, which reports each second, has stopped to."""
    last = seen[-1]
    return (
        last.last_update_seconds is not None
        and last.reported_at_seconds is not None
        and last.at_seconds - last.reported_at_seconds >= SILENT_SECONDS
    )


def _reads_again(seen: Sequence[Observation], plan: Plan) -> bool:
    """Return whether the guest misses what it was to do without.

    It reads much of its page cache again, or has little available and waits
    for its disks. A program that starts waits for them in any guest, and so
    does a container at a limit of its own.
    """
    reread_kib = seen[-1].reread_kib
    if (
        reread_kib is not None
        and plan.cache_kib >= LEAST_CACHE_KIB
        and reread_kib >= MOST_REREAD_SHARE * plan.cache_kib
    ):
        return True
    available_kib = _available_kib(seen, plan)
    return (
        available_kib is not None
        and available_kib < PLENTY * plan.headroom_kib
        and _grows_by(
            seen, lambda one: one.major_faults, MAJOR_FAULTS_PER_SECOND
        )
    )


def _swaps_out(seen: Sequence[Observation]) -> bool:
    """Return whether the guest swaps out at a rate that counts."""
    return _grows_by(
        seen, lambda one: one.swapped_out_kib, SWAP_KIB_PER_SECOND
    )


def _grows_by(
    seen: Sequence[Observation],
    figure: Callable[[Observation], int | None],
    per_second: float,
) -> bool:
    earlier = _before(seen, SWAP_SECONDS)
    if earlier is None:
        return False
    now, then = figure(seen[-1]), figure(earlier)
    if now is None or then is None:
        return False
    return now - then >= per_second * (
        seen[-1].at_seconds - earlier.at_seconds
    )


def _end_that_keeps(
    seen: Sequence[Observation],
    plan: Plan,
    request: Request | None,
    deadline_passed: bool,
    may_stall: bool,
) -> EndReason | None:
    if seen[-1].actual_kib <= plan.target_kib + TOLERANCE_KIB:
        return EndReason.TARGET_REACHED
    if _nothing_resident_left(seen, plan):
        return EndReason.RESIDENT_RELEASED
    if request is Request.TRANSFER_ENDED:
        return EndReason.TRANSFER_ENDED
    if request is Request.FORCE_COMPLETE:
        return EndReason.FORCE_COMPLETE
    if deadline_passed:
        return EndReason.DEADLINE
    if _swaps_out(seen):
        return EndReason.SWAPS_OUT
    if _reads_again(seen, plan):
        return EndReason.READS_AGAIN
    if not may_stall and _stalled(seen):
        return EndReason.NO_PROGRESS
    return None


def _before(seen: Sequence[Observation], seconds: float) -> Observation | None:
    """Find the latest observation that is so much older than the last."""
    return next(
        (
            one
            for one in reversed(seen)
            if seen[-1].at_seconds - one.at_seconds >= seconds
        ),
        None,
    )


def _stalled(seen: Sequence[Observation]) -> bool:
    earlier = _before(seen, WINDOW_SECONDS)
    return (
        earlier is not None
        and earlier.actual_kib - seen[-1].actual_kib < STALL_KIB
    )


def _nothing_resident_left(seen: Sequence[Observation], plan: Plan) -> bool:
    """Return whether what is still released is not the host's.

    The least resident size is an estimate; that the size falls no more is
    seen.
    """
    last = seen[-1]
    earlier = _before(seen, RATE_SECONDS)
    if earlier is None or last.rss_kib > plan.least_rss_kib + NEAR_KIB:
        return False
    released_kib = earlier.actual_kib - last.actual_kib
    fell_kib = earlier.rss_kib - last.rss_kib
    return (
        released_kib >= STALL_KIB
        and fell_kib < LEAST_FALL_SHARE * released_kib
    )


def _transfer_had_better_start(
    seen: Sequence[Observation], plan: Plan, first: Observation
) -> bool:
    """Return whether the transfer, which waits, had better start.

    By the rate at which this guest gives up memory, it waits until the end of
    the release is near, or not at all where the guest is so slow that the
    path had better help.
    """
    last = seen[-1]
    earlier = _before(seen, RATE_SECONDS)
    if earlier is None:
        return False
    rate_kib_per_second = (earlier.actual_kib - last.actual_kib) / (
        last.at_seconds - earlier.at_seconds
    )
    rest_kib = last.actual_kib - plan.target_kib
    left_kib = max(0, min(rest_kib, last.rss_kib - plan.least_rss_kib))
    if left_kib <= rate_kib_per_second * LEAD_SECONDS:
        return True
    if rate_kib_per_second <= 0:
        return False  # It is not helped by that.
    # Page cache comes last, and slower, unless the guest has dropped it.
    cache_kib = 0
    if first.actual_kib - last.actual_kib < plan.free_kib:
        cache_kib = min(
            left_kib, plan.release_kib - plan.free_kib - plan.cold_kib
        )
    release_seconds = (
        left_kib
        + _nonresident_share(seen, plan) * (rest_kib - left_kib)
        + max(0, cache_kib)
        * (
            plan.rate.inflate_kib_per_second / plan.rate.reclaim_kib_per_second
            - 1
        )
    ) / rate_kib_per_second
    return all(
        forecast.transfer_now_is_better(
            left_kib,
            plan.needed_kib * share,
            left_kib / release_seconds,
            plan.bandwidth,
            plan.rate,
            plan.deadline_seconds - (last.at_seconds - first.at_seconds),
        )
        for share in (1.0, LEAST_NEEDED_SHARE)
    )


def _still_pays(
    seen: Sequence[Observation],
    plan: Plan,
    sending: Sending,
    first: Observation,
) -> bool:
    """Return whether the rest of a release shortens the transfer.

    What nonresident memory the guest gives up first, it gives up at the rate
    that is seen. Where that is most of it, what was only tried ends: it is not
    to cost more. Of too little it is not seen what it was, and that costs
    nothing.
    """
    last = seen[-1]
    released_kib = first.actual_kib - last.actual_kib
    if released_kib < release_rate.LEAST_RELEASED_KIB:
        return True
    if (
        plan.is_trial
        and last.at_seconds - first.at_seconds >= forecast.TRIAL_SECONDS
        and first.rss_kib - last.rss_kib < TRIAL_FALL_SHARE * released_kib
    ):
        return False
    earlier = _before(seen, RATE_SECONDS)
    resident_kib = last.rss_kib - QEMU_OWN_KIB
    if earlier is None or resident_kib <= 0:
        return True
    rate_kib_per_second = (earlier.actual_kib - last.actual_kib) / (
        last.at_seconds - earlier.at_seconds
    )
    if rate_kib_per_second <= 0:
        return True  # it may yet begin
    # What it has dropped, and reported free, before it was moved as well.
    nonresident_kib = _nonresident_share(seen, plan) * (
        plan.nonresident_kib
        + max(0, first.rss_kib - seen[0].rss_kib)
        - released_kib
    )
    return forecast.release_still_pays(
        sending,
        resident_kib,
        max(0, nonresident_kib),
        rate_kib_per_second,
        plan.rate.look_kib_per_second,
    )


def _nonresident_share(seen: Sequence[Observation], plan: Plan) -> float:
    """Return what share of nonresident memory the guest gives up first.

    It shows soon; until then, what is expected of it.
    """
    shown = release_rate.nonresident_share(
        seen[0].actual_kib - seen[-1].actual_kib,
        seen[0].rss_kib - seen[-1].rss_kib,
        plan.guest_free_kib,
        plan.nonresident_kib,
    )
    return plan.rate.nonresident_share if shown is None else shown


def _has_no_effect(first: Observation, last: Observation, plan: Plan) -> bool:
    expected_kib = plan.expected_fall_kib(first.actual_kib - last.actual_kib)
    if expected_kib < LEAST_FALL_JUDGED_KIB:
        return False
    return first.rss_kib - last.rss_kib < LEAST_FALL_SHARE * expected_kib
