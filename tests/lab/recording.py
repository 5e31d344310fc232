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

"""What was seen of a migration, and when its phases began; pure.

Found from what happened to the guest, whoever made it happen: the same
function reads a migration with the plugin and one without.
"""

from collections.abc import Iterator
import dataclasses

# A balloon that moves by less has not been asked to.
_NOISE_KIB = 1024


@dataclasses.dataclass(frozen=True)
class Sample:
    """One look at a guest on one host; None where there is no answer.

    :param at_seconds: when, by the monotonic clock.
    :param sent_bytes: what the host has sent over the link so far.
    :param running: whether the guest runs on this host.
    :param balloon_kib: the memory its balloon leaves it.
    :param rss_kib: the resident size of its QEMU process.
    :param job_seconds: the age of its migration, at the source.
    """

    at_seconds: float
    sent_bytes: int
    running: bool = False
    balloon_kib: int | None = None
    rss_kib: int | None = None
    job_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Recording:
    """What was seen of one migration, oldest first."""

    source: tuple[Sample, ...]
    destination: tuple[Sample, ...]


@dataclasses.dataclass(frozen=True)
class Phases:
    """The moments of one migration, by the recording's clock.

    Each is right to within one interval of the recorder, and on the late
    side; where the transfer started is exact, since libvirt tells its age.

    :param release_started: the balloon began to take memory; None where it
        never did.
    :param release_ended: it had taken all it took.
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
        """How long the balloon took memory: 0 where it took none."""
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

        0 where nothing had been taken.
        """
        if self.release_started is None:
            return 0.0
        return None if self.restored is None else self.restored - self.landed


def find(recording: Recording, original_kib: int) -> Phases | None:
    """Find the phases of a migration.

    :param recording: what was seen, up to now.
    :param original_kib: the memory the guest had before.
    :returns: the phases, or None where the guest has not landed yet.
    """
    landed = next(
        (seen.at_seconds for seen in recording.destination if seen.running),
        None,
    )
    transfer_started = next(_job_starts(recording.source), None)
    if landed is None or transfer_started is None:
        return None
    release_started, release_ended = _release(recording.source, original_kib)
    return Phases(
        release_started=release_started,
        release_ended=release_ended,
        transfer_started=transfer_started,
        landed=landed,
        restored=next(
            (
                seen.at_seconds
                for seen in recording.destination
                if seen.balloon_kib is not None
                and seen.balloon_kib >= original_kib
            ),
            None,
        ),
    )


def sent_bytes(recording: Recording) -> int:
    """Tell what the source sent over the link while it was watched."""
    return recording.source[-1].sent_bytes - recording.source[0].sent_bytes


def _job_starts(samples: tuple[Sample, ...]) -> Iterator[float]:
    for seen in samples:
        if seen.job_seconds is not None:
            yield seen.at_seconds - seen.job_seconds


def _release(
    samples: tuple[Sample, ...], original_kib: int
) -> tuple[float | None, float | None]:
    """Find when the balloon began to take memory and when it had it."""
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
