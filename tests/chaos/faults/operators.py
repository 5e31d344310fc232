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


"""What people do meanwhile, through Nova's API or on a host."""

import contextlib
import json

import libvirt
import libvirt_qemu
from openstack.compute.v2 import server_migration

from tests.chaos import arguments
from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import steps

_GONE_SECONDS = 60
_RESUMED_SECONDS = 30
_PAUSED = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER]
_MIB = 1 << 20


class Paused(base.Fault):
    """Somebody on the host pauses the guest: Nova would refuse to."""

    def inject(self, stage: Stage) -> None:
        """Pause it where it runs."""
        stage.here().suspend()

    def recover(self, stage: Stage) -> None:
        """Resume it on the host that it is on by now."""
        with contextlib.suppress(TimeoutError):
            steps.wait_for(
                lambda: any(map(_runs, stage.domains(stage.server.id))),
                'the guest',
                _RESUMED_SECONDS,
            )


def _runs(domain: libvirt.virDomain) -> bool:
    """Resume a guest that somebody has paused.

    :returns: whether it ran already.
    """
    try:
        if domain.state() == _PAUSED:
            domain.resume()
        return bool(domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING)
    except libvirt.libvirtError:
        return False


class Deleted(base.Fault):
    """The owner deletes the server."""

    def inject(self, stage: Stage) -> None:
        """Delete it."""
        with base.refusable():
            stage.cloud.api.compute.delete_server(stage.server.id)

    def recover(self, stage: Stage) -> None:
        """Wait until it is deleted."""
        with contextlib.suppress(TimeoutError):
            steps.wait_for(
                lambda: not stage.cloud.servers(),
                'the deletion of the server',
                _GONE_SECONDS,
                0.5,
            )


class Aborted(base.Fault):
    """``openstack server migration abort``."""

    def inject(self, stage: Stage) -> None:
        """Abort the migration."""
        with base.refusable():
            for running in _migrations(stage):
                stage.cloud.api.compute.abort_server_migration(
                    running.id, stage.server.id, ignore_missing=False
                )


class Forced(base.Fault):
    """``openstack server migration force complete``."""

    def inject(self, stage: Stage) -> None:
        """Force the migration to complete."""
        with base.refusable():
            for running in _migrations(stage):
                stage.cloud.api.compute.force_complete_server_migration(
                    running.id, stage.server.id
                )


class BalloonMoved(base.Fault):
    """Another program on the host resizes the balloon."""

    def inject(self, stage: Stage) -> None:
        """Set another target in QEMU's monitor: a call of libvirt waits."""
        target = (arguments.MEMORY_MIB - 64) * _MIB
        command = {'execute': 'balloon', 'arguments': {'value': target}}
        libvirt_qemu.qemuMonitorCommand(stage.here(), json.dumps(command), 0)


def _migrations(
    stage: Stage,
) -> list[server_migration.ServerMigration]:
    found = list(stage.cloud.api.compute.server_migrations(stage.server.id))
    if not found:
        raise base.Refusal('Nova has no migration in progress')
    return found
