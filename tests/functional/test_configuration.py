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

"""What the operator's file decides, on one host and on the other."""

from typing import Any

import fixtures
from keystoneauth1 import exceptions
from nova import rpc
from nova.virt.libvirt import driver as libvirt_driver
import oslo_messaging
from oslo_messaging.notify import _impl_test

from nova_freemem import trait
from tests.functional import base
from tests.functional import fakelibvirt
from tests.functional import surroundings


def memory_calls(host: fakelibvirt.Connection) -> list[str]:
    """What was called on a host that changes a guest's memory or domain.

    The period of the balloon's statistics does not count: to set it anew is
    how the driver is asked for figures of now, and it is put back.

    :returns: the names of the calls
    """
    return [
        name
        for name, *_args in host.calls
        if name.startswith('set') and name != 'setMemoryStatsPeriod'
    ]


class StockDriverTestCase(base.LiveMigrationTestCase):
    """Neither nova-compute runs anything of the plugin."""

    def assert_stock(self) -> None:
        """The driver is Nova's own, and the guest is not spoken to."""
        for compute in self.computes.values():
            self.assertIs(libvirt_driver.LibvirtDriver, type(compute.driver))
        self.migrate()
        self.assertEqual([], self.source.calls)
        self.assertEqual([], self.destination.calls)
        self.assertEqual(
            [], [name for name in self.events() if 'freemem' in name]
        )


class WithoutTheFile(StockDriverTestCase):
    CONFIGURATION = ''

    def test_nova_runs_its_own_driver(self) -> None:
        self.assert_stock()


class SourceAloneTestCase(base.LiveMigrationTestCase):
    def start_host(self, name: str) -> fakelibvirt.Connection:
        """Start a nova-compute, with the plugin at the source alone."""
        if name == 'source':
            return super().start_host(name)
        with surroundings.StockNova():
            return super().start_host(name)


class TraitTestCase(base.LiveMigrationTestCase):
    """What hosts say of themselves in Placement."""

    def traits(self, name: str) -> list[str]:
        """:returns: the traits of a host's resource provider."""
        return self._get_provider_traits(self._get_provider_uuid_by_name(name))

    def assert_skipped(self, *words: str) -> None:
        """A migration completes, and the guest is not touched."""
        self.migrate()
        self.assertEqual(
            'Success',
            self.events()['compute_freemem_skip_destination_not_ready'],
        )
        self.assertNotIn('compute_freemem_release', self.events())
        self.assertEqual([], memory_calls(self.source))
        (line,) = self.log_lines('INFO')
        for word in ("See 'destination_not_ready'", *words):
            self.assertIn(word, line)


class Disabled(base.LiveMigrationTestCase):
    CONFIGURATION = base.DISABLED

    def test_nothing_is_released_and_it_is_said_why(self) -> None:
        self.migrate()
        self.assertEqual(
            'Success', self.events()['compute_freemem_skip_disabled_by_host']
        )
        self.assertEqual([], memory_calls(self.source))
        (line,) = self.log_lines('INFO')
        self.assertIn('Skipping memory release: releasing is not', line)
        self.assertEqual(
            2, len(self.log_lines('INFO', 'driver')), 'one line per host'
        )
        self.assertEqual([], self.log_lines('ERROR', 'plugin'))


class EnabledInAFileThatIsNotRead(base.LiveMigrationTestCase):
    CONFIGURATION = """
    [oslo_messaging_notifications]
    driver = freemem
    """

    def test_the_operator_is_told_once(self) -> None:
        other = self.file.folder / 'other.conf'
        other.write_text('[freemem]\nenabled = true\n')
        self.restart_host('source')
        self.flags(host='source')
        self.migrate()
        self.assertIn('compute_freemem_skip_disabled_by_host', self.events())
        (line,) = self.log_lines('WARNING', 'conf_files')
        self.assertIn(f'{other}, which nova-compute does not read', line)


class EnabledByTheEnvironment(base.LiveMigrationTestCase):
    CONFIGURATION = base.DISABLED

    def setUp(self) -> None:
        self.useFixture(
            fixtures.EnvironmentVariable('OS_FREEMEM__ENABLED', 'true')
        )
        super().setUp()

    def test_memory_is_released(self) -> None:
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assert_whole(self.destination)


class DisabledDestination(base.LiveMigrationTestCase):
    def start_host(self, name: str) -> fakelibvirt.Connection:
        """Start a nova-compute, enabled at the source alone."""
        self.file.write(base.ENABLED if name == 'source' else base.DISABLED)
        return super().start_host(name)

    def test_guest_gets_its_memory_there(self) -> None:
        disabled, enabled = self.log_lines('INFO', 'driver')
        self.assertIn('not enabled', disabled)
        self.assertIn('is enabled', enabled)
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assertIn('compute_freemem_restore', self.events())
        self.assert_whole(self.destination)


class DisabledAfterwards(SourceAloneTestCase):
    CONFIGURATION = base.FOR_ANY_DESTINATION

    def test_nova_compute_restores_what_is_outstanding(self) -> None:
        self.migrate()
        self.assertLess(self.guest.actual_kib, base.MEMORY_KIB)
        self.file.write(base.DISABLED)
        self.restart_host('destination')
        landed = self.domain_at(self.destination)
        self.wait_for([], lambda: base.journal_entries(landed, base.LIVE))
        self.assert_whole(self.destination)


class BrokenTestCase(StockDriverTestCase):
    def assert_refused(self, *words: str) -> None:
        """Nova runs its own driver, and an ERROR line per host says why."""
        self.assert_stock()
        lines = self.log_lines('ERROR', 'plugin')
        self.assertEqual(2, len(lines))
        for line in lines:
            for word in words:
                self.assertIn(word, line)


class ValueOutOfBounds(BrokenTestCase):
    CONFIGURATION = base.ENABLED + 'headroom_percent = 150\n'

    def test_error_names_option_value_and_bounds(self) -> None:
        self.assert_refused('headroom_percent', '150', '1 to 90')


class ValuesThatContradict(BrokenTestCase):
    CONFIGURATION = base.ENABLED + 'deadline_seconds = 4\n'

    def test_error_names_both_options(self) -> None:
        self.assert_refused('agent_timeout_seconds', '5', 'deadline_seconds')


class EnabledIsNeitherTrueNorFalse(BrokenTestCase):
    CONFIGURATION = """
    [oslo_messaging_notifications]
    driver = freemem
    [freemem]
    enabled = perhaps
    """

    def test_error_names_option_and_value(self) -> None:
        self.assert_refused('[freemem] enabled', 'perhaps')


class SourceThatIsNotInstalled(BrokenTestCase):
    CONFIGURATION = base.ENABLED + 'acquire = crystal_ball\n'

    def test_error_names_what_is_missing(self) -> None:
        self.assert_refused('acquire', 'crystal_ball', 'guest_agent')


class OtherNotificationDrivers(base.LiveMigrationTestCase):
    CONFIGURATION = base.ENABLED.replace(
        'driver = freemem', 'driver = freemem\ndriver = test'
    )

    def test_they_notify_as_before(self) -> None:
        notifier = oslo_messaging.Notifier(
            rpc.NOTIFICATION_TRANSPORT, publisher_id='nova-compute:source'
        )
        notifier.info({}, 'operators.own', {})
        self.assertIn(
            ('operators.own', 'INFO'),
            [
                (message['event_type'], priority)
                for _, message, priority, _ in _impl_test.NOTIFICATIONS
            ],
        )


class HostsWithThePlugin(TraitTestCase):
    def test_each_says_in_placement_that_it_restores_memory(self) -> None:
        for name in ('source', 'destination'):
            self.assertIn(trait.TRAIT, self.traits(name))

    def test_one_says_so_that_releases_none(self) -> None:
        self.file.write(base.DISABLED)
        self.start_host('other')
        self.assertIn(trait.TRAIT, self.traits('other'))

    def test_one_says_so_no_longer_once_its_plugin_is_off(self) -> None:
        self.file.write(base.ENABLED + 'headroom_percent = 150\n')
        self.restart_host('destination')
        self.assertEqual(1, len(self.log_lines('ERROR', 'plugin')))
        self.assertNotIn(trait.TRAIT, self.traits('destination'))
        self.flags(host='source')  # not of the one that was started last
        self.assert_skipped()


class PlacementThatFails(TraitTestCase):
    def test_nothing_is_released(self) -> None:
        client = self.computes['source'].driver.virtapi.reportclient
        get = client.get

        def fail(url: str, *args: Any, **kwargs: Any) -> Any:
            if 'required=' in url:
                raise exceptions.ConnectFailure('of the test')
            return get(url, *args, **kwargs)

        self.useFixture(fixtures.MockPatchObject(client, 'get', fail))
        self.assert_skipped("Placement could not be asked: 'of the test'")


class DestinationWithoutThePlugin(SourceAloneTestCase, TraitTestCase):
    def test_nothing_is_released(self) -> None:
        self.assertNotIn(trait.TRAIT, self.traits('destination'))
        self.assert_skipped('destination has no trait CUSTOM_NOVA_FREEMEM')
        self.assertEqual(base.MEMORY_KIB, self.guest.actual_kib)

    def test_once_it_has_the_plugin_memory_is_released(self) -> None:
        self.restart_host('destination')
        self.flags(host='source')  # not of the one that was started last
        self.migrate()
        self.assertIn('compute_freemem_release', self.events())
        self.assert_whole(self.destination)


class AnyDestination(SourceAloneTestCase):
    CONFIGURATION = base.FOR_ANY_DESTINATION

    def test_guest_lands_shrunk_with_its_journal_entry(self) -> None:
        self.migrate()
        landed = self.domain_at(self.destination)
        self.assertLess(self.guest.actual_kib, base.MEMORY_KIB)
        self.assertEqual(
            [str(base.MEMORY_KIB)], base.journal_entries(landed, base.LIVE)
        )
