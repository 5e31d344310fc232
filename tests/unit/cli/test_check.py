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

"""Whether a host is set up, as two commands say it."""

import json
import os
import subprocess
import sys
from typing import Any
from unittest import mock

import fixtures
import requests
import requests_mock
from requests_mock.contrib import fixture as requests_mock_fixture

from nova_freemem import exceptions
from nova_freemem import loader
from nova_freemem.cli import nova
from nova_freemem.cli import setup
from nova_freemem.cli import status
from tests.simulation import fakes
from tests.unit import etc_nova
from tests.unit.cli import base

NODE = 'host1.example.org'
NOVA_CONF = """\
[DEFAULT]
compute_driver = libvirt.LibvirtDriver
[oslo_messaging_notifications]
driver = messagingv2
[placement]
auth_type = none
endpoint_override = http://placement.example.org
"""
DROP_IN = """\
[oslo_messaging_notifications]
driver = freemem
[freemem]
enabled = true
"""
PROVIDERS = 'http://placement.example.org/resource_providers'


class SetupTestCase(base.CommandTestCase):
    """A host on which all is well."""

    def setUp(self) -> None:
        super().setUp()
        self.etc = self.useFixture(etc_nova.EtcNova())
        self.etc.write('nova.conf', NOVA_CONF)
        self.drop_in = self.etc.write(
            'nova-compute.conf.d/freemem.conf', DROP_IN
        )
        self.difference = self.patch_autospec(
            nova, 'difference', return_value=None
        )
        self.placement = self.useFixture(requests_mock_fixture.Fixture())
        self.with_trait([NODE])
        self.without_trait([])

    def with_trait(self, nodes: list[str]) -> None:
        """Have Placement say which of one name have the trait."""
        self.placement.get(
            f'{PROVIDERS}?name={NODE}&required=CUSTOM_NOVA_FREEMEM',
            json={'resource_providers': [{'name': name} for name in nodes]},
        )

    def without_trait(self, nodes: list[str]) -> None:
        """Have Placement say which compute hosts have it not."""
        self.placement.get(
            f'{PROVIDERS}?required=COMPUTE_NODE,!CUSTOM_NOVA_FREEMEM',
            json={'resource_providers': [{'name': name} for name in nodes]},
        )

    def checked(self, *words: str) -> dict[str, tuple[str, str]]:
        """:returns: result and details of each check."""
        self.code = self.run_command('check', '-f', 'json', *words)
        rows = json.loads(self.out)
        self.assertEqual(
            [one.name for one in setup.CHECKS], [row['check'] for row in rows]
        )
        worst = max(
            ('success', 'warning', 'failure').index(row['result'])
            for row in rows
        )
        self.assertEqual(worst, self.code)
        return {row['check']: (row['result'], row['details']) for row in rows}

    def assert_said(
        self, name: str, result: str, words: str, *arguments: str
    ) -> None:
        """One check has this result, and says these words."""
        found = self.checked(*arguments)[name]
        self.assertEqual(result, found[0], found)
        self.assertIn(words, found[1])


class CheckTest(SetupTestCase):
    def test_all_is_well(self) -> None:
        found = self.checked()
        self.assertEqual({'success'}, {result for result, _ in found.values()})
        self.assertEqual(0, self.code)
        self.assertIn(self.drop_in, found['configuration'][1])
        self.assertEqual(
            f'enabled = True ({self.drop_in}). All others have their '
            'defaults.',
            found['options'][1],
        )
        self.assertEqual('', self.err)

    def test_people_get_a_table(self) -> None:
        self.assertEqual(0, self.run_command('check'))
        self.assertRegex(self.out, r'\| trait +\| success +\| host1')

    def test_libvirt_is_the_one_of_nova_compute(self) -> None:
        self.checked()
        self.connect.assert_called_once_with('qemu:///system')
        self.etc.write(
            'nova.conf', f'{NOVA_CONF}[libvirt]\nconnection_uri = qemu:///a\n'
        )
        self.checked()
        self.connect.assert_called_with('qemu:///a')
        self.checked('--uri', 'qemu:///b')
        self.connect.assert_called_with('qemu:///b')

    def test_the_files_that_nova_compute_is_started_with_count(self) -> None:
        first = self.etc.write('first.conf', DROP_IN)
        folder = os.path.dirname(
            self.etc.write('own.d/10.conf', '[freemem]\nmode = before\n')
        )
        last = self.etc.write('last.conf', '[freemem]\nmode = during\n')
        words = ('--config-dir', folder, f'--config-file={last}')
        self.assert_said(
            'options',
            'success',
            f'mode = during ({last})',
            *('--config-file', first),
            *words,
        )
        self.assert_said(
            'options',
            'success',
            f'mode = before ({folder}/10.conf)',
            words[2],
            '--config-file',
            first,
            *words[:2],
        )

    def test_a_plugin_that_is_not_enabled_and_why(self) -> None:
        self.etc.write('nova-compute.conf.d/zz.conf', '[freemem]\nenabled=0\n')
        self.assert_said(
            'enabled', 'warning', f'{self.drop_in}, whose value of enabled'
        )
        self.assertEqual(1, self.code)

    def test_wrong_options(self) -> None:
        for lines, result, words in (
            (
                'mode = slow',
                'failure',
                'mode: Valid values are [auto, before, during]',
            ),
            ('acquire = crystal_ball', 'failure', 'is not installed'),
            ('release = crystal_ball', 'failure', 'is not installed'),
            (
                'release = balloon, guest_reclaim',
                'failure',
                'must be the last',
            ),
            ('treshold = 1', 'warning', 'treshold in '),
        ):
            self.etc.write(
                'nova-compute.conf.d/zz.conf', f'[freemem]\n{lines}'
            )
            self.assert_said('options', result, words)

    def test_an_option_is_said_to_come_from_where_it_is_set(self) -> None:
        last = self.etc.write(
            'nova-compute.conf.d/zz.conf', '[freemem]\nmode = during\n'
        )
        self.useFixture(
            fixtures.EnvironmentVariable('OS_FREEMEM__RECLAIM', 'free')
        )
        words = (
            f'enabled = True ({self.drop_in}); mode = during ({last}); '
            'reclaim = free (OS_FREEMEM__RECLAIM). All others'
        )
        self.assert_said('options', 'success', words)

    def test_two_files_may_set_an_option_before_one_that_does_not(
        self,
    ) -> None:
        first = self.etc.write(
            'nova.conf', f'{NOVA_CONF}[freemem]\nenabled = true\n'
        )
        self.etc.write('nova-compute.conf.d/zz.conf', '[freemem]\nmode=auto\n')
        self.assert_said(
            'options', 'success', f'enabled = True ({first} or {self.drop_in})'
        )

    def test_a_plugin_that_no_notification_driver_names(self) -> None:
        self.etc.write('nova-compute.conf.d/freemem.conf', '')
        self.assert_said('plugin', 'failure', 'driver is messagingv2.')

    def test_a_plugin_that_is_not_installed_or_broken(self) -> None:
        entry_points = self.patch_autospec(
            setup.metadata, 'entry_points', return_value=()
        )
        self.assert_said('plugin', 'failure', 'it is not installed')
        entry_points.return_value = (
            mock.Mock(load=mock.Mock(side_effect=ImportError('x'))),
        )
        self.assert_said('plugin', 'failure', "ImportError('x')")

    def test_a_nova_that_has_changed(self) -> None:
        self.difference.return_value = 'it has no head()'
        self.assert_said('nova', 'failure', 'it has no head()')

    def test_no_nova(self) -> None:
        self.patch_autospec(nova, 'version', return_value=None)
        self.assert_said('nova', 'failure', 'Nova is not in this Python')
        self.difference.assert_not_called()

    def test_guests_without_a_balloon_to_come(self) -> None:
        for value, words in (('0', 'is 0: Nova creates'), ('x', 'not valid')):
            self.etc.write(
                'nova.conf',
                f'{NOVA_CONF}[libvirt]\nmem_stats_period_seconds = {value}\n',
            )
            self.assert_said('statistics period', 'failure', words)

    def test_a_host_whose_nova_compute_has_not_loaded_the_plugin(self) -> None:
        self.with_trait([])
        self.assert_said('trait', 'failure', f'{NODE} has no trait')

    def test_destinations_without_the_plugin(self) -> None:
        self.without_trait(['host3', NODE, 'host2'])
        self.assert_said(
            'destinations',
            'warning',
            '2 compute hosts without CUSTOM_NOVA_FREEMEM: host2,',
        )
        self.etc.write(
            'nova-compute.conf.d/zz.conf',
            '[freemem]\nrequire_destination_trait = false\n',
        )
        self.assert_said('destinations', 'warning', 'keeps less memory')

    def test_a_trait_that_no_host_has(self) -> None:
        self.placement.get(
            f'{PROVIDERS}?required=COMPUTE_NODE,!CUSTOM_NOVA_FREEMEM',
            status_code=400,
        )
        self.placement.get(
            f'{PROVIDERS}?required=COMPUTE_NODE',
            json={'resource_providers': [{'name': 'host2'}]},
            complete_qs=True,
        )
        self.assert_said('destinations', 'warning', 'NOVA_FREEMEM: host2;')

    def test_a_placement_that_does_not_answer(self) -> None:
        for answer, words in (
            ({'exc': requests.ConnectionError}, 'reached'),
            ({'status_code': 503}, 'could not be asked: it answered 503'),
            ({'text': 'a proxy'}, 'answered with no resource providers'),
            ({'json': {'resource_providers': [{}]}}, 'answered with no'),
            ({'status_code': 401}, 'answered 401'),
        ):
            self.placement.get(requests_mock.ANY, **answer)
            self.assert_said('trait', 'warning', words)
            self.assert_said('destinations', 'warning', words)

    def test_nothing_says_where_placement_is(self) -> None:
        self.etc.write('nova.conf', NOVA_CONF.partition('[placement]')[0])
        self.assert_said('trait', 'warning', 'Placement cannot be reached')
        self.etc.write(
            'nova.conf', NOVA_CONF.replace('none', 'no_such_plugin')
        )
        self.assert_said('trait', 'warning', 'Placement cannot be reached')

    def test_guests_with_outstanding_memory(self) -> None:
        self.add_guest()
        self.assert_said('outstanding memory', 'warning', base.UUID)

    def test_guests_whose_balloon_tells_nothing(self) -> None:
        self.add_guest().has_driver = False
        self.add_guest(base.OTHER_UUID)
        self.assert_said(
            'balloon statistics', 'warning', f'in the guest): {base.UUID}'
        )

    def test_a_guest_that_leaves_and_one_that_cannot_be_read(self) -> None:
        for uuid, error in (
            (base.UUID, exceptions.DomainGone),
            (base.OTHER_UUID, exceptions.LibvirtError),
        ):
            self.add_guest(uuid).metadata = None
            self.host.domains[uuid].fault_at[1] = fakes.libvirt_error(
                error, 'no'
            )
        self.assert_said(
            'balloon statistics',
            'warning',
            f'1 of 1 guests. could not be looked at: {base.OTHER_UUID}',
        )

    def test_a_guest_that_migrates_is_not_asked(self) -> None:
        self.add_guest().transferred_kib = 1
        self.assert_said('balloon statistics', 'success', 'have them: 0.')


class NothingToLookAtTest(SetupTestCase):
    def test_no_configuration(self) -> None:
        for path in self.etc.path.rglob('*.conf'):
            path.unlink()
        found = self.checked()
        self.assertEqual(2, self.code)
        self.assertEqual('failure', found['configuration'][0])
        self.assertIn('no file of it is found', found['configuration'][1])
        self.assertEqual(
            ('warning', 'Not checked: see "configuration".'), found['options']
        )
        self.assertEqual('success', found['outstanding memory'][0])

    def test_a_configuration_that_cannot_be_read(self) -> None:
        self.etc.write('nova.conf', 'no section\n')
        self.assert_said(
            'configuration', 'failure', 'nova-compute cannot be read: '
        )
        self.assert_said(
            'configuration',
            'failure',
            '/none. Run this as a user that may',
            '--config-file=/none',
        )

    def test_no_libvirt_or_no_right_to_it(self) -> None:
        self.connect.side_effect = fakes.libvirt_error(
            exceptions.LibvirtError, 'access denied'
        )
        self.assert_said('libvirt', 'failure', 'access denied')
        self.assertEqual(2, self.code)
        self.assert_said(
            'outstanding memory', 'warning', 'Not checked: see "libvirt".'
        )

    def test_a_libvirt_that_ends_meanwhile(self) -> None:
        self.host.fault = fakes.libvirt_error(exceptions.LibvirtError, 'gone')
        for name in ('outstanding memory', 'balloon statistics'):
            self.assert_said(name, 'warning', 'Not checked: libvirt could not')

    def test_wrong_words(self) -> None:
        self.assertEqual(2, self.run_command('check', '--no-such-option'))
        self.connect.assert_not_called()


class StatusTest(SetupTestCase):
    def status(self, *words: str) -> tuple[int, Any]:
        """:returns: the exit code, and what it printed."""
        return self.run_main(status.main, *words), self.out

    def test_the_same_checks_by_the_name_that_operators_know(self) -> None:
        code, printed = self.status('upgrade', 'check')
        self.assertEqual(0, code, printed)
        for one in setup.CHECKS:
            self.assertIn(f'| Check: {one.name} ', printed)

    def test_its_exit_code_is_that_of_the_worst(self) -> None:
        self.without_trait(['host2'])
        self.assertEqual(1, self.status('upgrade', 'check')[0])
        self.with_trait([])
        code, printed = self.status('upgrade', 'check', '--json')
        self.assertEqual(2, code)
        self.assertEqual(
            {
                one['check']: one['result']
                for one in json.loads(printed)['checks']
            },
            {
                one.name: {'destinations': 1, 'trait': 2}.get(one.name, 0)
                for one in setup.CHECKS
            },
        )

    def test_an_error_of_its_own_is_255(self) -> None:
        self.difference.side_effect = TypeError('wrong')
        self.assertEqual(255, self.status('upgrade', 'check')[0])

    def test_it_takes_the_files_of_nova_compute(self) -> None:
        path = self.etc.write('other.conf', NOVA_CONF + DROP_IN)
        _code, printed = self.status(
            '--config-file', path, 'upgrade', 'check', '--json'
        )
        (one,) = (
            one
            for one in json.loads(printed)['checks']
            if one['check'] == 'configuration'
        )
        self.assertIn(path, one['details'])
        code, _printed = self.status('--config-file=/none', 'upgrade', 'check')
        self.assertEqual(2, code)

    def test_wrong_words_are_refused(self) -> None:
        for words in ((), ('downgrade',), ('upgrade', 'check', '--no')):
            self.assertEqual(2, self.status(*words)[0])
        self.connect.assert_not_called()

    def test_help(self) -> None:
        code, printed = self.status('--help')
        self.assertEqual(0, code)
        self.assertIn('--config-file', printed)


class NovaTest(base.CommandTestCase):
    def test_this_nova_is_as_the_plugin_needs_it(self) -> None:
        self.assertRegex(nova.version(), r'^\d+\.')
        self.assertEqual(0, nova.main())

    def test_what_differs_is_printed(self) -> None:
        check = self.patch_autospec(loader, 'check_nova')
        for error, line in (
            (
                exceptions.NovaDiffers(differences='x'),
                'this Nova is not one the plugin can work with: x\n',
            ),
            (ImportError('y'), "it cannot be loaded: ImportError('y')\n"),
        ):
            check.side_effect = error
            self.assertEqual(1, self.run_main(lambda _words: nova.main()))
            self.assertEqual(line, self.out)

    def test_another_process_looks_at_it(self) -> None:
        ended = subprocess.CompletedProcess([], 1, 'one\ntwo\n', 'a warning\n')
        run = self.patch_autospec(nova.subprocess, 'run', return_value=ended)
        self.assertEqual('two', nova.difference())
        self.assertEqual(
            [sys.executable, '-P', '-m', 'nova_freemem.cli.nova'],
            run.call_args.args[0],
        )
        ended.returncode = 0
        self.assertIsNone(nova.difference())
        ended.returncode, ended.stdout, ended.stderr = -9, '', ''
        self.assertIn('ended the process', nova.difference())
        run.side_effect = subprocess.TimeoutExpired('python', 120)
        self.assertIn('timed out after 120', nova.difference())
