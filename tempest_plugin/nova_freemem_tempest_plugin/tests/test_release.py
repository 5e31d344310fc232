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

"""A guest with page cache that it can spare."""

from __future__ import annotations

import json
import urllib.parse

from tempest import config
from tempest.lib import decorators
import testtools

from nova_freemem_tempest_plugin import hosts
from nova_freemem_tempest_plugin.tests import base

CONF = config.CONF

_TRAIT = 'CUSTOM_NOVA_FREEMEM'
# The first that has traits.
_VERSION = {
    'headers': {'OpenStack-API-Version': 'placement 1.6'},
    'extra_headers': True,
}


class ReleaseTest(base.ReleasableTest):
    """An administrator migrates the server."""

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('4f5f8a52-2d1f-4d5e-8c53-b2d5a3f6f3c1')
    def test_memory_is_released_and_restored(self) -> None:
        """Memory is released on the source, restored on the destination.

        Each of the two has an event with its host, and the guest has the same
        memory as before.
        """
        source = self.host()
        request = self.migrate()
        self.assertEqual(base.RELEASE, self.decision(request))
        released = self.wait_for_event(request, base.RELEASE)
        restored = self.wait_for_event(request, base.RESTORE)
        self.assertEqual(
            (source, self.host()), (released['host'], restored['host'])
        )
        self.assert_whole(*self.before)

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('b7a3d0c8-7f2e-4e0b-9a55-0d4a5a1a4c02')
    def test_there_and_back_at_once(self) -> None:
        """A guest that has just arrived migrates back, and is whole."""
        source = self.host()
        there = self.migrate()
        back = self.migrate(host=source)
        self.assertEqual(base.RELEASE, self.decision(there))
        self.decision(back)
        self.assert_whole(*self.before)

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('0f3b7c52-4c0d-4c8e-8b0d-6f0b7a9b5e03')
    @testtools.skipUnless(
        CONF.compute_feature_enabled.block_migration_for_live_migration,
        'Block live migration is not available',
    )
    def test_block_migration(self) -> None:
        """Memory is released where disks are copied as well."""
        request = self.migrate(block_migration=True)
        self.assertEqual(base.RELEASE, self.decision(request))
        self.assert_whole(*self.before)

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('d0c1f1de-9f0f-4b7f-8a9c-0f5a3a7b6d04')
    @testtools.skipUnless(
        CONF.nova_freemem.restart_command, 'nova-compute cannot be restarted'
    )
    def test_destination_without_the_trait(self) -> None:
        """Nothing is released for a host that may not restore it.

        A source that has just been started knows nothing of the destination.
        """
        source = self.host()
        destination = str(self.get_host_other_than(self.server_id))
        hosts.restart_nova_compute(source)
        self._take_trait_from(destination)
        # When it starts, nova-compute says again that it has the trait.
        self.addCleanup(hosts.restart_nova_compute, destination)
        request = self.migrate(host=destination)
        self.assertEqual(
            f'{base.SKIP}destination_not_ready', self.decision(request)
        )
        self.assert_whole(*self.before)

    def _take_trait_from(self, host: str) -> None:
        client = self.os_admin.resource_providers_client
        query = urllib.parse.urlencode({'name': host})
        _, body = client.get(f'/resource_providers?{query}', **_VERSION)
        (provider,) = json.loads(body)['resource_providers']
        url = f'/resource_providers/{provider["uuid"]}/traits'
        _, body = client.get(url, **_VERSION)
        traits = json.loads(body)
        traits['traits'].remove(_TRAIT)
        client.put(url, json.dumps(traits), **_VERSION)


class ProjectManagerTest(base.ReleasableTest):
    """A manager of the project migrates its server, and chooses no host."""

    credentials = (*base.ReleasableTest.credentials, 'project_manager')

    @classmethod
    def skip_checks(cls) -> None:
        """Skip the tests where Nova knows no project managers."""
        super().skip_checks()
        roles = CONF.compute_feature_enabled.nova_policy_roles
        if not CONF.enforce_scope.nova or 'manager' not in roles:
            raise cls.skipException('there are no project managers')

    @decorators.attr(type=['multinode', 'slow'])
    @decorators.idempotent_id('7a0e2c36-5b8e-4a52-9a3b-8d2c1f4e5b05')
    def test_events_tell_a_project_manager_no_hosts(self) -> None:
        """The steps have events, and only the administrator sees where."""
        client = self.os_project_manager.servers_client
        request = self.migrate(client=client)
        self.assertEqual(base.RELEASE, self.decision(request))
        seen = client.show_instance_action(self.server_id, request)
        events = {
            event['event']: event for event in seen['instanceAction']['events']
        }
        self.assertIn(base.RELEASE, events)
        for event in events.values():
            self.assertNotIn('host', event)
        for event in self.events(request):
            self.assertTrue(event['host'], event)
        self.assert_whole(*self.before)
