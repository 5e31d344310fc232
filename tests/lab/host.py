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

"""A compute host of the lab, without what belongs to OpenStack."""

import dataclasses
import pathlib
import subprocess

import libvirt

from tests.lab import accelerator
from tests.lab import layout
from tests.lab import libvirtd
from tests.lab import namespaces
from tests.lab import network
from tests.lab import processes
from tests.lab import steps


class Host:
    """One of the two hosts."""

    def __init__(self, name: str) -> None:
        """Initialize the host.

        :param name: ``host1`` or ``host2``.
        """
        self.layout = layout.HOSTS[name]
        self.name = name

    def up(self) -> None:
        """Bring the host up with its libvirtd, unless it is up."""
        virt_type = accelerator.virt_type()
        log = layout.LAB.log / f'{self.name}-libvirtd.log'
        with steps.step(f'start {self.name} and its libvirtd', log):
            mounts = dict(libvirtd.prepare(self.layout))
            mounts['/etc/hosts'] = self._host_table()
            if virt_type == 'qemu' and accelerator.KVM_DEVICE.exists():
                mounts[str(accelerator.KVM_DEVICE)] = self._nothing()
            namespaces.hold(self.layout, mounts)
            network.make_bridges()
            network.plug(self.layout)
            libvirtd.daemon(self.layout, self.prefix).start()

    def down(self) -> None:
        """End everything in the host: guests, libvirtd, namespaces."""
        libvirtd_here = libvirtd.daemon(self.layout, [])
        pids = namespaces.pid_of(self.layout), libvirtd_here.pid
        inside_pids = [pid for pid in pids if pid is not None]
        if not inside_pids:
            return
        with steps.step(f'stop {self.name}'):
            # While the host is plugged in, so that the clients of its
            # libvirtd learn of its end: one that waits for an answer, even
            # to its disconnection, waits for ever otherwise.
            namespaces.end(self.layout, inside_pids)
            network.unplug(self.layout)
            libvirtd_here.stop()  # Its pid file is what is left of it.

    @property
    def is_up(self) -> bool:
        """Whether the host's namespaces are there."""
        return namespaces.pid_of(self.layout) is not None

    @property
    def prefix(self) -> list[str]:
        """What to put before a command to run it in the host."""
        return namespaces.enter(self.layout)

    def run(
        self, argv: list[str], check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host; see :func:`namespaces.run`."""
        return namespaces.run(self.layout, *argv, check=check)

    def spawn(self, daemon: processes.Daemon) -> processes.Daemon:
        """Start a long-running process in the host.

        :returns: the daemon as it was started.
        """
        inside = dataclasses.replace(daemon, prefix=self.prefix)
        inside.start()
        return inside

    def libvirt(self) -> libvirt.virConnect:
        """Connect to the host's libvirtd, over the management network."""
        return libvirtd.connect(self.layout)

    def link_bytes(self) -> tuple[int, int]:
        """Read the bytes sent and received over the migration link."""
        return network.link_bytes(self.layout)

    def _host_table(self) -> pathlib.Path:
        """Write /etc/hosts: the lab has no DNS server."""
        lines = ['127.0.0.1 localhost']
        for one in layout.HOSTS.values():
            lines.append(f'{one.control_address} {one.hostname}')
        table = self.layout.folder / 'hosts'
        table.write_text('\n'.join(lines) + '\n')
        return table

    def _nothing(self) -> pathlib.Path:
        nothing = self.layout.folder / 'nothing'
        nothing.touch()
        return nothing
