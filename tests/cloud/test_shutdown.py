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

"""nova-compute is stopped, by SIGTERM, while a server is being migrated.

Nova 34 waits for its migrations by default. Here it waits for none, which is
what it does before 34.
"""

import libvirt

from tests.cloud import base
from tests.lab import host as lab_host

_LINES = """
[DEFAULT]
manager_shutdown_timeout = 20
[freemem]
mode = before
"""
_MEMORY_MIB = 2048
_KIB_PER_MIB = 1024
# Nova's own twenty, and a busy machine.
_LONGEST_SECONDS = 90


class SignalDuringMigration(base.CloudTestCase):
    """The guest has its memory by the time that nova-compute has ended."""

    lines = _LINES

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_used(_MEMORY_MIB, 1024, held_mib=400)
        self.before = self.question(self.server)

    def _kib(self, host: lab_host.Host) -> int:
        """Read the balloon of the guest on a host; 0 where it is not."""
        try:
            domain = host.libvirt().lookupByUUIDString(self.server.id)
            is_running = domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
            return int(domain.info()[2]) if is_running else 0
        except libvirt.libvirtError:
            return 0

    def _wait_until_missing(self, host: lab_host.Host) -> None:
        """Wait until the guest runs on a host, and lacks 100 MiB."""
        enough_kib = (_MEMORY_MIB - 100) * _KIB_PER_MIB
        self.wait_until(
            'released memory', lambda: 0 < self._kib(host) < enough_kib
        )

    def _stop(self, host: lab_host.Host) -> None:
        """Send SIGTERM to nova-compute, and wait until it has ended."""
        stopped = self.compute(host)
        stopped.terminate()
        stopped.wait_ended(_LONGEST_SECONDS)

    def test_transfer_goes_on_with_a_guest_that_has_its_memory(self) -> None:
        self.cloud.begin_migration(self.server)
        self.wait_until_transferring(self.server)
        self._stop(self.source)
        self.wait_until(
            'all memory',
            lambda: (
                _MEMORY_MIB * _KIB_PER_MIB
                in (self._kib(self.source), self._kib(self.destination))
            ),
        )
        self.start_computes()
        self.assert_whole(self.server, self.before)

    def test_destination_ends_once_the_guest_is_whole(self) -> None:
        self.cloud.begin_migration(self.server)
        self._wait_until_missing(self.destination)
        self._stop(self.destination)
        self.assertEqual(
            _MEMORY_MIB * _KIB_PER_MIB, self._kib(self.destination)
        )
        self.start_computes()
        self.assert_whole(self.server, self.before)
