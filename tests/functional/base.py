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

"""Two compute hosts under Nova's functional fixtures, and a guest.

The plugin is enabled the way an operator does it: by a drop-in file that
names the notification driver. Nova's fixtures read it as configuration,
``nova.rpc.init`` has stevedore load the driver, and the nova-compute that
is started afterwards finds its libvirt driver through it.
"""

from collections.abc import Callable
import functools
from importlib import metadata
import operator
import sys
import threading
import time
from typing import Any
from typing import ClassVar

import fixtures
from lxml import etree
import nova.conf
from nova.tests.fixtures import libvirt as nova_fake
from nova.tests.functional.libvirt import base
from nova.virt.libvirt import host as nova_host
from oslo_log import log as logging

from nova_freemem import clock
from nova_freemem.migrate import readiness
from nova_freemem.virt import interfaces
from tests.functional import fakedomain
from tests.functional import fakelibvirt
from tests.functional import surroundings

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

NOVA_SERIES = int(metadata.version('nova').partition('.')[0])

#: Whether Nova runs on eventlet here; Nova 34 can run on threads as well.
EVENTLET = 'eventlet' in sys.modules and sys.modules[
    'eventlet'
].patcher.is_monkey_patched('thread')

#: The namespace of the journal, which operators look up with virsh.
JOURNAL_URI = 'urn:nova-freemem:journal'

# Where other work keeps the machine busy; a migration here takes a second.
PATIENCE_SECONDS = 60

MEMORY_KIB = 4 * 1024 * 1024

NOTHING_CONFIGURED = """
[oslo_messaging_notifications]
driver = freemem
[freemem]
enabled = true
"""

#: A release begins before the transfer where the bandwidth is known.
ENABLED = NOTHING_CONFIGURED + 'migration_bandwidth_mbps = 1000\n'

DISABLED = ENABLED.replace('true', 'false')

#: Memory is released for a destination without the plugin, too.
FOR_ANY_DESTINATION = ENABLED + 'require_destination_trait = false\n'

#: What Nova makes of a live migration that failed: status, server's state.
FAILED = ('error', 'error') if NOVA_SERIES >= 32 else ('failed', 'active')


class LiveMigrationTestCase(base.ServersTestBase):
    """A 4 GiB guest on the host "source", and a host "destination"."""

    microversion = 'latest'
    ADMIN_API = True

    #: The operator's drop-in file, on both hosts.
    CONFIGURATION = ENABLED

    #: How nova-compute is told to read it.
    FILE: type[surroundings.OperatorsFile] = surroundings.OperatorsFile

    #: What the plugin waits by.
    CLOCK: type[clock.Clock] = surroundings.PassingClock

    #: Properties of the image the server is booted from.
    IMAGE_PROPERTIES: ClassVar[dict[str, str]] = {'hw_qemu_guest_agent': 'yes'}

    #: Extra specs of the server's flavor.
    EXTRA_SPECS: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        self.useFixture(surroundings.StockNova())
        self.file = self.FILE(self.CONFIGURATION)
        self.useFixture(self.file)
        self.useFixture(
            fixtures.MonkeyPatch(f'{clock.__name__}.Clock', self.CLOCK)
        )
        # On a busy machine Placement, in this process, may take over a second.
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{readiness.__name__}.Destinations',
                functools.partial(
                    readiness.Destinations, wait_seconds=PATIENCE_SECONDS
                ),
            )
        )
        # Nova's fixtures refuse a look at this machine's interfaces.
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{interfaces.__name__}.speed_mbps',
                lambda _addresses, _connections: None,
            )
        )
        self.flags(
            api_paste_config=f'{sys.prefix}/etc/nova/api-paste.ini',
            group='wsgi',
        )
        super().setUp()
        # Nova's default is where Nova is installed.
        self.state_path = self.useFixture(fixtures.TempDir()).path
        self.flags(state_path=self.state_path)
        self.useFixture(fakelibvirt.FakeLibvirt())
        # Nova's fixtures stand in for the connection it already has.
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{nova_host.__name__}.Host._connect',
                lambda host, uri, read_only: host.get_connection(),
            )
        )
        # Nova's fixtures run all hosts in one process: CONF.host is the
        # name of the last one started.
        self.destination = self.start_host('destination')
        self.source = self.start_host('source')
        self.server = self._boot()
        self.guest = self.domain_at(self.source).guest

    def start_host(self, name: str) -> fakelibvirt.Connection:
        """Start a nova-compute.

        :returns: its libvirtd
        """
        CONF.reload_config_files()  # as a process of its own would
        self.start_compute(hostname=name)
        self._end_with_the_test(name)
        return fakelibvirt.Connection.hosts[name]

    def restart_host(self, name: str) -> None:
        """Start a nova-compute anew; its libvirtd and its guests run on."""
        CONF.reload_config_files()
        self.restart_compute_service(name)
        self._end_with_the_test(name)

    def reload(self, text: str) -> None:
        """Have the operator change the file and send SIGHUP.

        What oslo.service then does to a nova-compute.

        :param text: the file
        """
        self.file.write(text)
        CONF.mutate_config_files()
        for compute in self.computes.values():
            compute.reset()
        # It does so before it goes on, unless configured otherwise.
        CONF.log_opt_values(LOG, logging.DEBUG)

    def _end_with_the_test(self, name: str) -> None:
        driver = self.computes[name].driver
        if hasattr(driver, '_reconciler'):
            self.addCleanup(driver._reconciler.stop)

    def _boot(self) -> dict[str, Any]:
        return self._create_server(
            host='source',
            networks='none',
            image_uuid=self._create_image(self.IMAGE_PROPERTIES)['id'],
            flavor_id=self._flavor(),
        )

    def _flavor(self) -> str:
        flavor: str = self._create_flavor(memory_mb=MEMORY_KIB // 1024)
        if self.EXTRA_SPECS:
            self.set_extra_specs(flavor, self.EXTRA_SPECS)
        return flavor

    def set_extra_specs(
        self, flavor: str, extra_specs: dict[str, str]
    ) -> None:
        """``openstack flavor set --property``."""
        self.api.post_extra_spec(flavor, {'extra_specs': extra_specs})

    def domain_at(self, host: fakelibvirt.Connection) -> fakedomain.Domain:
        """The server's domain on a host, where it has to be."""
        return host.lookupByUUIDString(self.server['id'])

    def migrate(self) -> None:
        """Ask for a live migration and see it complete."""
        self.ask_to_migrate()
        self.see('completed', 'active', 'destination')

    def ask_to_migrate(self) -> None:
        """``openstack server migrate --live-migration``."""
        self.api.post_server_action(
            self.server['id'],
            {'os-migrateLive': {'host': None, 'block_migration': 'auto'}},
        )

    def see(self, migration: str, vm_state: str, host: str) -> None:
        """See a live migration end, its memory restored, its events shown.

        :param migration: the status of the migration
        :param vm_state: the state of the server
        :param host: where the server is
        """
        self.see_without_events(migration, vm_state, host)
        self.wait_for([], lambda: threads('freemem-events'))

    def see_without_events(
        self, migration: str, vm_state: str, host: str
    ) -> None:
        """See the same where Nova cannot be told of events.

        :param migration: the status of the migration
        :param vm_state: the state of the server
        :param host: where the server is
        """
        # Until it has ended it is the migration alone that is asked for: Nova
        # takes longer to show a server.
        self.wait_for(migration, lambda: self.migration()['status'])
        self.wait_for((migration, vm_state, None, host), self._look)
        self.wait_for([], self._hosts_that_restore)

    def _hosts_that_restore(self) -> list[str]:
        """The hosts that have been asked to restore it, and have not yet."""
        return [
            name
            for name, compute in self.computes.items()
            if hasattr(compute.driver, '_reconciler')
            and compute.driver._reconciler._clients(self.server['id'])
        ]

    def wait_for(self, expected: Any, look: Callable[[], Any]) -> None:
        """Look until what is expected is seen."""
        patience = time.monotonic() + PATIENCE_SECONDS
        while (seen := look()) != expected:
            if time.monotonic() > patience:
                self.assertEqual(expected, seen)
            time.sleep(0.1)

    def _look(self) -> tuple[str, str, str | None, str]:
        server = self.api.get_server(self.server['id'])
        return (
            self.migration()['status'],
            server['OS-EXT-STS:vm_state'],
            server['OS-EXT-STS:task_state'],
            server['OS-EXT-SRV-ATTR:host'],
        )

    def migration(self) -> dict[str, Any]:
        """The newest migration of the server."""
        migrations = self.api.api_get(
            f'/os-migrations?instance_uuid={self.server["id"]}'
        ).body['migrations']
        return max(migrations, key=operator.itemgetter('id'))

    def migration_url(self) -> str:
        """Where the newest migration can be aborted or forced."""
        server, migration = self.server['id'], self.migration()['id']
        return f'/servers/{server}/migrations/{migration}'

    def events(self) -> dict[str, str]:
        """What ``server event show`` tells of the live migration.

        :returns: each event's result by its name
        """
        action = next(
            action
            for action in self.api.get_instance_actions(self.server['id'])
            if action['action'] == 'live-migration'
        )
        details = self.api.get_instance_action_details(
            self.server['id'], action['request_id']
        )
        return {event['event']: event['result'] for event in details['events']}

    def log_lines(self, level: str, module: str = 'report') -> list[str]:
        """The plugin's own lines in nova-compute's log.

        :param level: 'INFO', 'WARNING' or 'ERROR'
        :param module: the module or package of the plugin that wrote them
        """
        return [
            line
            for line in self.stdlog.logger.output.splitlines()
            if f' {level} [nova_freemem.{module}' in line
        ]

    def assert_no_allocation_at_the_destination(self) -> None:
        """Placement counts the server at its source alone."""
        provider = self.compute_rp_uuids['destination']
        self.assertEqual({}, self._get_allocations_by_provider_uuid(provider))

    def assert_whole(self, host: fakelibvirt.Connection) -> None:
        """The guest has all its memory, live and defined, and no entry."""
        domain = self.domain_at(host)
        self.assertEqual(MEMORY_KIB, self.guest.actual_kib)
        self.assertEqual(MEMORY_KIB, self.guest.target_kib)
        self.assertEqual(MEMORY_KIB, current_memory_kib(domain, LIVE))
        self.assertEqual(MEMORY_KIB, current_memory_kib(domain, DEFINED))
        self.assertEqual([], journal_entries(domain, LIVE))
        self.assertEqual([], journal_entries(domain, DEFINED))
        self.assertEqual(10, domain.period_seconds)


def threads(kind: str) -> list[str]:
    """Find threads of the plugin's that have not ended.

    :param kind: how their names begin
    :returns: their names
    """
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(kind)]


LIVE = 0
DEFINED = nova_fake.VIR_DOMAIN_XML_INACTIVE


def current_memory_kib(domain: fakedomain.Domain, which: int) -> int:
    """The balloon as a definition has it."""
    definition = etree.fromstring(domain.XMLDesc(which))
    return int(definition.findtext('currentMemory'))


def journal_entries(domain: fakedomain.Domain, which: int) -> list[str]:
    """The outstanding memory that a definition tells of, in KiB."""
    definition = etree.fromstring(domain.XMLDesc(which))
    return [
        entry.get('original_kib')
        for entry in definition.iterfind(f'metadata/{{{JOURNAL_URI}}}*')
    ]
