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

"""A guest that nothing is released from is migrated all the same."""

from __future__ import annotations

from tempest import config
from tempest.common import waiters
from tempest.lib import decorators
import testtools

from nova_freemem_tempest_plugin.tests import base

CONF = config.CONF


class NewGuestTest(base.FreememTest):
    """It has done nothing yet, and has the flavor of tempest's own tests."""

    @classmethod
    def resource_setup(cls) -> None:
        """Boot the guest."""
        super().resource_setup()
        cls.boot()

    def setUp(self) -> None:
        """Know how the guest is."""
        super().setUp()
        self.before = self.guest.total_kib(), self.guest.boot_id()

    @decorators.attr(type='multinode')
    @decorators.idempotent_id('1b2c3d4e-5f60-4718-8293-a4b5c6d7e809')
    def test_a_guest_with_little_to_release(self) -> None:
        """The reason is that it is not worth it, or that nothing is free."""
        request = self.migrate()
        self.assertIn(
            self.decision(request),
            (f'{base.SKIP}not_worthwhile', f'{base.SKIP}nothing_free'),
        )
        self.assert_whole(*self.before)

    @decorators.attr(type='multinode')
    @decorators.idempotent_id('2c3d4e5f-6071-4829-93a4-b5c6d7e8f910')
    @testtools.skipUnless(
        CONF.compute_feature_enabled.pause, 'Pause is not available'
    )
    def test_a_paused_guest(self) -> None:
        """It stays paused, and has all its memory when it runs again."""
        client = self.admin_servers_client
        client.pause_server(self.server_id)
        waiters.wait_for_server_status(
            self.reader_servers_client, self.server_id, 'PAUSED'
        )
        request = self.migrate(status='PAUSED')
        self.assertEqual(f'{base.SKIP}not_running', self.decision(request))
        client.unpause_server(self.server_id)
        waiters.wait_for_server_status(
            self.reader_servers_client, self.server_id, 'ACTIVE'
        )
        self.assert_whole(*self.before)


class FlavorTest(base.FreememTest):
    """Its flavor says that nothing is to be released."""

    @classmethod
    def resource_setup(cls) -> None:
        """Boot the guest."""
        super().resource_setup()
        cls.boot(flavor=cls.make_flavor(**{'freemem:enabled': 'false'}))

    @decorators.attr(type='multinode')
    @decorators.idempotent_id('5e8c1b7a-90d4-4c36-b2f1-7a6d3e0c9f12')
    def test_a_guest_whose_flavor_says_no(self) -> None:
        """It keeps all its memory, though it has some to release."""
        self.guest.fill_page_cache()
        before = self.guest.total_kib(), self.guest.boot_id()
        request = self.migrate()
        self.assertEqual(
            f'{base.SKIP}disabled_by_flavor', self.decision(request)
        )
        self.assert_whole(*before)


class NoAgentTest(base.FreememTest):
    """Its domain has no channel for a guest agent."""

    @classmethod
    def skip_checks(cls) -> None:
        """Skip the tests where there is no such image."""
        super().skip_checks()
        if not CONF.nova_freemem.image_without_agent:
            raise cls.skipException('image_without_agent is not set')

    @classmethod
    def resource_setup(cls) -> None:
        """Boot the server; nobody can ask its guest anything."""
        super().resource_setup()
        server = cls.create_test_server(
            wait_until='ACTIVE',
            image_id=CONF.nova_freemem.image_without_agent,
        )
        cls.server_id = server['id']

    @decorators.attr(type='multinode')
    @decorators.idempotent_id('3d4e5f60-7182-493a-84b5-c6d7e8f9a011')
    def test_a_guest_without_an_agent(self) -> None:
        """It migrates, and what was decided is no error."""
        request = self.migrate()
        self.assertNotEqual(f'{base.SKIP}error', self.decision(request))
        self.assert_nothing_outstanding()
