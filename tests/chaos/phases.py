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

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
import types

# A balloon that is off by less is where it is to be; one that has not moved
# for so long has come to rest.
_NOISE_KIB = 1024
_STILL_SECONDS = 0.25

# Statistics are as old as their period at most: told again before it has
# passed, somebody has asked.
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

    @property
    def word(self) -> str:
        """What it is called on a command line and in a file."""
        return self.name.lower().replace('_', '-')


#: Those that faults are met in.
PHASES = tuple(phase for phase in Phase if phase is not Phase.OVER)

BY_WORD: Mapping[str, Phase] = types.MappingProxyType(
    {phase.word: phase for phase in PHASES}
)


class State(enum.Enum):
    """What a host has of a guest."""

    UNKNOWN = 'unknown'
    AWAY = 'away'
    OFF = 'off'
    ARRIVING = 'arriving'
    RUNNING = 'running'
    PAUSED = 'paused'
    SWITCHING = 'switching'
    POST_COPY = 'post-copy'


@dataclasses.dataclass(frozen=True)
class Look:
    """What was last seen of a guest on one host; None: no answer.

    :param journal_entry: whether there is a journal entry.
    :param balloon_kib: the memory its balloon leaves it.
    :param still_seconds: for how long the balloon has not moved.
    :param stats_updated_at: when its balloon statistics were last updated,
        seconds since the epoch.
    :param definition_kib: the memory it would have at its next start.
    :param sent: whether some of it is on its way to the other host.
    """

    state: State = State.UNKNOWN
    journal_entry: bool | None = None
    balloon_kib: int | None = None
    still_seconds: float = 0.0
    stats_updated_at: int | None = None
    definition_kib: int | None = None
    sent: bool = False


@dataclasses.dataclass(frozen=True)
class View:
    """Both hosts at one moment."""

    source: Look
    destination: Look


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
    if Phase.POST_COPY in (
        _post_copy(view.source),
        _post_copy(view.destination),
    ):
        return Phase.POST_COPY
    if view.destination.state is State.RUNNING:
        return _after_landing(view.destination, before)
    source = view.source
    if source.state in (State.SWITCHING, State.AWAY, State.OFF):
        return Phase.SWITCH_OVER
    if source.sent:
        return Phase.TRANSFER
    return _before_transfer(source, before)


def _post_copy(look: Look) -> Phase | None:
    return Phase.POST_COPY if look.state is State.POST_COPY else None


def _after_landing(look: Look, before: Before) -> Phase:
    if look.journal_entry is False:
        return Phase.OVER
    if look.balloon_kib is None or look.journal_entry is None:
        return Phase.LANDED
    if look.balloon_kib >= before.original_kib:
        return Phase.RESTORED
    is_still = look.still_seconds >= _STILL_SECONDS
    return Phase.LANDED if is_still else Phase.RESTORING


def _before_transfer(look: Look, before: Before) -> Phase:
    if look.journal_entry:
        missing_kib = before.original_kib - (look.balloon_kib or 0)
        if missing_kib < _NOISE_KIB:
            return Phase.JOURNALED
        is_still = look.still_seconds >= _STILL_SECONDS
        return Phase.RELEASED if is_still else Phase.RELEASING
    stats_updated_at = look.stats_updated_at or before.stats_updated_at
    asked = (
        before.stats_updated_at
        < stats_updated_at
        < before.stats_updated_at + _PERIOD_SECONDS - 1
    )
    return Phase.ACQUIRING if asked else Phase.BEFORE


def is_whole(view: View, original_kib: int) -> bool:
    """Tell whether a guest runs on one host, with all its memory."""
    both = (view.source, view.destination)
    alive = [one for one in both if one.state is State.RUNNING]
    if len(alive) != 1:
        return False
    (look,) = alive
    return (
        look.journal_entry is False
        and look.balloon_kib == original_kib
        and look.definition_kib == original_kib
    )


def is_gone(view: View) -> bool:
    """Tell whether neither host has anything of a guest."""
    both = {view.source.state, view.destination.state}
    return both == {State.AWAY}


def since(seen: Iterable[tuple[float, bool]]) -> float | None:
    """Find since when something has been true, to the end.

    :param seen: moments and whether it was true then, oldest first.
    :returns: the first moment of the last unbroken time; None where it is
        not true in the end.
    """
    start: float | None = None
    for at_seconds, is_true in seen:
        if not is_true:
            start = None
        elif start is None:
            start = at_seconds
    return start
