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

"""What DevStack and the plugin expect of each other, story by story.

``test_devstack.py`` tells the stories with stand-ins for DevStack's
functions, ``on_devstack.py`` with those of a real DevStack tree.
"""

from __future__ import annotations

import pathlib

import fixtures

from tests import base
from tests.gate import walk

OPTIONS = """
[[post-config|$NOVA_FREEMEM_CONF]]
[freemem]
mode = before
headroom_percent = 7
"""
TEST_OPTIONS = """
[[test-config|$TEMPEST_CONFIG]]
[nova_freemem]
page_cache_mib = 300
"""


class Contract(base.TestCase):
    """The plugin in a host's DevStack."""

    HOST: type[walk.Host] = walk.Host
    REPOSITORY = walk.REPOSITORY

    def setUp(self) -> None:
        super().setUp()
        root = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.host = self.HOST(root, self.REPOSITORY)

    def assert_released_from(self) -> walk.Read:
        """Fail unless nova-compute loads the plugin and releases memory.

        :returns: what nova-compute reads
        """
        read = self.host.read(*self.host.nova_compute())
        self.assertIn('freemem', read.drivers)
        self.assertTrue(read.freemem['enabled'])
        return read

    def assert_untouched(self) -> None:
        """Fail if anything of the plugin is on the host."""
        self.assertEqual([], self.host.installed())
        self.assertEqual([], self.host.leftovers())

    def test_nova_compute_reads_what_the_plugin_writes(self) -> None:
        self.host.walk('stack', walk.LocalConf())
        read = self.assert_released_from()
        # DevStack's own driver stays in use.
        self.assertCountEqual(['freemem', 'messagingv2'], read.drivers)

    def test_the_plugin_is_installed_beside_nova_compute(self) -> None:
        self.host.walk('stack', walk.LocalConf())
        (called,) = self.host.installed()
        self.assertTrue(
            called.endswith(f'-e {self.host.root}/stack/nova-freemem'), called
        )

    def test_on_a_subnode_there_is_nova_compute_alone(self) -> None:
        self.host.walk('stack', walk.LocalConf(services='n-cpu'))
        self.assert_released_from()

    def test_no_other_service_of_nova_reads_it(self) -> None:
        self.host.walk('stack', walk.LocalConf())
        read = self.host.read(
            'nova-scheduler',
            '--config-file',
            self.host.nova_compute()[-1].replace('nova-cpu', 'nova'),
        )
        self.assertEqual(['messagingv2'], read.drivers)

    def test_an_option_of_local_conf_reaches_nova_compute(self) -> None:
        self.host.walk('stack', walk.LocalConf(sections=OPTIONS))
        read = self.assert_released_from()
        self.assertEqual('before', read.freemem['mode'])
        self.assertEqual(7, read.freemem['headroom_percent'])

    def test_the_plugin_is_loaded_where_it_is_not_enabled(self) -> None:
        self.host.walk('stack', walk.LocalConf(enabled='no'))
        read = self.host.read(*self.host.nova_compute())
        self.assertIn('freemem', read.drivers)
        self.assertFalse(read.freemem['enabled'])

    def test_a_second_stack_leaves_nothing_of_the_first(self) -> None:
        self.host.walk('stack', walk.LocalConf())
        once = self.host.drop_in()
        self.host.walk('stack', walk.LocalConf(sections=OPTIONS))
        self.assertNotEqual(once, self.host.drop_in())
        self.host.walk('stack', walk.LocalConf())
        self.assertEqual(once, self.host.drop_in())

    def test_the_plugin_may_have_another_name(self) -> None:
        self.host.walk('stack', walk.LocalConf(plugin='freemem'))
        self.assert_released_from()
        (called,) = self.host.installed()
        self.assertTrue(
            called.endswith(f'-e {self.host.root}/stack/freemem'), called
        )

    def test_a_host_without_nova_compute_is_left_as_it_is(self) -> None:
        said = self.host.walk('stack', walk.LocalConf(services='n-sch'))
        self.assertFalse(self.host.started())
        self.assert_untouched()
        self.assertIn('nova-freemem is not installed', said)

    def test_a_host_with_another_driver_is_left_as_it_is(self) -> None:
        said = self.host.walk('stack', walk.LocalConf(virt_driver='fake'))
        self.assert_untouched()
        self.assertIn('nova-freemem is not installed', said)

    def test_tempest_is_told_that_the_plugin_is_there(self) -> None:
        self.host.walk('stack', walk.LocalConf(services='n-cpu,tempest'))
        read = self.host.tempest()
        self.assertIsNotNone(read)
        self.assertIs(True, read['available'])

    def test_tempest_is_told_that_the_plugin_is_not_enabled(self) -> None:
        self.host.walk(
            'stack', walk.LocalConf(services='n-cpu,tempest', enabled='no')
        )
        self.assertIs(False, self.host.tempest()['available'])

    def test_tempest_may_be_on_a_host_without_nova_compute(self) -> None:
        self.host.walk('stack', walk.LocalConf(services='n-sch,tempest'))
        self.assert_untouched()
        self.assertIs(True, self.host.tempest()['available'])

    def test_tempest_does_not_hear_of_it_with_another_driver(self) -> None:
        self.host.walk(
            'stack',
            walk.LocalConf(services='n-cpu,tempest', virt_driver='fake'),
        )
        self.assertIs(False, self.host.tempest()['available'])

    def test_an_option_of_the_tests_in_local_conf_reaches_tempest(
        self,
    ) -> None:
        self.host.walk(
            'stack',
            walk.LocalConf(services='n-cpu,tempest', sections=TEST_OPTIONS),
        )
        read = self.host.tempest()
        self.assertIs(True, read['available'])
        self.assertEqual(300, read['page_cache_mib'])

    def test_a_host_without_tempest_gets_no_options_of_it(self) -> None:
        self.host.walk('stack', walk.LocalConf())
        self.assertIsNone(self.host.tempest())

    def test_unstack_leaves_a_host_as_if_the_plugin_had_not_been(self) -> None:
        self.host.walk('stack', walk.LocalConf(sections=OPTIONS))
        command_line = self.host.nova_compute()
        self.host.walk('unstack', walk.LocalConf(sections=OPTIONS))
        self.assertEqual([], self.host.leftovers())
        self.assertEqual(
            ['messagingv2'], self.host.read(*command_line).drivers
        )

    def test_clean_does_too(self) -> None:
        self.host.walk('stack', walk.LocalConf())
        self.host.walk('clean', walk.LocalConf())
        self.assertEqual([], self.host.leftovers())

    def test_unstack_may_come_after_local_conf_was_changed(self) -> None:
        for changed in (
            walk.LocalConf(services='n-sch', sections=OPTIONS),
            walk.LocalConf(virt_driver='fake', sections=OPTIONS),
        ):
            self.host.walk('stack', walk.LocalConf())
            self.host.walk('unstack', changed)
            self.assertEqual([], self.host.leftovers())

    def test_unstack_keeps_the_files_of_others(self) -> None:
        self.host.walk('stack', walk.LocalConf())
        other = self.host.root / walk.DROP_IN
        other.with_name('other.conf').write_text('[DEFAULT]\n')
        self.host.walk('unstack', walk.LocalConf())
        self.assertEqual(
            ['other.conf'], [path.name for path in other.parent.iterdir()]
        )

    def test_unstack_of_a_host_without_the_plugin_is_no_error(self) -> None:
        without = walk.LocalConf(services='n-sch')
        self.host.walk('stack', without)
        self.host.walk('unstack', without)
        self.host.walk('clean', without)
        self.assertEqual([], self.host.leftovers())
