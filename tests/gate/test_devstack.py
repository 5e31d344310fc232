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

"""DevStack's plugin with stand-ins for DevStack's functions."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import unittest

import fixtures

from tests import base
from tests.gate import contract
from tests.gate import walk


class StandInsTest(contract.Contract):
    """The contract on stand-ins."""


class BrokenPluginTest(base.TestCase):
    """The contract notices what would go unnoticed in DevStack."""

    def failures(
        self, story: str, file: str, right: str, wrong: str
    ) -> list[str]:
        """Tell one story with a plugin that has a mistake in it.

        :param story: the name of the test
        :param file: the file of the plugin
        :param right: what stands in it
        :param wrong: what is to stand there
        :returns: why the story fails
        """
        repository = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        shutil.copytree(walk.REPOSITORY / 'devstack', repository / 'devstack')
        shutil.copy(walk.REPOSITORY / 'setup.cfg', repository)
        path = repository / 'devstack' / file
        text = path.read_text()
        self.assertIn(right, text)
        path.write_text(text.replace(right, wrong))

        class Broken(contract.Contract):
            REPOSITORY = repository

        result = unittest.TestResult()
        Broken(story).run(result)
        return [why for _, why in [*result.errors, *result.failures]]

    def test_a_folder_that_nova_compute_does_not_read(self) -> None:
        (why,) = self.failures(
            'test_nova_compute_reads_what_the_plugin_writes',
            'settings',
            'nova-compute.conf.d',
            'nova-cpu.conf.d',
        )
        self.assertIn("'freemem' not in ['messagingv2']", why)

    def test_a_file_that_every_service_reads(self) -> None:
        (why,) = self.failures(
            'test_no_other_service_of_nova_reads_it',
            'settings',
            'nova-compute.conf.d',
            'nova.conf.d',
        )
        self.assertIn("'freemem'", why)

    def test_the_file_that_devstack_makes_anew(self) -> None:
        (why,) = self.failures(
            'test_nova_compute_reads_what_the_plugin_writes',
            'settings',
            '$NOVA_CONF_DIR/nova-compute.conf.d/freemem.conf',
            '$NOVA_CPU_CONF',
        )
        self.assertIn("'freemem' not in ['messagingv2']", why)

    def test_a_path_that_holds_for_one_name_only(self) -> None:
        (why,) = self.failures(
            'test_the_plugin_may_have_another_name',
            'plugin.sh',
            'setup_develop "$NOVA_FREEMEM_DIR"',
            'setup_develop "$DEST/nova-freemem"',
        )
        self.assertIn('no project to install', why)

    def test_a_drop_in_that_outlives_unstack(self) -> None:
        (why,) = self.failures(
            'test_unstack_leaves_a_host_as_if_the_plugin_had_not_been',
            'plugin.sh',
            '"$1" == "unstack" || ',
            '',
        )
        self.assertIn('nova-compute.conf.d', why)

    def test_an_option_of_tempest_that_is_misspelt(self) -> None:
        (why,) = self.failures(
            'test_tempest_is_told_that_the_plugin_is_there',
            'plugin.sh',
            'service_available nova_freemem',
            'service_available nova-freemem',
        )
        self.assertIn('False', why)

    def test_an_option_of_tempest_without_tempest(self) -> None:
        (why,) = self.failures(
            'test_a_host_without_tempest_gets_no_options_of_it',
            'plugin.sh',
            'is_service_enabled tempest && ',
            '',
        )
        self.assertIn('tempest', why)

    def test_tracing_that_is_not_as_it_was(self) -> None:
        (why,) = self.failures(
            'test_clean_does_too',
            'plugin.sh',
            'NOVA_FREEMEM_DIR=',
            'set +o xtrace; NOVA_FREEMEM_DIR=',
        )
        self.assertIn('the plugin has changed xtrace', why)


class StyleTest(base.TestCase):
    def test_the_settings_are_as_clean_as_the_scripts(self) -> None:
        # The checks of style know a shell script by its suffix or its first
        # line; DevStack wants this file without either.
        settings = str(walk.REPOSITORY / 'devstack' / 'settings')
        subprocess.run(['bashate', '--ignore=E005', settings], check=True)
        subprocess.run(['shellcheck', '--shell=bash', settings], check=True)


class ToolTest(base.TestCase):
    """What ``tools/devstack.sh`` says before it needs root."""

    def said(self, code: int, *arguments: str) -> str:
        """Run it, and fail unless it ends with a code.

        :returns: what it printed
        """
        done = subprocess.run(
            [walk.REPOSITORY / 'tools' / 'devstack.sh', *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.assertEqual(code, done.returncode, done.stdout)
        return done.stdout

    def test_without_a_tree_it_says_that_nothing_was_checked(self) -> None:
        self.assertIn('left out: no DevStack tree was named', self.said(0))

    def test_a_folder_that_is_no_tree_is_refused(self) -> None:
        folder = self.useFixture(fixtures.TempDir()).path
        said = self.said(2, '--devstack', folder)
        self.assertIn(f'no DevStack tree: {folder}', said)

    def test_a_command_line_that_is_none_is_refused(self) -> None:
        self.assertIn('usage: ', self.said(2, '--devstack'))
        self.assertIn('usage: ', self.said(2, '/opt/stack/devstack'))
