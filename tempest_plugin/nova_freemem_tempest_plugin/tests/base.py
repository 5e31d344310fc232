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

"""What all tests do: boot a guest, migrate it, look at what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tempest import config
from tempest.api.compute import base
from tempest.common import waiters
from tempest.common.utils.linux import remote_client
from tempest.lib.common.utils import data_utils
from tempest.lib.common.utils import test_utils

from nova_freemem_tempest_plugin import guests
from nova_freemem_tempest_plugin import hosts

CONF = config.CONF

RELEASE = 'compute_freemem_release'
RESTORE = 'compute_freemem_restore'
SKIP = 'compute_freemem_skip_'

_ENDED = ('cancelled', 'completed', 'error', 'failed')
# The reconciler looks at each guest once in 60 s.
_WHOLE_SECONDS = 120
_DECISION_SECONDS = 30


class FreememTest(base.BaseV2ComputeAdminTest):
    """One server for the tests of a class, which migrate it one by one."""

    credentials: tuple[str, ...] = ('primary', 'admin', 'project_reader')
    create_default_network = True
    # Events have hosts since 2.62; the rest as in tempest's own tests of
    # project managers.
    min_microversion = '2.80'
    max_microversion = 'latest'

    server_id: str
    guest: guests.Guest

    @classmethod
    def skip_checks(cls) -> None:
        """Skip the tests where nothing can be migrated or looked at."""
        super().skip_checks()
        if not CONF.service_available.nova_freemem:
            raise cls.skipException('nova-freemem is not available')
        if not CONF.compute_feature_enabled.live_migration:
            raise cls.skipException('live migration is not available')
        if CONF.compute.min_compute_nodes < 2:
            raise cls.skipException('there are not two hosts')
        by_ssh = CONF.nova_freemem.guest_access == 'ssh'
        if by_ssh and not CONF.validation.run_validation:
            raise cls.skipException('guest_access is ssh without validation')
        if not by_ssh and not hosts.uris():
            raise cls.skipException('guest_access is agent without libvirt')

    @classmethod
    def setup_credentials(cls) -> None:
        """Have a network that the guest can be reached by."""
        cls.prepare_instance_network()
        super().setup_credentials()

    @classmethod
    def make_flavor(cls, **extra_specs: str) -> str:
        """Make the flavor of a guest that has something to release.

        :param extra_specs: what it says besides
        :returns: its id
        """
        client = cls.admin_flavors_client
        small = client.show_flavor(CONF.compute.flavor_ref)['flavor']
        made = client.create_flavor(
            name=data_utils.rand_name(
                prefix=CONF.resource_name_prefix, name='freemem'
            ),
            id=data_utils.rand_int_id(start=1000),
            ram=CONF.nova_freemem.guest_memory_mib,
            vcpus=small['vcpus'],
            disk=small['disk'],
        )['flavor']
        cls.addClassResourceCleanup(client.delete_flavor, made['id'])
        if extra_specs:
            client.set_flavor_extra_spec(made['id'], **extra_specs)
        return str(made['id'])

    @classmethod
    def boot(cls, **arguments: Any) -> None:
        """Boot the server of the class, and wait until its guest answers.

        :param arguments: of tempest's create_test_server
        """
        if CONF.nova_freemem.guest_access == 'agent':
            server = cls.create_test_server(wait_until='ACTIVE', **arguments)
            cls.server_id = server['id']
            agent = guests.AgentGuest(cls.server_id, cls.host)
            agent.wait_ready()
            cls.guest = agent
            return
        resources = cls.get_class_validation_resources(cls.os_primary)
        server = cls.create_test_server(
            validatable=True,
            validation_resources=resources,
            wait_until='SSHABLE',
            **arguments,
        )
        cls.server_id = server['id']
        cls.guest = guests.SshGuest(
            remote_client.RemoteClient(
                cls.get_server_ip(server, resources),
                CONF.validation.image_ssh_user,
                pkey=resources['keypair']['private_key'],
                server=server,
                servers_client=cls.servers_client,
            )
        )

    @classmethod
    def host(cls) -> str:
        """Return the host that the server is on, by its name in Nova."""
        return str(cls.get_host_for_server(cls.server_id))

    # --- migrations

    def request_migration(
        self,
        host: str | None = None,
        client: Any = None,
        block_migration: str | bool = 'auto',
    ) -> str:
        """Ask Nova to live-migrate the server.

        :param host: where to; else the scheduler chooses
        :param client: whose servers_client, else the administrator's
        :param block_migration: whether disks are copied
        :returns: the id of the request, by which Nova has its events
        """
        self.known = {record['id'] for record in self.migrations()}
        answer = (client or self.admin_servers_client).live_migrate_server(
            self.server_id, host=host, block_migration=block_migration
        )
        return str(answer.response['x-openstack-request-id'])

    def migrations(self) -> list[dict[str, Any]]:
        """Return Nova's records of the migrations of the server."""
        listed = self.os_admin.migrations_client.list_migrations(
            instance_uuid=self.server_id
        )
        found: list[dict[str, Any]] = listed['migrations']
        return found

    def finish_migration(self, status: str | None = 'ACTIVE') -> str:
        """Wait until the migration that was asked for has ended.

        :param status: the status that the server has to have then, None: any
        :returns: the status of the migration
        """
        ended: list[str] = []

        def look() -> bool:
            ended[:] = [
                record['status']
                for record in self.migrations()
                if record['id'] not in self.known
                and record['status'] in _ENDED
            ]
            return bool(ended)

        self.wait_for_it('the end of the migration', look)
        if status is not None:
            waiters.wait_for_server_status(
                self.reader_servers_client, self.server_id, status
            )
        return ended[0]

    def migrate(self, status: str = 'ACTIVE', **arguments: Any) -> str:
        """Live-migrate the server, and fail unless it arrives.

        :param status: the status that the server has to have then
        :param arguments: of request_migration()
        :returns: the id of the request
        """
        source = self.host()
        request = self.request_migration(**arguments)
        self.assertEqual('completed', self.finish_migration(status))
        self.assertNotEqual(source, self.host())
        return request

    def running_migration(self) -> dict[str, Any]:
        """Wait until the migration that was asked for runs.

        :returns: what Nova tells of it
        """
        found: list[dict[str, Any]] = []

        def look() -> bool:
            client = self.admin_servers_client
            listed = client.list_in_progress_live_migration(self.server_id)
            found[:] = [
                one
                for one in listed['migrations']
                if one['status'] == 'running'
            ]
            return bool(found)

        self.wait_for_it('a running migration', look)
        return found[0]

    def wait_until_transferring(self) -> dict[str, Any]:
        """Wait until some memory of the guest has been transferred.

        :returns: what Nova tells of the migration
        """
        found: dict[str, Any] = {}

        def look() -> bool:
            found.update(self.running_migration())
            return bool(found['memory_processed_bytes'])

        self.wait_for_it('the transfer', look)
        return found

    # --- what came of it

    def events(self, request: str) -> list[dict[str, Any]]:
        """Return what the administrator sees of a request's events."""
        shown = self.admin_servers_client.show_instance_action(
            self.server_id, request
        )
        found: list[dict[str, Any]] = shown['instanceAction']['events']
        return found

    def decision(self, request: str) -> str:
        """Return what was decided on a migration: the name of an event.

        Fail unless there is exactly one decision.
        """
        names: list[str] = []

        def look() -> bool:
            names[:] = [
                event['event']
                for event in self.events(request)
                if event['event'] == RELEASE or event['event'].startswith(SKIP)
            ]
            return bool(names)

        # Nova is told of it beside the migration.
        self.wait_for_it('a decision', look, _DECISION_SECONDS)
        self.assertEqual(1, len(names), names)
        return names[0]

    def wait_for_event(self, request: str, name: str) -> dict[str, Any]:
        """Wait until an event is there.

        :returns: the event
        """
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [
                event
                for event in self.events(request)
                if event['event'] == name
            ]
            return bool(found)

        self.wait_for_it(f'the event {name}', look)
        return found[0]

    def assert_whole(self, total_kib: int, boot_id: str) -> None:
        """Fail unless the guest gets all its memory and was not restarted.

        :param total_kib: the memory its kernel managed before
        :param boot_id: what it had before
        """
        self.wait_for_it(
            f'the guest to have {total_kib} KiB',
            lambda: self.guest.total_kib() == total_kib,
            _WHOLE_SECONDS,
        )
        self.assertEqual(boot_id, self.guest.boot_id())
        self.assert_nothing_outstanding()

    def assert_nothing_outstanding(self) -> None:
        """Fail if a domain on any host keeps a journal entry, or has less.

        Without ``libvirt_uris`` there is no host to look at.
        """
        found: list[str] = []

        def look() -> bool:
            found[:] = hosts.outstanding()
            return not found

        is_well = test_utils.call_until_true(look, _WHOLE_SECONDS, 1)
        self.assertTrue(is_well, found)

    def wait_for_it(
        self, what: str, look: Callable[[], bool], seconds: int | None = None
    ) -> None:
        """Wait until something is true, and fail if it does not come true.

        :param what: for the message
        :param look: tells whether it is true
        :param seconds: how long to wait, else tempest's build_timeout
        """
        came = test_utils.call_until_true(
            look, seconds or CONF.compute.build_timeout, 0.5
        )
        self.assertTrue(came, f'waited in vain for {what}')


class ReleasableTest(FreememTest):
    """The server has memory to release: its page cache is filled each time.

    :ivar before: what it has to have afterwards, see assert_whole()
    """

    before: tuple[int, str]

    @classmethod
    def resource_setup(cls) -> None:
        """Boot the guest."""
        super().resource_setup()
        cls.boot(flavor=cls.make_flavor())

    def setUp(self) -> None:
        """Have memory to release, and know how the guest is."""
        super().setUp()
        self.guest.fill_page_cache()
        self.before = self.guest.total_kib(), self.guest.boot_id()
