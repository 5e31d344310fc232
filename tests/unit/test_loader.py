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

"""Our driver, where Nova looks for its own."""

import functools
import logging
import sys
from typing import Any
from unittest import mock

import ddt
from nova import exception
from nova import objects
from nova import rpc
from nova.compute import manager
from nova.compute import provider_tree
from nova.objects import instance_action
from nova.objects import migrate_data
from nova.objects import migration
from nova.scheduler.client import report
from nova.virt import event as virt_event
from nova.virt import libvirt as nova_libvirt
from nova.virt.libvirt import driver as nova_driver
from nova.virt.libvirt import guest as nova_guest
from nova.virt.libvirt import host as nova_host
from oslo_config import cfg

from nova_freemem import driver
from nova_freemem import exceptions
from nova_freemem import loader
from nova_freemem.virt import interfaces
from tests import base

ENABLED = '[freemem]\nenabled = true\n'


class LoaderTest(base.ConfTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.stock = nova_libvirt.LibvirtDriver

    def problem(self, text: str, **kwargs: str) -> str:
        error = self.assertRaises(
            exceptions.NovaDiffers,
            loader.prepare,
            self.conf(text, **kwargs),
            None,
        )
        self.assertIs(self.stock, nova_libvirt.LibvirtDriver)
        return str(error)

    def test_enabled_nova_finds_ours_and_afterwards_its_own(self) -> None:
        with loader.prepare(self.conf(ENABLED), None):
            ours = nova_libvirt.LibvirtDriver
        self.assertIsInstance(ours, functools.partial)
        self.assertIs(driver.FreememLibvirtDriver, ours.func)
        self.assertEqual('balloon', ours.keywords['engine'].policy.release)
        self.assertIs(self.stock, nova_libvirt.LibvirtDriver)

    def test_nova_finds_its_own_again_when_its_driver_fails(self) -> None:
        def load() -> None:
            with loader.prepare(self.conf(ENABLED), None):
                raise SystemExit(1)

        self.assertRaises(SystemExit, load)
        self.assertIs(self.stock, nova_libvirt.LibvirtDriver)

    def test_not_enabled_nova_finds_ours_which_restores(self) -> None:
        for text in ('', '[freemem]\nenabled = false\n'):
            with loader.prepare(self.conf(text), None):
                ours = nova_libvirt.LibvirtDriver
            self.assertIs(driver.FreememLibvirtDriver, ours.func)
            self.assertFalse(ours.keywords['engine'].policy.enabled)

    def test_what_nova_lets_qemu_send_is_known(self) -> None:
        limited = f'{ENABLED}\n[libvirt]\nlive_migration_bandwidth = 50\n'
        with loader.prepare(self.conf(limited), None):
            engine = nova_libvirt.LibvirtDriver.keywords['engine']
        self.assertEqual(
            '419 Mbit/s (limited by live_migration_bandwidth)',
            str(engine.bandwidths.to('dest', 0.0)),
        )

    def test_where_the_migration_network_is_and_how_qemu_uses_it_is_known(
        self,
    ) -> None:
        speed = self.patch_autospec(interfaces, 'speed_mbps', return_value=100)
        network = (
            '[libvirt]\n'
            'live_migration_inbound_addr = 192.0.2.7\n'
            'live_migration_parallel_connections = 4\n'
        )
        with loader.prepare(self.conf(ENABLED + network), None):
            engine = nova_libvirt.LibvirtDriver.keywords['engine']
        self.assertEqual(
            '100 Mbit/s (assumed)', str(engine.bandwidths.to('dest', 0.0))
        )
        speed.assert_called_once_with(frozenset({'192.0.2.7'}), 4)

    def test_a_nova_before_33_has_one_connection(self) -> None:
        speed = self.patch_autospec(interfaces, 'speed_mbps', return_value=100)
        conf = self.conf(ENABLED)
        conf.reset()
        conf.unregister_opt(
            cfg.IntOpt('live_migration_parallel_connections', default=1),
            group='libvirt',
        )
        conf([], default_config_files=[], default_config_dirs=[])
        with loader.prepare(conf, None):
            engine = nova_libvirt.LibvirtDriver.keywords['engine']
        engine.bandwidths.to('dest', 0.0)
        speed.assert_called_once_with(mock.ANY, 1)

    def test_of_zeros_that_the_host_holds_it_knows_by_novas_options(
        self,
    ) -> None:
        """QEMU writes them only over several connections, with post-copy."""
        for connections, post_copy, holds_zeros in (
            (1, True, False),
            (2, False, False),
            (2, True, True),
        ):
            options = (
                '[libvirt]\n'
                f'live_migration_parallel_connections = {connections}\n'
                f'live_migration_permit_post_copy = {post_copy}\n'
            )
            with loader.prepare(self.conf(ENABLED + options), None):
                engine = nova_libvirt.LibvirtDriver.keywords['engine']
            self.assertEqual(holds_zeros, engine.holds_zeros, options)

    def test_another_compute_driver_is_not_ours_to_replace(self) -> None:
        for text in (ENABLED, ''):
            self.assertEqual(
                'this Nova is not one the plugin can work with: '
                'compute_driver is fake.FakeDriver, not '
                'libvirt.LibvirtDriver',
                self.problem(text, compute_driver='fake.FakeDriver'),
            )

    def test_the_driver_asked_for_counts_before_the_configured_one(
        self,
    ) -> None:
        self.assertRaises(
            exceptions.NovaDiffers,
            loader.prepare,
            self.conf(ENABLED),
            'fake.FakeDriver',
        )

    def test_a_driver_that_cannot_be_imported_is_found_beforehand(
        self,
    ) -> None:
        conf = self.conf(ENABLED)
        with mock.patch.dict(sys.modules, {'nova_freemem.driver': None}):
            sys.modules['nova_freemem'].__dict__.pop('driver')
            self.addCleanup(
                setattr, sys.modules['nova_freemem'], 'driver', driver
            )
            self.assertRaises(ImportError, loader.prepare, conf, None)
        self.assertIs(self.stock, nova_libvirt.LibvirtDriver)

    def test_nova_can_log_its_options_though_ours_are_wrong(self) -> None:
        for text in (
            'enabled = true',
            'enabled = false',
            'enabled = perhaps',
            'enabled = $perhaps',
        ):
            conf = self.conf(f'[freemem]\n{text}\nheadroom_percent = 900\n')
            error = self.assertRaises(
                exceptions.ConfigInvalid, loader.prepare, conf, None
            )
            self.assertIn('[freemem]', str(error))
            for _start_and_sighup in range(2):
                conf.log_opt_values(logging.getLogger(__name__), logging.INFO)
                conf.mutate_config_files()
            self.assertTrue(conf.reload_config_files())
            self.assertRegex(
                self.log.output, r'freemem\.headroom_percent += 900\n'
            )

    def test_nova_logs_our_options_where_they_are_right(self) -> None:
        conf = self.conf(ENABLED)
        loader.prepare(conf, None)
        conf.log_opt_values(logging.getLogger(__name__), logging.INFO)
        self.assertIn('freemem.headroom_percent', self.log.output)


@ddt.ddt
class NovaTest(base.ConfTestCase):
    """A Nova that is not as the plugin knows it."""

    def problem(self, owner: type, **changed: Any) -> str:
        """Load the plugin with a Nova of which something has changed.

        :returns: why the stock driver is used
        """
        stock = nova_libvirt.LibvirtDriver
        with mock.patch.multiple(owner, **changed):
            error = self.assertRaises(
                exceptions.NovaDiffers,
                loader.prepare,
                self.conf(ENABLED),
                None,
            )
        self.assertIs(stock, nova_libvirt.LibvirtDriver)
        return str(error)

    def test_the_installed_nova_is_as_it_is_to_be(self) -> None:
        loader.check_nova(driver.FreememLibvirtDriver)

    def test_a_parameter_of_a_method_was_renamed(self) -> None:
        def live_migration_abort(self: Any, server: Any) -> None: ...

        self.assertEqual(
            'this Nova is not one the plugin can work with: '
            "LibvirtDriver.live_migration_abort() has the parameter 'server' "
            "in the place of 'instance'",
            self.problem(
                nova_driver.LibvirtDriver,
                live_migration_abort=live_migration_abort,
            ),
        )

    def test_a_parameter_without_default_was_added(self) -> None:
        def init_host(self: Any, host: Any, service: Any) -> None: ...

        self.assertIn(
            "LibvirtDriver.init_host() has the parameter 'service'",
            self.problem(nova_driver.LibvirtDriver, init_host=init_host),
        )

    def test_a_parameter_with_default_was_added(self) -> None:
        def init_host(self: Any, host: Any, service: Any = None) -> None: ...

        with mock.patch.object(
            nova_driver.LibvirtDriver, 'init_host', init_host
        ):
            loader.check_nova(driver.FreememLibvirtDriver)

    @ddt.data(
        (nova_driver.LibvirtDriver, '_get_migration_flags'),
        (nova_driver.LibvirtDriver, '_is_post_copy_enabled'),
        (nova_host.Host, 'get_guest'),
        (nova_host.Host, '_connect'),
        (manager.ComputeManager, '_rollback_live_migration'),
        (instance_action.InstanceActionEvent, 'create'),
        (instance_action.InstanceActionEvent, 'event_finish'),
        (provider_tree.ProviderTree, 'add_traits'),
        (report.SchedulerReportClient, 'get'),
        (virt_event, 'EVENT_LIFECYCLE_RESUMED'),
        (virt_event.LifecycleEvent, 'get_transition'),
        (virt_event.InstanceEvent, 'get_instance_uuid'),
        (exception, 'InstanceActionEventNotFound'),
        (rpc, 'NOTIFIER'),
        (rpc, 'LEGACY_NOTIFIER'),
        (rpc, 'get_versioned_notifier'),
    )
    @ddt.unpack
    def test_what_the_plugin_calls_is_looked_for(
        self, owner: Any, name: str
    ) -> None:
        stock = getattr(owner, name)
        is_own = name in vars(owner)
        delattr(owner, name)
        try:
            error = self.assertRaises(
                exceptions.NovaDiffers,
                loader.check_nova,
                driver.FreememLibvirtDriver,
            )
        finally:
            setattr(owner, name, stock)
        self.assertTrue(is_own)
        self.assertIn(f'has no {name}', str(error))

    @ddt.data(
        (instance_action.InstanceActionEvent, 'finish_time'),
        (migration.Migration, 'dest_node'),
        (migrate_data.LibvirtLiveMigrateData, 'migration'),
    )
    @ddt.unpack
    def test_each_field_is_looked_for(self, owner: Any, name: str) -> None:
        objects.register_all()
        fields = {
            field: kind
            for field, kind in owner.fields.items()
            if field != name
        }
        self.assertIn(f'has no {name}', self.problem(owner, fields=fields))

    def test_each_private_attribute_is_looked_for(self) -> None:
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
            """Set nothing."""

        for owner, name in (
            (nova_driver.LibvirtDriver, '_host'),
            (nova_guest.Guest, '_domain'),
        ):
            self.assertIn(
                f'{owner.__name__} has no attribute {name}',
                self.problem(owner, __init__=__init__),
            )

    def test_each_private_method_is_looked_at(self) -> None:
        def changed(self: Any, a: Any, b: Any, c: Any) -> None: ...

        for owner, name in (
            (nova_host.Host, 'get_guest'),
            (nova_host.Host, '_connect'),
            (manager.ComputeManager, '_rollback_live_migration'),
        ):
            self.assertIn(
                f'{owner.__name__}.{name}() is called differently',
                self.problem(owner, **{name: changed}),
            )
