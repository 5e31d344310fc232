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

"""Somebody interferes while a guest migrates."""

from __future__ import annotations

import json

from tempest import config
from tempest.lib import decorators
import testtools

from nova_freemem_tempest_plugin import hosts
from nova_freemem_tempest_plugin.tests import base

CONF = config.CONF


class InterruptionTest(base.ReleasableTest):
    """The guest writes all the time, so that no transfer ends by itself."""

    def setUp(self) -> None:
        """Have memory that is never transferred, besides what is released."""
        super().setUp()
        self._make_active()
        self.guest.keep_writing()
        self.addCleanup(self.guest.stop_writing)
        self.source = self.host()

    def _make_active(self) -> None:
        """Do what an operator does after a migration that was aborted.

        Nova 32 and later call a server an error then, some time after its
        migration has ended, however well its guest is.
        """
        client = self.admin_servers_client
        server = client.show_server(self.server_id)['server']
        if server['status'] == 'ERROR':
            client.reset_state(self.server_id, state='active')

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('5d9a4a0e-1c5b-4b53-8d9e-7e6c2a1b3d06')
    def test_abort_in_mid_transfer(self) -> None:
        """The guest stays on the source, and gets its memory back there."""
        request = self.request_migration()
        running = self.wait_until_transferring()
        self.admin_servers_client.delete(
            f'servers/{self.server_id}/migrations/{running["id"]}'
        )
        self.assertNotEqual('completed', self.finish_migration(status=None))
        self.assertEqual(self.source, self.host())
        self.decision(request)
        self.assert_whole(*self.before)

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('c1d7e9f4-8a3b-4f6d-9c2e-5b4a3d2e1f07')
    def test_force_complete_during_the_release(self) -> None:
        """The guest moves at once, and gets its memory back."""
        request = self.request_migration()
        running = self.running_migration()
        self.wait_for_event(request, base.RELEASE)
        # Tempest 47's own method sends a word where Nova wants null.
        self.admin_servers_client.post(
            f'servers/{self.server_id}/migrations/{running["id"]}/action',
            json.dumps({'force_complete': None}),
        )
        self.assertEqual('completed', self.finish_migration())
        self.assertNotEqual(self.source, self.host())
        self.assertEqual(base.RELEASE, self.decision(request))
        self.assert_whole(*self.before)

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('e8b6c5d2-3f4a-4e1b-8c7d-9a0b1c2d3e08')
    @testtools.skipUnless(
        CONF.nova_freemem.restart_command, 'nova-compute cannot be restarted'
    )
    def test_nova_compute_of_the_destination_restarts(self) -> None:
        """It is restarted in mid-transfer; the guest arrives, and is whole."""
        destination = str(self.get_host_other_than(self.server_id))
        request = self.request_migration(host=destination)
        self.wait_until_transferring()
        hosts.restart_nova_compute(destination)
        self.guest.stop_writing()
        self.assertEqual('completed', self.finish_migration())
        self.assertEqual(destination, self.host())
        self.decision(request)
        self.assert_whole(*self.before)
