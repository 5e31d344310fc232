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


"""The phases of a migration, told apart from outside; pure.

The standard library alone: the words of a command are judged with this
before anything is installed.
"""

from collections.abc import Mapping
import dataclasses
import enum
import types

from tests.lab.observation import Sample
from tests.lab.observation import State
from tests.lab.observation import View

# A balloon that is off by less is where it is to be; one that has not moved
# for so long has come to rest.
_NOISE_KIB = 1024
_STILL_SECONDS = 0.25

# Statistics are reported once each period; before it has passed, somebody
# has asked for them.
_PERIOD_SECONDS = 10


class Phase(enum.IntEnum):
    """Where a migration is, in the order of a migration."""

    BEFORE = 0
    ACQUIRING = 1
    JOURNALED = 2
    RELEASING = 3
    RELEASED = 4
    TRANSFER = 5
    POST_COPY = 6
    SWITCH_OVER = 7
    LANDED = 8
    RESTORING = 9
    RESTORED = 10
    OVER = 11
    #: No migration is in progress, and memory is outstanding.
    OUTSIDE = 12

    @property
    def word(self) -> str:
        """What it is called on a command line and in a file."""
        return self.name.lower().replace('_', '-')


#: Those that faults are met in.
PHASES = tuple(phase for phase in Phase if phase is not Phase.OVER)

BY_WORD: Mapping[str, Phase] = types.MappingProxyType(
    {phase.word: phase for phase in PHASES}
)


@dataclasses.dataclass(frozen=True)
class Before:
    """What was known of a guest when its migration was asked for.

    :param original_kib: the memory it had.
    :param stats_updated_at: when its balloon statistics were last updated.
    """

    original_kib: int
    stats_updated_at: int


def now(view: View, before: Before) -> Phase:
    """Tell where a migration is.

    What happened before the migration looks as what happens after it, for a
    guest that stayed: this is about one that is on its way.
    """
    if State.POST_COPY in (view.source.state, view.destination.state):
        return Phase.POST_COPY
    if view.destination.state is State.RUNNING:
        return _after_landing(view.destination, before)
    source = view.source
    if source.state in (State.SWITCHING, State.AWAY, State.OFF):
        return Phase.SWITCH_OVER
    if source.job_bytes:
        return Phase.TRANSFER
    return _before_transfer(source, before)


def _after_landing(seen: Sample, before: Before) -> Phase:
    if seen.journal_entry is False:
        return Phase.OVER
    if seen.balloon_kib is None or seen.journal_entry is None:
        return Phase.LANDED
    if seen.balloon_kib >= before.original_kib:
        return Phase.RESTORED
    return Phase.LANDED if _is_still(seen) else Phase.RESTORING


def _before_transfer(seen: Sample, before: Before) -> Phase:
    if seen.journal_entry:
        missing_kib = before.original_kib - (seen.balloon_kib or 0)
        if missing_kib < _NOISE_KIB:
            return Phase.JOURNALED
        return Phase.RELEASED if _is_still(seen) else Phase.RELEASING
    stats_updated_at = seen.stats_updated_at or before.stats_updated_at
    asked = (
        before.stats_updated_at
        < stats_updated_at
        < before.stats_updated_at + _PERIOD_SECONDS - 1
    )
    return Phase.ACQUIRING if asked else Phase.BEFORE


def _is_still(seen: Sample) -> bool:
    return (seen.still_seconds or 0.0) >= _STILL_SECONDS


def is_whole(view: View, original_kib: int) -> bool:
    """Tell whether a guest runs on one host, with all its memory."""
    both = (view.source, view.destination)
    alive = [one for one in both if one.state is State.RUNNING]
    if len(alive) != 1:
        return False
    (seen,) = alive
    return (
        seen.journal_entry is False
        and seen.balloon_kib == original_kib
        and seen.definition_kib == original_kib
    )


def is_gone(view: View) -> bool:
    """Tell whether neither host has anything of a guest."""
    both = {view.source.state, view.destination.state}
    return both == {State.AWAY}
