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


"""The QEMU of the guest, or of another one, is killed or stopped."""

import contextlib
import pathlib

import libvirt
from openstack import exceptions as sdk_exceptions
import psutil

from tests.chaos.faults import base
from tests.chaos.stage import Stage
from tests.lab import host as lab_host
from tests.lab import namespaces
from tests.lab import steps

_END_SECONDS = 45


class Killed(base.Fault):
    """QEMU is killed, as by the kernel when memory is short.

    :param side: ``source`` or ``destination``.
    """

    def __init__(self, side: str) -> None:
        super().__init__()
        self._side = side

    def inject(self, stage: Stage) -> None:
        """Kill the guest's QEMU on one host."""
        find(stage.host(self._side), stage.server.id).kill()

    def recover(self, stage: Stage) -> None:
        """Start the guest again, unless it runs."""
        revive(stage)


class AnotherStopped(base.Fault):
    """The QEMU of another guest is stopped, as by storage that hangs.

    :param side: ``source`` or ``destination``.
    """

    def __init__(self, side: str) -> None:
        super().__init__()
        self._side = side
        self._stopped: psutil.Process | None = None

    def inject(self, stage: Stage) -> None:
        """Stop the first that is on one host, or on its way there."""
        host = stage.host(self._side)
        for other in stage.others:
            with contextlib.suppress(steps.LabError):
                self._stopped = find(host, other.server.id)
                self._stopped.suspend()
                other.is_stopped = True
                return
        raise steps.LabError('stop QEMU', f'none runs on {host.name}')

    def recover(self, stage: Stage) -> None:
        """Have it go on."""
        if self._stopped is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._stopped.resume()


def find(host: lab_host.Host, uuid: str) -> psutil.Process:
    """Find the process that runs a guest on one host.

    :raises LabError: there is none.
    """
    inside = _network(namespaces.pid_of(host.layout))
    for process in psutil.process_iter(['cmdline']):
        if uuid in (process.info['cmdline'] or []):
            with contextlib.suppress(OSError):
                if _network(process.pid) == inside:
                    return process
    raise steps.LabError('find QEMU', f'none runs on {host.name}')


def _network(pid: int | None) -> pathlib.Path:
    return pathlib.Path(f'/proc/{pid}/ns/net').readlink()


def revive(stage: Stage) -> None:
    """Start a guest that has ended or hangs, as its owner would."""
    stage.wait_idle(_END_SECONDS)
    if any(map(_is_well, stage.domains(stage.server.id))):
        return
    api = stage.cloud.api.compute
    with contextlib.suppress(sdk_exceptions.SDKException):
        api.reset_server_state(stage.server.id, 'active')
        api.reboot_server(stage.server.id, 'HARD')
        stage.wait_answering()


def _is_well(domain: libvirt.virDomain) -> bool:
    number, reason = domain.state()
    return bool(
        number == libvirt.VIR_DOMAIN_RUNNING
        and reason != libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
    )
