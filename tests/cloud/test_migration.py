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

"""An operator migrates a server whose guest has free memory."""

import json

from openstack import exceptions as sdk_exceptions
import tenacity

from tests.cloud import base
from tests.lab import host as lab_host
from tests.lab import layout
from tests.lab import network
from tests.lab import records
from tests.lab import room

_KIB_PER_MIB = 1024


def _is_refusal(error: BaseException) -> bool:
    """Tell whether Nova refused because of the server's state."""
    return isinstance(error.__cause__, sdk_exceptions.ConflictException)


class ServerWithFreeMemory(base.CloudTestCase):
    """It has dirtied 400 of its 768 MiB, and freed them."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_used(memory_mib=768, freed_mib=400)
        self.before = self.question(self.server)

    def test_it_arrives_without_its_free_memory_and_gets_it_back(self) -> None:
        self.set_link(base.SLOW_LINK_MBIT)
        sent_before, _ = self.source.link_bytes()
        migration = self.cloud.migrate(self.server, by_command=True)
        sent, _ = self.source.link_bytes()

        destination = self.destination.layout.hostname
        self.assertEqual('completed', migration.status)
        self.assertEqual(destination, migration.destination)
        now = self.cloud.get(self.server)
        self.assertEqual(
            ('ACTIVE', destination), (now.status, now.compute_host)
        )
        self.assert_whole(self.server, self.before)
        # What was freed is most of what the guest ever wrote to.
        self.assertLess(sent - sent_before, 200 << 20)
        self._assert_reported()

    def _assert_reported(self) -> None:
        """Fail unless the operator can see what was done."""
        source, destination = (
            place.hostname for place in layout.HOSTS.values()
        )
        steps = {
            ('compute_freemem_release', source, 'Success'),
            ('compute_freemem_restore', destination, 'Success'),
        }
        self.wait_until(
            'the end of both steps', lambda: steps <= self._shown_events()
        )
        released = self._info_lines(self.source, '] Released ')
        self.assertEqual(1, len(released), released)
        whole = f'-> {768 * _KIB_PER_MIB} KiB.'
        restored = self._info_lines(self.destination, whole)
        self.assertEqual(1, len(restored), restored)

    def _shown_events(self) -> set[tuple[str, str, str | None]]:
        """Ask for the migration's events: name, host and result of each."""
        command = ['server', 'event', 'list', self.server.id, '-f', 'json']
        actions = json.loads(self.cloud.openstack(command))
        requests = {one['Action']: one['Request ID'] for one in actions}
        command = ['server', 'event', 'show', self.server.id]
        shown = self.cloud.openstack(
            [*command, requests['live-migration'], '-f', 'json']
        )
        return {
            (one['event'], one['host'], one['result'])
            for one in json.loads(shown)['events']
        }

    def _info_lines(self, host: lab_host.Host, part: str) -> list[str]:
        return [
            line
            for line in self.log_of(host, self.server)
            if ' INFO nova_freemem' in line and part in line
        ]


class ServerWhoseMigrationFails(base.CloudTestCase):
    """Its migration fails after its free memory has been released."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_used(memory_mib=768, freed_mib=400)
        self.before = self.question(self.server)
        # Slow enough to be still transferring when it is interrupted.
        self.set_link(20)
        self.started = self.cloud.begin_migration(self.server)
        self.wait_until_transferring(self.server)

    def test_it_gets_its_memory_back_when_the_destination_fails(self) -> None:
        arriving = self.destination.libvirt().lookupByUUIDString(
            self.server.id
        )
        arriving.destroy()
        self._assert_stayed_whole(expected_status={'failed', 'error'})

    def test_it_gets_its_memory_back_when_the_operator_aborts(self) -> None:
        self.cloud.abort_migration(self.server)
        # Nova >= 32 records cancelled first, and error in the end.
        self._assert_stayed_whole(expected_status={'cancelled', 'error'})

    def _assert_stayed_whole(self, expected_status: set[str]) -> None:
        migration = self.cloud.finish_migration(self.server, self.started)
        self.assertIn(migration.status, expected_status)
        now = self.cloud.get(self.server)
        self.assertEqual(self.source.layout.hostname, now.compute_host)
        self.assert_whole(self.server, self.before)
        network.set_link(room.LINK_MBIT)
        self.assertEqual('completed', self._migrate_again().status)
        self.assert_whole(self.server, self.before)

    def _migrate_again(self) -> records.Migration:
        """Migrate a server whose state may be ERROR.

        Nova >= 32 sets it a moment after a migration has failed, however
        well the guest is; the operator resets it.
        """
        trying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_refusal),
            stop=tenacity.stop_after_attempt(5),
            wait=tenacity.wait_fixed(1),
            reraise=True,
        )
        return trying(self._reset_state_and_migrate)

    def _reset_state_and_migrate(self) -> records.Migration:
        if self.cloud.get(self.server).status == 'ERROR':
            api = self.cloud.api.compute
            api.reset_server_state(self.server.id, 'active')
        return self.cloud.migrate(self.server)
