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

"""The plugin follows what Nova follows, however nova-compute is started.

Each configuration here is read by oslo.config itself, as nova-compute has it
read: with the plugin's options registered afterwards. What they are to be is
what Nova's own options would be in the same places.
"""

from collections.abc import Mapping
import os
from typing import Any
from unittest import mock

import fixtures
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from oslo_config import cfg
import requests_mock

from nova_freemem import conf as freemem_conf
from tests import base
from tests.unit import etc_nova
from tests.unit.etc_nova import NOVAS

#: The option whose value tells which place has won.
OPTION = 'headroom_percent'

#: How the files below are read by default, the last one winning.
DEFAULT_FILES = [
    'nova.conf',
    'nova-compute.conf',
    'nova.conf.d/10.conf',
    'nova-compute.conf.d/freemem.conf',
]


def both(lines: str) -> str:
    """:returns: lines of the plugin's group, and of Nova's own options."""
    return f'[{freemem_conf.GROUP}]\n{lines}\n[{NOVAS}]\n{lines}\n'


def novas_own(conf: cfg.ConfigOpts, option: cfg.Opt) -> Any:
    """:returns: what Nova reads; None where it would end."""
    try:
        return conf[NOVAS][option.dest]
    except (ValueError, cfg.NoSuchOptError):
        return None


def ours(conf: cfg.ConfigOpts, option: cfg.Opt) -> Any:
    """:returns: what the plugin reads; None where it would be off."""
    value = freemem_conf.read(conf, option)
    return None if isinstance(value, freemem_conf.WrongValue) else value


class CommandLineTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.etc = self.useFixture(etc_nova.EtcNova())

    def assert_followed(self, expected: int, conf: cfg.ConfigOpts) -> None:
        """Nova and the plugin have read one value."""
        self.assertEqual(expected, conf[NOVAS][OPTION])
        self.assertEqual(expected, conf.freemem[OPTION])

    def assert_order(
        self, files: list[str], *argv: str, **kwargs: Any
    ) -> None:
        """Of these files each one wins over those before it.

        :param files: those that are read, in their order
        :param argv: the command line
        """
        for number, name in enumerate(files, 10):
            self.etc.write(name, both(f'{OPTION} = {number}'))
            conf = self.etc.start(*argv, **kwargs)
            self.assert_followed(number, conf)
        for number, name in reversed(list(enumerate(files, 10))):
            self.assert_followed(number, self.etc.start(*argv, **kwargs))
            self.etc.write(name, '')


class CommandLinesTest(CommandLineTestCase):
    def test_devstack(self) -> None:
        self.assert_order(
            ['nova-compute.conf.d/freemem.conf', 'nova-cpu.conf'],
            '--config-file',
            self.etc.write('nova-cpu.conf', ''),
        )

    def test_kolla_ansible_and_openstack_ansible_start_it_bare(self) -> None:
        self.assert_order(DEFAULT_FILES)

    def test_openstack_k8s_operators(self) -> None:
        self.assert_order(
            [
                'nova.conf',
                'nova.conf.d/01-nova.conf',
                'nova.conf.d/25-nova-freemem.conf',
            ]
        )

    def test_packages_of_debian_and_ubuntu(self) -> None:
        self.assert_order(
            [
                'nova.conf.d/10.conf',
                'nova-compute.conf.d/freemem.conf',
                'nova.conf',
                'nova-compute.conf',
            ],
            f'--config-file={self.etc.write("nova.conf", "")}',
            f'--config-file={self.etc.write("nova-compute.conf", "")}',
            '--log-file=/var/log/nova/nova-compute.log',
        )

    def test_packages_of_rdo(self) -> None:
        # Their oslo.config has one more default file.
        files = ['nova-dist.conf', *DEFAULT_FILES]
        self.assert_order(
            files,
            default_config_files=[
                self.etc.write(name, '') for name in files[:3]
            ],
        )

    def test_several_directories_and_a_file_after_them(self) -> None:
        folders = [f'{number}.d' for number in range(5)]
        for folder in folders:
            self.etc.write(f'{folder}/10.conf', '')
        argv = [f'--config-dir={{etc}}/{folder}' for folder in folders]
        self.assert_order(
            [*(f'{folder}/10.conf' for folder in folders), 'last.conf'],
            *argv,
            '--config-file',
            self.etc.write('last.conf', ''),
        )

    def test_files_before_and_after_directories(self) -> None:
        self.assert_order(
            ['a.conf', 'b.d/10.conf', 'b.d/20.conf', 'c.conf', 'd.d/10.conf'],
            *('--config-file', self.etc.write('a.conf', '')),
            *('--config-dir', os.path.dirname(self.etc.write('b.d/x', ''))),
            *('--config-file', self.etc.write('c.conf', '')),
            *('--config-dir', os.path.dirname(self.etc.write('d.d/x', ''))),
        )

    def test_a_directory_and_the_default_files(self) -> None:
        self.etc.write('nova-compute.conf.d/freemem.conf', both('not read'))
        self.assert_order(
            ['nova.conf', 'nova-compute.conf', 'own.d/freemem.conf'],
            '--config-dir',
            os.path.dirname(self.etc.write('own.d/freemem.conf', '')),
        )

    def test_no_file_at_all(self) -> None:
        self.assert_followed(12, self.etc.start())


class OtherSourcesTest(CommandLineTestCase):
    def test_an_environment_variable_wins_over_all_files(self) -> None:
        for name in DEFAULT_FILES:
            self.etc.write(name, both(f'{OPTION} = 7'))
        for group in (freemem_conf.GROUP, NOVAS):
            self.useFixture(
                fixtures.EnvironmentVariable(
                    f'OS_{group.upper()}__{OPTION.upper()}', '8'
                )
            )
        self.assert_followed(8, self.etc.start())

    def test_a_source_that_is_no_file(self) -> None:
        self.etc.write(
            'nova.conf',
            '[DEFAULT]\nconfig_source = elsewhere\n'
            '[elsewhere]\ndriver = remote_file\n'
            'uri = https://192.0.2.1/nova.conf\n',
        )
        with requests_mock.Mocker() as web:
            web.get('https://192.0.2.1/nova.conf', text=both(f'{OPTION} = 9'))
            conf = self.etc.start()
        self.assert_followed(9, conf)

    def test_a_value_that_refers_to_an_option_of_novas(self) -> None:
        self.etc.write(
            'nova.conf',
            f'[{NOVAS}]\n{OPTION} = 9\n'
            f'[{freemem_conf.GROUP}]\n{OPTION} = ${NOVAS}.{OPTION}\n',
        )
        self.assert_followed(9, self.etc.start())


#: Where lines may stand; those in no default place are read if asked for.
PLACES = [
    'nova.conf',
    'nova-compute.conf',
    'nova.conf.d/10.conf',
    'nova.conf.d/20.conf',
    'nova-compute.conf.d/10.conf',
    'one.conf',
    'two.conf',
    'one.d/10.conf',
    'one.d/20.conf',
    'two.d/10.conf',
]
ARGUMENTS = [
    '--config-file={etc}/nova.conf',
    '--config-file={etc}/one.conf',
    '--config-file={etc}/two.conf',
    '--config-dir={etc}/one.d',
    '--config-dir={etc}/two.d',
    '--config-dir={etc}/nova.conf.d',
]
#: Right and wrong ones for any option.
VALUES = ['true', 'false', '7', '50', '0', '-1', 'before', 'free', '', '$no']

lines = st.dictionaries(
    st.sampled_from([option.dest for option in freemem_conf.OPTIONS]),
    st.sampled_from(VALUES),
    max_size=4,
)
layouts = st.dictionaries(st.sampled_from(PLACES), lines, max_size=6)


class AnyLayoutTest(CommandLineTestCase):
    def write(self, layout: Mapping[str, Mapping[str, str]]) -> None:
        for place in PLACES:
            text = [
                f'{option} = {value}'
                for option, value in layout.get(place, {}).items()
            ]
            self.etc.write(place, both('\n'.join(text)))

    def assert_followed_throughout(self, conf: cfg.ConfigOpts) -> None:
        for option in freemem_conf.OPTIONS:
            self.assertEqual(
                novas_own(conf, option), ours(conf, option), option.dest
            )

    @settings(max_examples=40)
    @given(
        layouts,
        st.lists(st.sampled_from(ARGUMENTS), max_size=5),
        lines,
        layouts,
    )
    def test_an_option_is_what_novas_own_would_be(
        self,
        layout: Mapping[str, Mapping[str, str]],
        argv: list[str],
        variables: Mapping[str, str],
        changed: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.write(layout)
        environment = {
            f'OS_{group.upper()}__{option.upper()}': value
            for option, value in variables.items()
            for group in (freemem_conf.GROUP, NOVAS)
        }
        with mock.patch.dict(os.environ, environment):
            conf = self.etc.start(*argv)
            self.assert_followed_throughout(conf)
            self.write(changed)
            conf.mutate_config_files()
            self.assert_followed_throughout(conf)
