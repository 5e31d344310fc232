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

"""The entry point: harmless everywhere, and at work where it is wanted."""

import subprocess
import sys
import types
from unittest import mock

from nova.compute import provider_tree
from nova.virt import driver as nova_driver
from nova.virt.libvirt import driver as nova_libvirt
from oslo_config import cfg
from oslo_messaging.notify import notifier
import stevedore

from nova_freemem import plugin
from tests import base

IMPORTS_NOTHING = """
import sys
import oslo_log.log, oslo_messaging.notify.notifier
before = set(sys.modules)
import nova_freemem.plugin
print(*sorted(set(sys.modules) - before))
"""


class PluginTestCase(base.ConfTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.calls: list[tuple[object, str | None]] = []

        def stock(virtapi: object, compute_driver: str | None = None) -> str:
            self.calls.append((virtapi, compute_driver))
            return 'a driver'

        self.stock = stock
        patcher = mock.patch.object(nova_driver, 'load_compute_driver', stock)
        patcher.start()
        self.addCleanup(patcher.stop)


class HookTest(PluginTestCase):
    def build(self, conf: cfg.ConfigOpts) -> plugin.FreememNotifyDriver:
        """Build it as oslo.messaging does."""
        return stevedore.DriverManager(
            'oslo.messaging.notify.drivers',
            'freemem',
            invoke_on_load=True,
            invoke_args=[conf],
            invoke_kwds={'topics': ['notifications'], 'transport': None},
        ).driver

    def test_oslo_messaging_finds_it_by_its_name(self) -> None:
        self.assertIsInstance(
            self.build(self.conf('')), plugin.FreememNotifyDriver
        )
        self.assertTrue(
            issubclass(plugin.FreememNotifyDriver, notifier.Driver)
        )

    def test_it_notifies_nobody(self) -> None:
        self.assertIsNone(
            self.build(self.conf('')).notify(
                {}, {'event_type': 'x'}, 'info', 0
            )
        )

    def test_built_for_each_format_it_hooks_once(self) -> None:
        conf = self.conf('')
        self.build(conf)
        hooked = nova_driver.load_compute_driver
        self.assertIsNot(self.stock, hooked)
        self.build(conf)
        self.assertIs(hooked, nova_driver.load_compute_driver)
        hooked('api')
        self.assertEqual([('api', None)], self.calls)

    def test_a_process_that_is_not_novas_is_not_touched(self) -> None:
        with mock.patch.dict(
            sys.modules, {'nova.virt': None, 'nova.virt.driver': None}
        ):
            self.build(self.conf(''))
        self.assertIs(self.stock, nova_driver.load_compute_driver)
        self.assertEqual('', self.log.output)

    def test_importing_it_imports_next_to_nothing(self) -> None:
        ran = subprocess.run(
            [sys.executable, '-c', IMPORTS_NOTHING],
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual('nova_freemem nova_freemem.plugin\n', ran.stdout)


class WithdrawnTest(PluginTestCase):
    """A host whose plugin is off says no longer that it restores memory."""

    def setUp(self) -> None:
        super().setUp()
        self.driver = types.SimpleNamespace(
            update_provider_tree=lambda *_args: None
        )
        nova_driver.load_compute_driver = lambda *_args: self.driver

    def updated(self, text: str) -> mock.Mock:
        """:returns: the provider tree of a host after Nova's update."""
        plugin.hook(self.conf(text))
        driver = nova_driver.load_compute_driver('api')
        self.assertIs(self.driver, driver)
        tree = mock.create_autospec(provider_tree.ProviderTree, instance=True)
        driver.update_provider_tree(tree, 'node')
        return tree

    def test_a_wrong_option_withdraws_the_trait(self) -> None:
        tree = self.updated('[freemem]\nheadroom_percent = 900\n')
        tree.remove_traits.assert_called_once_with(
            'node', 'CUSTOM_NOVA_FREEMEM'
        )

    def test_a_plugin_that_works_does_not(self) -> None:
        tree = self.updated('')
        tree.remove_traits.assert_not_called()

    def test_a_broken_package_does_not_stop_nova(self) -> None:
        with mock.patch.dict(
            sys.modules,
            {'nova_freemem.loader': None, 'nova_freemem.trait': None},
        ):
            for name in ('loader', 'trait'):
                module = vars(sys.modules['nova_freemem']).pop(name, None)
                if module is not None:
                    self.addCleanup(
                        setattr, sys.modules['nova_freemem'], name, module
                    )
            self.updated('')


class LoadTest(PluginTestCase):
    def load(
        self, text: str, compute_driver: str | None = None, **kwargs: str
    ) -> None:
        plugin.hook(self.conf(text, **kwargs))
        self.assertEqual(
            'a driver', nova_driver.load_compute_driver('api', compute_driver)
        )
        self.assertEqual([('api', compute_driver)], self.calls)

    def assert_off(self, *words: str) -> None:
        """One ERROR line says all that an operator needs."""
        (line,) = self.log_lines('ERROR')
        for word in (
            'nova_freemem is off',
            "Nova's own libvirt driver is used",
            'restart nova-compute',
            *words,
        ):
            self.assertIn(word, line)

    def test_enabled_and_right_there_is_no_complaint(self) -> None:
        self.load('[freemem]\nenabled = true\n')
        self.assertEqual([], self.log_lines('ERROR'))

    def test_not_enabled_there_is_no_complaint(self) -> None:
        self.load('')
        self.assertEqual([], self.log_lines('ERROR'))

    def test_arguments_reach_nova(self) -> None:
        self.load('', 'fake.FakeDriver')

    def test_a_value_out_of_bounds(self) -> None:
        self.load('[freemem]\nenabled = true\nheadroom_percent = 900\n')
        self.assert_off('headroom_percent', "'900'", '1 to 90')

    def test_values_that_contradict(self) -> None:
        self.load('[freemem]\nenabled = true\ndeadline_seconds = 3\n')
        self.assert_off('agent_timeout_seconds', 'deadline_seconds')

    def test_enabled_neither_true_nor_false(self) -> None:
        self.load('[freemem]\nenabled = perhaps\n')
        self.assert_off('enabled', 'perhaps')

    def test_a_missing_extension(self) -> None:
        self.load('[freemem]\nenabled = true\nrelease = vacuum\n')
        self.assert_off('release', 'vacuum', 'not installed', 'balloon')

    def test_another_compute_driver(self) -> None:
        self.load(
            '[freemem]\nenabled = true\n', compute_driver='fake.FakeDriver'
        )
        self.assert_off('fake.FakeDriver', 'libvirt.LibvirtDriver')

    def test_a_nova_that_has_changed(self) -> None:
        def cleanup_host(self: object, hostname: object) -> None: ...

        with mock.patch.object(
            nova_libvirt.LibvirtDriver, 'cleanup_host', cleanup_host
        ):
            self.load('[freemem]\nenabled = true\n')
        self.assert_off('cleanup_host()', "'hostname'", "'host'")

    def test_a_plugin_that_is_broken_itself(self) -> None:
        with mock.patch.dict(sys.modules, {'nova_freemem.loader': None}):
            vars(sys.modules['nova_freemem']).pop('loader', None)
            self.load('[freemem]\nenabled = true\n')
        self.assert_off('loader')

    def test_novas_own_failure_stays_novas(self) -> None:
        def failing(
            virtapi: object, compute_driver: str | None = None
        ) -> None:
            raise SystemExit(1)

        nova_driver.load_compute_driver = failing
        plugin.hook(self.conf('[freemem]\nenabled = true\n'))
        self.assertRaises(SystemExit, nova_driver.load_compute_driver, 'api')
        self.assertEqual([], self.log_lines('ERROR'))
