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

"""What all commands have in common, and how they describe themselves."""

import ddt

from nova_freemem import exceptions
from tests.simulation import fakes
from tests.unit import etc_nova
from tests.unit.cli import base
from tests.unit.cli.base import UUID


class HostTest(base.CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.etc = self.useFixture(etc_nova.EtcNova())

    def test_the_default_uri_is_that_of_nova_compute(self) -> None:
        self.run_command('restore', '--all')
        self.connect.assert_called_once_with('qemu:///system')
        self.etc.write(
            'nova.conf', '[libvirt]\nconnection_uri = qemu+tcp://a/system\n'
        )
        self.add_guest()
        for words in (
            ('list',),
            ('inspect', UUID),
            ('restore', '--all'),
            ('repair', UUID),
            ('watch',),
        ):
            self.connect.reset_mock()
            self.assertEqual(0, self.run_command(*words), self.err)
            self.connect.assert_called_once_with('qemu+tcp://a/system')

    def test_a_configuration_that_cannot_be_read_does_not_matter(self) -> None:
        self.etc.write('nova.conf', 'no configuration')
        self.assertEqual(0, self.run_command('restore', '--all'), self.err)
        self.connect.assert_called_once_with('qemu:///system')

    def test_the_uri_can_be_specified(self) -> None:
        self.etc.write('nova.conf', '[libvirt]\nconnection_uri = qemu:///a\n')
        self.run_command('list', '--uri', 'qemu+unix:///session')
        self.connect.assert_called_once_with('qemu+unix:///session')

    def test_a_failed_connection_is_one_line(self) -> None:
        self.connect.side_effect = fakes.libvirt_error(
            exceptions.LibvirtError, 'connection refused'
        )
        for words in (
            ('list',),
            ('inspect', UUID),
            ('restore', '--all'),
            ('repair', UUID),
        ):
            self.assertEqual(2, self.run_command(*words))
            self.assertEqual(
                'nova-freemem: libvirt could not do this: '
                'connection refused (error 1)\n',
                self.err,
            )
            self.assertEqual('', self.out)

    def test_without_arguments_the_commands_are_listed(self) -> None:
        self.assertEqual(0, self.run_command())
        for name in (
            *('list', 'inspect', 'restore', 'repair', 'report', 'watch'),
        ):
            self.assertIn(f'  {name} ', self.out)

    def test_wrong_words_are_refused_in_one_line(self) -> None:
        for words, problem in (
            (('frobnicate',), "no such command: 'frobnicate'; the commands"),
            (('--nope',), "no such command: '--nope'"),
            (('list', '--nope'), 'unrecognized arguments: --nope'),
            (('restore', '--wait-seconds', 'x'), "'x' is not a whole number"),
            (('estimate', '--to'), 'argument --to: expected one argument'),
            (('check', '-f', 'none'), "invalid choice: 'none'"),
        ):
            self.assertEqual(2, self.run_command(*words))
            (line,) = self.err.splitlines()
            self.assertIn(problem, line)
            self.assertEqual('', self.out)
        self.connect.assert_not_called()


@ddt.ddt
class HelpTest(base.CommandTestCase):
    @ddt.data(
        ('list', '--sort-column'),
        ('check', '--config-file'),
        ('estimate', '--to'),
        ('estimate', '--config-dir'),
        ('inspect', '--ranges'),
        ('restore', '--all'),
        ('restore', '--wait-seconds'),
        ('repair', '--memory-mib'),
        ('repair', '--stats-period-seconds'),
    )
    @ddt.unpack
    def test_help_of_a_command_shows_its_options(
        self, command: str, option: str
    ) -> None:
        for arguments in ((command, '--help'), ('help', command)):
            self.assertEqual(0, self.run_command(*arguments))
            self.assertRegex(self.out, rf'^usage: \S+ {command} ')
            self.assertIn(f'\n  {option}', self.out)
            self.assertIn('\n  --uri URI', self.out)
            self.assertIn('qemu:///system)', self.out)
        self.connect.assert_not_called()

    def test_help_of_the_app_lists_the_commands(self) -> None:
        self.assertEqual(0, self.run_command('--help'))
        for name in (
            *('list', 'inspect', 'restore', 'repair', 'report', 'watch'),
        ):
            self.assertIn(f'  {name} ', self.out)
