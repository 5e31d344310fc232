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

"""An operator is told which lines of theirs have no effect, and why."""

import os

import fixtures
from oslo_config import cfg

from nova_freemem import conf as freemem_conf
from nova_freemem import conf_files
from tests import base
from tests.unit import etc_nova

ENABLED = '[freemem]\nenabled = true\n'
DISABLED = '[freemem]\nenabled = false\n'
DROP_IN = 'nova-compute.conf.d/freemem.conf'


class WarnTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.etc = self.useFixture(etc_nova.EtcNova())
        self.etc.write('nova.conf', '[DEFAULT]\ndebug = false\n')

    def warnings(self, *argv: str) -> list[str]:
        """:returns: what nova-compute logs as it starts."""
        conf = self.etc.start(*argv)
        conf_files.warn(conf, conf.freemem.enabled)
        return [
            line.replace(f'{self.etc.path}/', '')
            for line in self.log_lines('WARNING')
        ]

    def assert_warned(self, expected: str, *argv: str) -> None:
        """One line says which file does not count, and why."""
        self.assertEqual(
            [f'WARNING nova_freemem is not enabled, though {expected}.'],
            self.warnings(*argv),
        )


class NotEnabledTest(WarnTestCase):
    def test_a_folder_that_is_not_read(self) -> None:
        self.etc.write(DROP_IN, ENABLED)
        self.etc.write('own.d/10.conf', '')
        self.assert_warned(
            f'[freemem] is in {DROP_IN}, which nova-compute does not read',
            '--config-dir={etc}/own.d',
        )

    def test_the_file_that_devstack_copies_its_own_from(self) -> None:
        self.etc.write('nova.conf', ENABLED)
        self.etc.write('nova-cpu.conf', DISABLED)
        self.assert_warned(
            '[freemem] is in nova.conf, which nova-compute does not read',
            '--config-file={etc}/nova-cpu.conf',
        )

    def test_a_folder_of_another_program(self) -> None:
        self.etc.write('nova-cpu.conf.d/freemem.conf', ENABLED)
        self.assert_warned(
            '[freemem] is in nova-cpu.conf.d/freemem.conf, which '
            'nova-compute does not read'
        )

    def test_a_file_that_is_not_read_and_is_wrong(self) -> None:
        self.etc.write('other.conf', '[freemem]\nenabled = perhaps\n')
        self.assert_warned(
            '[freemem] is in other.conf, which nova-compute does not read'
        )

    def test_a_file_that_another_one_overrides(self) -> None:
        self.etc.write('nova.conf', ENABLED)
        self.etc.write(DROP_IN, DISABLED)
        self.assert_warned(
            '[freemem] is in nova.conf, whose value of enabled is overridden '
            f'by {DROP_IN}'
        )

    def test_a_file_that_the_environment_overrides(self) -> None:
        self.useFixture(
            fixtures.EnvironmentVariable('OS_FREEMEM__ENABLED', 'false')
        )
        self.etc.write(DROP_IN, ENABLED)
        self.assert_warned(
            f'[freemem] is in {DROP_IN}, whose value of enabled is overridden '
            'by OS_FREEMEM__ENABLED'
        )

    def test_enabled_is_forgotten(self) -> None:
        self.etc.write(DROP_IN, '[freemem]\nmode = before\n')
        self.assert_warned(
            f'[freemem] is in {DROP_IN}, which does not set enabled'
        )

    def test_all_files_are_told_in_one_line(self) -> None:
        self.etc.write('nova.conf', '[freemem]\n')
        self.etc.write('other.conf', ENABLED)
        self.assert_warned(
            '[freemem] is in nova.conf, which does not set enabled; '
            'other.conf, which nova-compute does not read'
        )

    def test_a_file_with_two_names_is_told_once(self) -> None:
        self.etc.write('nova.conf', '[freemem]\n')
        os.symlink(self.etc.path / 'nova.conf', self.etc.path / 'link.conf')
        self.assert_warned(
            '[freemem] is in nova.conf, which does not set enabled'
        )

    def test_nova_spells_groups_in_any_case(self) -> None:
        self.etc.write(DROP_IN, '[Freemem]\nmode = before\n')
        self.assert_warned(
            f'[freemem] is in {DROP_IN}, which does not set enabled'
        )


class SilentTest(WarnTestCase):
    def assert_silent(self, *argv: str) -> None:
        self.assertEqual([], self.warnings(*argv))

    def test_enabled_as_it_was_meant(self) -> None:
        self.etc.write('nova.conf', DISABLED)
        self.etc.write(DROP_IN, ENABLED)
        self.etc.write('other.conf', '[freemem]\nmode = before\n')
        self.assert_silent()

    def test_disabled_on_purpose(self) -> None:
        self.etc.write('nova.conf', '[freemem]\nmode = before\n')
        self.etc.write(DROP_IN, DISABLED)
        self.assert_silent()

    def test_disabled_on_purpose_by_the_environment(self) -> None:
        self.useFixture(
            fixtures.EnvironmentVariable('OS_FREEMEM__ENABLED', 'false')
        )
        self.etc.write('nova.conf', '[freemem]\nmode = before\n')
        self.assert_silent()

    def test_disabled_in_a_file_that_is_not_read(self) -> None:
        self.etc.write('other.conf', DISABLED)
        self.assert_silent()

    def test_no_lines_of_the_plugins(self) -> None:
        self.etc.write('other.conf', '[DEFAULT]\ndebug = true\n')
        self.assert_silent()

    def test_what_is_no_configuration_is_no_concern(self) -> None:
        self.etc.write('other.conf', 'a program reads\nthis')
        (self.etc.path / 'bytes.conf').write_bytes(b'[freemem]\n\xff\xfe=1\n')
        (self.etc.path / 'folder.conf').mkdir()
        os.mkfifo(self.etc.path / 'pipe.conf')
        os.symlink('nowhere', self.etc.path / 'broken.conf')
        self.etc.write('large.conf', ENABLED + '#\n' * conf_files.MOST_BYTES)
        self.assert_silent()

    def test_no_file_at_all(self) -> None:
        os.remove(self.etc.path / 'nova.conf')
        self.assert_silent()


class UnknownOptionTest(WarnTestCase):
    def test_it_is_named_with_its_file(self) -> None:
        self.etc.write('nova.conf', '[freemem]\nenable = true\n')
        unknown, _ = self.warnings()
        self.assertEqual(
            'WARNING Unknown options in [freemem] have no effect: enable in '
            'nova.conf.',
            unknown,
        )

    def test_it_is_named_though_the_plugin_is_enabled(self) -> None:
        self.etc.write(DROP_IN, f'{ENABLED}headroom = 7\nEnabled = false\n')
        (line,) = self.warnings()
        self.assertIn(f'headroom in {DROP_IN}; Enabled in {DROP_IN}.', line)

    def test_files_that_are_not_read_do_not_matter(self) -> None:
        self.etc.write(DROP_IN, ENABLED)
        self.etc.write('other.conf', '[freemem]\nheadroom = 7\n')
        self.assertEqual([], self.warnings())

    def test_each_option_and_each_former_name_is_known(self) -> None:
        former = cfg.IntOpt('new', deprecated_name='old')
        self.useFixture(
            fixtures.MockPatchObject(
                freemem_conf, 'OPTIONS', [*freemem_conf.OPTIONS, former]
            )
        )
        names = [option.dest for option in freemem_conf.OPTIONS]
        section = conf_files.Section(
            'nova.conf', dict.fromkeys([*names, 'old'], ''), is_read=True
        )
        self.assertEqual([], conf_files.unknown_options([section]))
