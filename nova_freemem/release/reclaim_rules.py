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

"""How much page cache a guest drops next, and when its balloon begins: pure.

A balloon takes free memory faster than page cache, which the guest's kernel
has to reclaim for it, a few pages at a time. The kernel reclaims it faster in
one go. So the guest drops what is cold first, and the balloon begins a moment
later: when all of it is dropped, or so much that the balloon is busy for some
seconds. Beside a balloon both are slower.
"""

from __future__ import annotations

from nova_freemem.plan.planner import Plan

# Less is as soon taken by the balloon alone: it would gain 0.25 s, of which
# the agent takes a part.
LEAST_KIB = 256 * 1024

# A portion is what the guest is expected to drop in so long: its agent answers
# nothing else meanwhile, and a release that is stopped stops after it. The
# first one is small, and so is the last, less than which is not asked for; and
# each is at most so many times what has been dropped.
PORTION_SECONDS = 0.25
FIRST_PORTION_KIB = 64 * 1024
LARGEST_PORTION_KIB = 1024 * 1024
GROWTH_TIMES = 3

# The kernel goes through its list in steps, each as long as all before it
# (the priorities of do_try_to_free_pages() in mm/vmscan.c), and ends with the
# step that has made up what it was asked for. Linux 6.1 dropped 1.2 to 1.9
# times as much as that.
MOST_TIMES = 2

# One that takes so many times as long as it was expected to is late.
LATE_TIMES = 2

# How much of what is free the balloon has not taken: what it takes in so long.
# Should the release end early, no more than that was dropped for nothing. 3
# GiB, emulated: more than is worth waiting for.
AHEAD_SECONDS = 5.0

# From then on it can be told how fast a guest drops page cache.
JUDGED_SECONDS = 0.5

# A guest that drops less than this share of what its balloon is expected to
# take is left to the balloon. Machines differ, and so do the hours of one: an
# emulated guest was seen to drop 340 MiB/s whose balloon, expected to reclaim
# 400, reclaimed 175; asked all the same, it took 12.5 s instead of 17.4.
TOO_SLOW_SHARE = 0.25

# Waiting pays where page cache is dropped so many times as fast as a balloon
# takes free memory: dropping D and then inflating I take less than a balloon
# that reclaims at C where D > 1 / (1/C - 1/I), with the first guesses of C and
# I (see release_rate.py).
WAITS_TIMES = 1.6


def pays(plan: Plan) -> bool:
    """Return whether a guest had better drop page cache first.

    :param plan: what is to be released
    """
    return plan.cold_kib >= LEAST_KIB


def portion_kib(
    plan: Plan, dropped_kib: int, dropping_seconds: float, fall_kib: int
) -> int:
    """Decide how much page cache the guest drops next.

    :param plan: what is to be released
    :param dropped_kib: what it has dropped so far
    :param dropping_seconds: how long it took, waiting not included
    :param fall_kib: by how much its resident size has fallen since
    :returns: KiB to ask for, which is half of what it may be; 0 for none
              until the balloon has caught up
    """
    expected_kib = 0.0
    if dropping_seconds > 0:
        expected_kib = dropped_kib / dropping_seconds * PORTION_SECONDS
    portion_kib = min(
        max(FIRST_PORTION_KIB, int(expected_kib)),
        max(FIRST_PORTION_KIB, GROWTH_TIMES * dropped_kib),
        LARGEST_PORTION_KIB,
        plan.cold_kib - dropped_kib,
        _room_kib(plan, dropped_kib, fall_kib),
    )
    return portion_kib // MOST_TIMES if portion_kib >= FIRST_PORTION_KIB else 0


def is_over(plan: Plan, dropped_kib: int, dropping_seconds: float) -> bool:
    """Return whether the guest is asked to drop nothing more.

    :param plan: what is to be released
    :param dropped_kib: what it has dropped so far
    :param dropping_seconds: how long it took, waiting not included
    :returns: whether it has dropped nearly all that is cold, or does so much
              slower than its balloon would
    """
    return plan.cold_kib - dropped_kib < FIRST_PORTION_KIB or (
        dropping_seconds >= JUDGED_SECONDS
        and dropped_kib
        < dropping_seconds * TOO_SLOW_SHARE * plan.rate.reclaim_kib_per_second
    )


def balloon_begins(
    plan: Plan,
    dropped_kib: int,
    dropped_seconds: float,
    since_seconds: float,
    fall_kib: int,
) -> bool:
    """Return whether the balloon begins beside a guest that drops page cache.

    :param plan: what is to be released
    :param dropped_kib: what the guest has dropped so far
    :param dropped_seconds: how long it took, from the beginning
    :param since_seconds: how long ago that was; a portion is under way
    :param fall_kib: by how much its resident size has fallen since
    :returns: whether the balloon has enough to take, or the guest is too slow
              to be waited for
    """
    late_seconds = max(0.0, since_seconds - LATE_TIMES * PORTION_SECONDS)
    seconds = dropped_seconds + late_seconds
    return _room_kib(plan, dropped_kib, fall_kib) < FIRST_PORTION_KIB or (
        seconds >= JUDGED_SECONDS
        and dropped_kib
        < seconds * WAITS_TIMES * plan.rate.inflate_kib_per_second
    )


def _room_kib(plan: Plan, dropped_kib: int, fall_kib: int) -> int:
    """Return how much more may be free, and resident, than is taken."""
    free_kib = max(0, plan.free_kib - plan.nonresident_kib)
    ahead_kib = max(0, free_kib + dropped_kib - fall_kib)
    return int(plan.rate.inflate_kib_per_second * AHEAD_SECONDS) - ahead_kib
