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

"""nova-compute on one of the hosts, with the plugin or without."""

from collections.abc import Mapping
import contextlib
import datetime
import functools
import os
import pathlib
import signal
import time

from openstack import connection
import psutil

from tests.lab import accelerator
from tests.lab import host as lab_host
from tests.lab import network
from tests.lab import processes
from tests.lab import steps
from tests.lab.services import nova
from tests.lab.services import settings

# What an operator adds to enable the plugin; and what is added as well where
# the network path is slower than its interface.
_DROP_IN = """\
[oslo_messaging_notifications]
driver = freemem
[freemem]
enabled = true
"""
_LINK_LINE = 'migration_bandwidth_mbps = {}\n'
# The same path on every host, since a disk's path goes along with the guest,
# and a folder of the host's own (see tests.lab.libvirtd). Nova inspects a
# kernel that the destination of a block migration fetches as if it were a
# disk, takes it for one with a broken partition table, and refuses it.
_OWN_DISKS = """\
[DEFAULT]
instances_path = /var/lib/libvirt/instances
[workarounds]
disable_deep_image_inspection = true
"""

# After so long without an end SIGTERM is sent again.
_AGAIN_SECONDS = 5

# Each of these uses sudo unless configured otherwise; the lab is root.
_PRIVILEGED_SECTIONS = (
    'nova_sys_admin',
    'vif_plug_ovs_privileged',
    'vif_plug_linux_bridge_privileged',
    'privsep_osbrick',
)


class Compute:
    """A host's nova-compute.

    :ivar environment: variables of its next start, beside the lab's own.
    :ivar arguments: what its next command line has after the lab's own.
    """

    def __init__(self, host: lab_host.Host, state: settings.Settings) -> None:
        """Initialize the nova-compute.

        :param host: where it runs.
        :param state: the cloud it belongs to.
        """
        self.host = host
        self._state = state
        self.environment: dict[str, str] = {}
        self.arguments: list[str] = []
        # Not in the host's folder, which goes with the host: Nova keeps the
        # host's identity here, and refuses a known host without it.
        self._folder = state.folder('nova') / host.name

    @property
    def daemon(self) -> processes.Daemon:
        """Its process, as seen from outside of the host."""
        name = f'{self.host.name}-nova-compute'
        return processes.Daemon(
            name=name,
            argv=[
                settings.program('nova-compute'),
                f'--config-file={self._folder}/nova.conf',
                f'--config-dir={self._drop_in.parent}',
                *self.arguments,
            ],
            log=self._state.log(name),
            env=self.environment,
            # On SIGTERM Nova 34 waits for its libvirt event thread, which
            # sleeps for minutes.
            grace_seconds=2,
        )

    @property
    def _drop_in(self) -> pathlib.Path:
        return self._folder / 'nova.conf.d' / 'freemem.conf'

    @property
    def plugin(self) -> bool:
        """Whether the plugin is enabled on the host."""
        return self._drop_in.exists()

    def set_plugin(self, enabled: bool) -> None:
        """Write or remove the plugin's drop-in; stop it if that changed.

        :param enabled: whether the plugin is enabled at the next start.
        """
        wanted = self._operators_lines() if enabled else None
        found = self._drop_in.read_text() if self.plugin else None
        if wanted == found:
            return
        self.stop()
        if wanted is None:
            self._drop_in.unlink()
        else:
            self._drop_in.parent.mkdir(parents=True, exist_ok=True)
            self._drop_in.write_text(wanted)

    def set_lines(self, name: str, lines: str) -> None:
        """Write or remove a drop-in file; stop it if that changed.

        :param name: of the file, without a suffix.
        :param lines: its content at the next start; empty for no file.
        """
        file = self._drop_in.with_name(f'{name}.conf')
        if lines == (file.read_text() if file.exists() else ''):
            return
        self.stop()
        if lines:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(lines)
        else:
            file.unlink()

    def set_own_disks(self, own: bool) -> None:
        """Choose the folder of the disks of guests that are made from now on.

        :param own: one of the host's own, so that guests migrate with their
            disks; else the one that the hosts share.
        """
        self.set_lines('disks', _OWN_DISKS if own else '')

    def reload(self, name: str, lines: str) -> None:
        """Change a drop-in file while it runs, and have it read its files.

        Nova 34 ends instead, unless it runs on eventlet.

        :param name: of the file, without a suffix.
        :param lines: its content from now on.
        """
        self._drop_in.with_name(f'{name}.conf').write_text(lines)
        pid = self.daemon.pid
        if pid is None:
            raise RuntimeError('nova-compute is not running')
        os.kill(pid, signal.SIGHUP)

    def _operators_lines(self) -> str:
        mbit = network.migration_bandwidth_mbps(self.host.layout)
        # A veth reports a speed of 10 Gbit/s.
        return _DROP_IN + (_LINK_LINE.format(mbit) if mbit else '')

    def start(self, cloud: connection.Connection) -> None:
        """Start it, unless it runs, and wait until it takes requests.

        :raises LabError: it does not.
        """
        if self.daemon.alive and self._is_ready(cloud):
            return
        what = (
            'nova-compute with the plugin' if self.plugin else 'nova-compute'
        )
        with steps.step(f'start {what} on {self.host.name}', self.daemon.log):
            self.launch()
            try:
                steps.wait_for(
                    functools.partial(self._is_ready, cloud),
                    'heartbeat, cell and resource provider',
                    seconds=90,
                    every_seconds=0.5,
                )
            except TimeoutError as late:
                # Nova 34 keeps running with its main thread dead; another
                # up must start it again.
                self.daemon.stop()
                end = steps.last_lines(self.daemon.log, 1, ' ERROR ')
                raise RuntimeError(f'{late}: {end}') from late

    def launch(self) -> None:
        """Start it, and do not wait."""
        self._write_configuration()
        self.host.spawn(self.daemon)

    def stop(self) -> None:
        """End it; the host's guests keep running."""
        if self.daemon.alive:
            with steps.step(f'stop nova-compute on {self.host.name}'):
                self.daemon.stop()

    def terminate(self) -> None:
        """Send it SIGTERM, as a service manager does, and do not wait."""
        pid = self.daemon.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def wait_ended(self, seconds: float) -> None:
        """Wait until it has ended after SIGTERM.

        :raises TimeoutError: it has not.
        """
        again_at = time.monotonic() + _AGAIN_SECONDS

        def has_ended() -> bool:
            nonlocal again_at
            # One was seen to go unnoticed by Python. Nova ignores others
            # once it is stopping.
            if time.monotonic() >= again_at:
                self.terminate()
                again_at = time.monotonic() + _AGAIN_SECONDS
            return not self.daemon.alive

        steps.wait_for(has_ended, 'the end of nova-compute', seconds)

    def _is_ready(self, cloud: connection.Connection) -> bool:
        """Whether Nova, its scheduler and placement know of this process.

        "Up" in the list of services may be of the process before it; and
        only hosts that have been mapped to a cell are among the hypervisors.
        """
        pid = self.daemon.pid
        if pid is None:
            end = steps.last_lines(self.daemon.log, 3)
            raise RuntimeError(f'nova-compute ended while starting: {end}')
        # Known to a second, as the heartbeats are; the first comes later.
        started = datetime.datetime.fromtimestamp(
            psutil.Process(pid).create_time() + 1, datetime.UTC
        )
        hostname = self.host.layout.hostname
        services = cloud.compute.services(binary='nova-compute', host=hostname)
        beats = [one.updated_at for one in services if one.updated_at]
        return bool(
            beats
            and _utc(beats[0]) > started
            and list(cloud.placement.resource_providers(name=hostname))
            # Listed as soon as the scheduler has put it into the cell.
            and hostname
            in {one.name for one in cloud.compute.hypervisors(details=False)}
        )

    def _write_configuration(self) -> None:
        self._drop_in.parent.mkdir(parents=True, exist_ok=True)
        file = self._folder / 'nova.conf'
        file.touch(mode=0o600)
        file.write_text(settings.ini(self._configuration()))

    def _configuration(self) -> settings.Ini:
        content = nova.common(self._state)
        place = self.host.layout
        content['DEFAULT'] |= {
            'host': place.hostname,
            'my_ip': place.control_address,
            'state_path': self._folder,
            'instances_path': self._state.lab.instances,
            'compute_driver': 'libvirt.LibvirtDriver',
            'reserved_host_memory_mb': 0,
        }
        helper = settings.program('privsep-helper')
        for section in _PRIVILEGED_SECTIONS:
            content[section] = {'helper_command': helper}
        return content | {
            'libvirt': {
                'virt_type': accelerator.virt_type(),
                **_cpu_mode(),
                'live_migration_inbound_addr': place.link_address,
            },
            # The hosts share one folder of base images.
            'image_cache': {'manager_interval': -1},
            'oslo_concurrency': {'lock_path': self._folder / 'lock'},
            'vnc': {'enabled': False},
            'spice': {'enabled': False},
        }


def _cpu_mode() -> Mapping[str, str]:
    """Give an emulated guest QEMU's own processor model, on any machine.

    By default Nova gives it the host's. If that has "erms", the guest clears
    pages byte by byte, which under TCG takes three times as long (measured:
    3 GiB written to in 30 s instead of 11, and taken by the balloon at
    155 MiB/s instead of 350).
    """
    is_emulated = accelerator.virt_type() == 'qemu'
    return {'cpu_mode': 'none'} if is_emulated else {}


def _utc(nova_time: str) -> datetime.datetime:
    """Read a time of Nova's API, which is UTC without saying so."""
    return datetime.datetime.fromisoformat(nova_time).replace(
        tzinfo=datetime.UTC
    )
