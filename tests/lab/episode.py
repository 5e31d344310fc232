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

"""One measured migration of a guest: prepare, migrate, examine."""

from collections.abc import Callable
import contextlib
import dataclasses

import libvirt

from tests.lab import cloud as lab_cloud
from tests.lab import comparison
from tests.lab import layout
from tests.lab import nova_record
from tests.lab import recorder as lab_recorder
from tests.lab import recording as recordings
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab import witness

_RESTORE_SECONDS = 60
_ASK_NOVA_SECONDS = 5  # Each question costs the emulated guest something.

Landed = Callable[[], recordings.Phases | None]


@dataclasses.dataclass(frozen=True)
class Episode:
    """A migration, and what is known of it.

    :param run: its figures.
    :param beside: more of them.
    :param wrong: what the guest has lost or what was changed, one sentence
        each.
    """

    run: comparison.Run
    beside: comparison.Beside
    recording: recordings.Recording
    phases: recordings.Phases
    wrong: tuple[str, ...]


def play(
    cloud: lab_cloud.Cloud,
    server: servers.Server,
    dirtied_mib: int,
    scenario: str,
) -> Episode:
    """Let a guest dirty and free memory, migrate it, and examine it.

    :param server: its guest holds memory already.
    :param dirtied_mib: how much memory it writes to, and frees.
    :param scenario: what to call this.
    :raises LabError: it did not get to the other host.
    """
    guest = cloud.guest(server)
    with steps.step(f'dirty {dirtied_mib} MiB of the guest and free them'):
        guest.fill_dirty(dirtied_mib)
        before = witness.question(guest)
        rss_before_kib = guest.rss_kib()
    cpu_seconds = cloud.compute_cpu_seconds()
    recording, phases = _migrate(cloud, server, before.balloon_kib)
    cpu_seconds = cloud.compute_cpu_seconds() - cpu_seconds
    guest = cloud.guest(server)
    job = guest.domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    with steps.step('examine the guest through its agent'):
        after = witness.question(guest)
    changes = witness.changes(before, after)
    return Episode(
        run=comparison.Run(
            scenario=scenario,
            plugin=all(cloud.plugins.values()),
            seconds_release=phases.release_seconds,
            seconds_transfer=phases.transfer_seconds,
            seconds_total=phases.total_seconds,
            seconds_restore=phases.restore_seconds,
            bytes_sent=recordings.sent_bytes(recording),
            downtime_ms=job[libvirt.VIR_DOMAIN_JOB_DOWNTIME],
            rss_before_kib=rss_before_kib,
            balloon_before_kib=before.balloon_kib,
            balloon_after_kib=after.balloon_kib,
            guest_intact=not changes,
        ),
        beside=comparison.Beside(
            nova_seconds=nova_record.seconds(cloud, server),
            job_bytes=job[libvirt.VIR_DOMAIN_JOB_DATA_PROCESSED],
            rss_after_kib=guest.rss_kib(),
            cpu_seconds=cpu_seconds,
        ),
        recording=recording,
        phases=phases,
        wrong=(*changes, *witness.losses(before, after)),
    )


def _migrate(
    cloud: lab_cloud.Cloud, server: servers.Server, original_kib: int
) -> tuple[recordings.Recording, recordings.Phases]:
    """Migrate a guest under watch, until it has all its memory again.

    :returns: what was seen, and what happened when.
    """
    source = cloud.host(server)
    (destination,) = (one for one in room.hosts() if one.name != source.name)
    recorder = lab_recorder.Recorder(server.id, source, destination)

    def landed() -> recordings.Phases | None:
        return recordings.find(recorder.recording(), original_kib)

    def restored() -> recordings.Phases | None:
        phases = landed()
        return phases if phases and phases.restored else None

    command = f'openstack server migrate --live-migration {server.name}'
    log = layout.LAB.log / f'{source.name}-nova-compute.log'
    with steps.step(command, log), recorder:
        started = cloud.begin_migration(server, by_command=True)
        _wait_for_landing(cloud, server, landed)
        migration = cloud.finish_migration(server, started)
        phases = landed()
        if migration.status != 'completed' or phases is None:
            raise RuntimeError(f'it did not leave: {migration.status}')
        with contextlib.suppress(TimeoutError):  # Then it is told as a loss.
            phases = steps.wait_for(restored, 'its memory', _RESTORE_SECONDS)
    return recorder.recording(), phases


def _wait_for_landing(
    cloud: lab_cloud.Cloud, server: servers.Server, landed: Landed
) -> None:
    """Wait on the recording, which costs little; ask Nova now and then."""
    while not landed():
        with contextlib.suppress(TimeoutError):
            steps.wait_for(landed, 'the landing', _ASK_NOVA_SECONDS)
        if not cloud.get(server).task_state:
            return
