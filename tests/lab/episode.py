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

import dataclasses

import libvirt

from tests.lab import cloud as lab_cloud
from tests.lab import comparison
from tests.lab import layout
from tests.lab import observer as observers
from tests.lab import records
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab import witness
from tests.lab.observation import Observation
from tests.lab.observation import Phases
from tests.lab.observation import find

_RESTORE_SECONDS = 60
_ASK_NOVA_SECONDS = 5  # Each question costs the emulated guest something.
# Emulated guests share the machine's processors with whoever looks at them.
_LOOK_SECONDS = 0.25


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
    observation: Observation
    phases: Phases
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
    observation, phases = _migrate(cloud, server, before.balloon_kib)
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
            bytes_sent=observation.sent_bytes,
            downtime_ms=job[libvirt.VIR_DOMAIN_JOB_DOWNTIME],
            rss_before_kib=rss_before_kib,
            balloon_before_kib=before.balloon_kib,
            balloon_after_kib=after.balloon_kib,
            guest_intact=not changes,
        ),
        beside=comparison.Beside(
            nova_seconds=records.migration_seconds(cloud.api, server.id),
            job_bytes=job[libvirt.VIR_DOMAIN_JOB_DATA_PROCESSED],
            rss_after_kib=guest.rss_kib(),
            cpu_seconds=cpu_seconds,
        ),
        observation=observation,
        phases=phases,
        wrong=(*changes, *witness.losses(before, after)),
    )


def _migrate(
    cloud: lab_cloud.Cloud, server: servers.Server, original_kib: int
) -> tuple[Observation, Phases]:
    """Migrate a guest under observation, until it has all its memory again.

    :returns: what was seen, and what happened when.
    """
    source = cloud.host(server)
    (destination,) = (one for one in room.hosts() if one.name != source.name)
    command = f'openstack server migrate --live-migration {server.name}'
    log = layout.LAB.log / f'{source.name}-nova-compute.log'
    observer = observers.Observer(
        server.id,
        {'source': source, 'destination': destination},
        state_seconds=_LOOK_SECONDS,
        memory_seconds=_LOOK_SECONDS,
        counts_link=True,
    )
    with steps.step(command, log), observer:
        started = cloud.begin_migration(server, by_command=True)
        # Wait on what is seen, which costs little; ask Nova now and then.
        while not observer.wait_landed(_ASK_NOVA_SECONDS):
            if not cloud.get(server).task_state:
                break
        migration = cloud.finish_migration(server, started)
        if migration.status != 'completed':
            raise RuntimeError(f'it did not leave: {migration.status}')
        observer.wait_for(  # What is missing after that shows as a loss.
            lambda view: (view.destination.balloon_kib or 0) >= original_kib,
            _RESTORE_SECONDS,
        )
    observation = observer.observation()
    phases = find(observation, original_kib)
    if phases is None:
        raise steps.LabError(command, 'the observer missed it', log)
    return observation, phases
