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


"""Services are killed or restarted."""

from tests.chaos.faults import base
from tests.chaos.faults import emulators
from tests.chaos.stage import Stage
from tests.lab import layout
from tests.lab import libvirtd
from tests.lab import processes
from tests.lab.services import broker
from tests.lab.services import placement
from tests.lab.services import service
from tests.lab.services import settings

_END_SECONDS = 45

# As systemd gives a service by default.
_STOP_SECONDS = 90


class ComputeKilled(base.Fault):
    """nova-compute is killed, as by the kernel when memory is short.

    :param sides: ``source``, ``destination``, or both.
    """

    def __init__(self, *sides: str) -> None:
        super().__init__()
        self._sides = sides

    def inject(self, stage: Stage) -> None:
        """Kill nova-compute and the processes it has started."""
        for side in self._sides:
            processes.kill(stage.compute(side).daemon.pid_file)

    def recover(self, stage: Stage) -> None:
        """Start it again."""
        stage.start_computes()


class ComputeStopped(base.Fault):
    """nova-compute is stopped by SIGTERM, as for an upgrade.

    :param side: ``source`` or ``destination``.
    """

    def __init__(self, side: str) -> None:
        super().__init__()
        self._side = side

    def inject(self, stage: Stage) -> None:
        """Send SIGTERM, and do not wait."""
        stage.compute(self._side).terminate()

    def recover(self, stage: Stage) -> None:
        """Start it again once it has ended; kill it if it takes too long."""
        stopped = stage.compute(self._side)
        try:
            stopped.wait_ended(_STOP_SECONDS)
        except TimeoutError:
            self.remarks.append(f'nova-compute did not end, {self._side}')
        processes.kill(stopped.daemon.pid_file)
        stage.start_computes()


class LibvirtdRestarted(base.Fault):
    """libvirtd is killed and started, as by an upgrade that fails.

    :param side: ``source`` or ``destination``.
    """

    def __init__(self, side: str) -> None:
        super().__init__()
        self._side = side

    def inject(self, stage: Stage) -> None:
        """Kill libvirtd, and start it again."""
        host = stage.host(self._side)
        daemon = libvirtd.daemon(host.layout, host.prefix)
        processes.kill(daemon.pid_file)
        daemon.start()

    def recover(self, stage: Stage) -> None:
        """Restart nova-compute on the host, as deployment tools do.

        A guest that was lost in post-copy is started again.
        """
        processes.kill(stage.compute(self._side).daemon.pid_file)
        stage.start_computes()
        emulators.revive(stage)


class LibvirtdAlone(LibvirtdRestarted):
    """libvirtd is killed and started; nova-compute is not restarted.

    With native threads, as in Nova 34, nova-compute waits for itself for ever
    if libvirtd ends while it deals with an event of a guest: the thread has
    the lock of the connection, asks libvirt whether that is alive, and is
    told then and there that it has been closed, which takes the same lock.
    """

    def recover(self, stage: Stage) -> None:
        """Start a guest that was lost in post-copy again.

        nova-compute is restarted after all if it hangs.
        """
        emulators.revive(stage)
        for other in stage.others:
            stage.wait_idle(_END_SECONDS, other.server)
        everyone = [stage.server, *(one.server for one in stage.others)]
        if not all(map(stage.is_idle, everyone)):
            self.remarks.append(f'nova-compute hung, {self._side}')
            super().recover(stage)


class BrokerRestarted(base.Fault):
    """RabbitMQ is killed, and started again."""

    def inject(self, stage: Stage) -> None:
        """Kill RabbitMQ."""
        processes.kill(_broker().pid_file)

    def recover(self, stage: Stage) -> None:
        """Start it; wait until both nova-computes are up again."""
        broker.bring_up(settings.Settings(layout.LAB))
        stage.start_computes()


class BrokerStalled(base.Fault):
    """RabbitMQ's connections stay open, and it does not answer."""

    def inject(self, stage: Stage) -> None:
        """Stop its processes."""
        processes.suspend(_broker().pid_file)

    def recover(self, stage: Stage) -> None:
        """Have them go on; wait until both nova-computes are up again."""
        processes.resume(_broker().pid_file)
        stage.start_computes()


def _broker() -> processes.Daemon:
    _, rabbit = broker.daemons(settings.Settings(layout.LAB))
    return rabbit


class PlacementDown(base.Fault):
    """The API of Placement is killed, and started later."""

    def inject(self, stage: Stage) -> None:
        """Kill it."""
        for daemon in self._service().daemons:
            processes.kill(daemon.pid_file)

    def recover(self, stage: Stage) -> None:
        """Start it again."""
        service.start(self._service())

    @staticmethod
    def _service() -> service.Service:
        return placement.describe(settings.Settings(layout.LAB))
