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

"""What was seen of a migrating guest on both hosts, and what it tells; pure.

The standard library alone, as :mod:`tests.chaos.phases` needs it.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import enum

# A balloon that moves by less has not been asked to.
_NOISE_KIB = 1024


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
class Sample:
    """One look at a guest on one host; None: not looked for, or no answer.

    :param at_seconds: when, by the monotonic clock.
    :param state: what the host has of it.
    :param sent_bytes: what the host has sent over the link so far.
    :param balloon_kib: the memory its balloon leaves it.
    :param still_seconds: for how long the balloon has not moved; known
        from several looks together only.
    :param rss_kib: the resident size of its QEMU process.
    :param stats_updated_at: when its balloon statistics were last updated,
        seconds since the epoch.
    :param job_seconds: the age of its migration, at the source.
    :param job_bytes: how much of it that has sent.
    :param disks_left_bytes: what of its disks that has not copied yet.
    :param journal_entry: whether there is a journal entry.
    :param definition_kib: the memory it would have at its next start.
    """

    at_seconds: float = 0.0
    state: State | None = None
    sent_bytes: int | None = None
    balloon_kib: int | None = None
    still_seconds: float | None = None
    rss_kib: int | None = None
    stats_updated_at: int | None = None
    job_seconds: float | None = None
    job_bytes: int | None = None
    disks_left_bytes: int | None = None
    journal_entry: bool | None = None
    definition_kib: int | None = None


class History:
    """What was seen of a guest on one host, one look after the other.

    :ivar samples: each look, oldest first.
    :ivar latest: the newest answer to each question.
    """

    def __init__(self) -> None:
        """Initialize the history of a guest that nobody has looked at."""
        self.samples: list[Sample] = []
        self.latest = Sample(state=State.UNKNOWN)
        self._moved_at = 0.0

    def add(self, seen: Sample) -> None:
        """Add a look; one that finds the guest gone ends what was known."""
        self.samples.append(seen)
        if seen.state is State.AWAY:
            self.latest = seen
            return
        known_kib = self.latest.balloon_kib
        answers = {
            name: value
            for name, value in vars(seen).items()
            if value is not None
        }
        if seen.balloon_kib is not None:
            if known_kib not in (None, seen.balloon_kib):
                self._moved_at = seen.at_seconds
            answers['still_seconds'] = seen.at_seconds - self._moved_at
        self.latest = dataclasses.replace(self.latest, **answers)


@dataclasses.dataclass(frozen=True)
class View:
    """Both hosts at one moment: the latest of each."""

    source: Sample
    destination: Sample


class Since:
    """Since when something has been true of a guest, without a break.

    :param holds: tells whether it is.
    :ivar seconds: the moment it became true; None while it is not.
    """

    def __init__(self, holds: Callable[[View], bool]) -> None:
        """Initialize with nothing seen yet."""
        self._holds = holds
        self.seconds: float | None = None

    def see(self, view: View, at_seconds: float) -> None:
        """Take account of what is seen now."""
        if not self._holds(view):
            self.seconds = None
        elif self.seconds is None:
            self.seconds = at_seconds


@dataclasses.dataclass(frozen=True)
class Observation:
    """What was seen of one migration, oldest first."""

    source: tuple[Sample, ...]
    destination: tuple[Sample, ...]

    @property
    def landed(self) -> float | None:
        """When the guest ran at the destination; None: it has not yet."""
        return next(
            (
                seen.at_seconds
                for seen in self.destination
                if seen.state is State.RUNNING
            ),
            None,
        )

    def restored(self, original_kib: int) -> float | None:
        """Find when the guest had all its memory at the destination.

        :param original_kib: the memory it had before.
        :returns: the moment; None where it never had.
        """
        return next(
            (
                seen.at_seconds
                for seen in self.destination
                if seen.balloon_kib is not None
                and seen.balloon_kib >= original_kib
            ),
            None,
        )

    @property
    def sent_bytes(self) -> int:
        """What the source sent over the link while it was observed."""
        counts = [
            seen.sent_bytes
            for seen in self.source
            if seen.sent_bytes is not None
        ]
        return counts[-1] - counts[0]


@dataclasses.dataclass(frozen=True)
class Phases:
    """The moments of one migration, by the monotonic clock.

    Found from what happened to the guest, whoever made it happen: one with
    the plugin and one without are read alike. Each is right to within one
    interval of the observer, and on the late side; where the transfer
    started is exact, since libvirt tells its age.

    :param release_started: the balloon began to release memory; None where
        it never did.
    :param release_ended: it had released all that it released.
    :param transfer_started: libvirt's migration began.
    :param landed: the guest ran at the destination.
    :param restored: it had all its memory there; None where it never did.
    """

    release_started: float | None
    release_ended: float | None
    transfer_started: float
    landed: float
    restored: float | None

    @property
    def started(self) -> float:
        """When the guest noticed first."""
        if self.release_started is None:
            return self.transfer_started
        return min(self.release_started, self.transfer_started)

    @property
    def release_seconds(self) -> float:
        """How long the balloon released memory: 0 where it released none."""
        if self.release_started is None or self.release_ended is None:
            return 0.0
        return self.release_ended - self.release_started

    @property
    def transfer_seconds(self) -> float:
        """How long libvirt's migration lasted."""
        return self.landed - self.transfer_started

    @property
    def total_seconds(self) -> float:
        """From the first sign to the guest running at the destination."""
        return self.landed - self.started

    @property
    def restore_seconds(self) -> float | None:
        """From landing to all its memory; None where it never had it.

        0 where nothing had been released.
        """
        if self.release_started is None:
            return 0.0
        return None if self.restored is None else self.restored - self.landed


def find(observation: Observation, original_kib: int) -> Phases | None:
    """Find the phases of a migration.

    :param observation: what was seen, up to now.
    :param original_kib: the memory the guest had before.
    :returns: the phases, or None where the guest has not landed yet.
    """
    landed = observation.landed
    transfer_started = next(
        (
            seen.at_seconds - seen.job_seconds
            for seen in observation.source
            if seen.job_seconds is not None
        ),
        None,
    )
    if landed is None or transfer_started is None:
        return None
    release_started, release_ended = _release(observation.source, original_kib)
    return Phases(
        release_started=release_started,
        release_ended=release_ended,
        transfer_started=transfer_started,
        landed=landed,
        restored=observation.restored(original_kib),
    )


def _release(
    samples: Sequence[Sample], original_kib: int
) -> tuple[float | None, float | None]:
    """Find when the balloon began to release memory and when it ended."""
    known = [
        (seen.at_seconds, seen.balloon_kib)
        for seen in samples
        if seen.balloon_kib is not None
    ]
    least_kib = min((kib for _, kib in known), default=original_kib)
    if least_kib > original_kib - _NOISE_KIB:
        return None, None
    before = [at for at, kib in known if kib > original_kib - _NOISE_KIB]
    started = max(before, default=known[0][0])
    ended = next(at for at, kib in known if kib <= least_kib + _NOISE_KIB)
    return started, ended
