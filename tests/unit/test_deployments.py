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

"""What the manual says to write enables the plugin, as each tool has it read.

The snippets go through the rules by which the tool makes files of them, and
through oslo.config.
"""

from collections.abc import Iterator
import fnmatch
import pathlib
import re
import textwrap
from typing import Any

from oslo_config import cfg
from oslo_config import iniparser
import yaml

from tests import base
from tests.unit import etc_nova

TREE = pathlib.Path(__file__).parents[2]
MANUAL = TREE / 'doc/source'

DROP_IN = 'nova-compute.conf.d/freemem.conf'

#: What a deployment tool has written, where a service takes notifications.
NOTIFYING = """\
[oslo_messaging_notifications]
transport_url = rabbit://192.0.2.1
driver = messagingv2
topics = notifications
"""

Values = dict[str, dict[str, list[str]]]


def snippets(page: str, section: str, language: str) -> list[str]:
    """:returns: the examples in a section of a page of the manual."""
    text = (MANUAL / page).read_text()
    _, found, rest = text.partition(f'\n{section}\n{"=" * len(section)}\n')
    assert found, section
    rest = re.split(r'\n\S.*\n===+\n', rest)[0]
    return [
        textwrap.dedent(re.sub(r'\A(   :.*\n)+', '', block)).lstrip('\n')
        for block in re.findall(
            rf'^\.\. code-block:: {language}\n((?:   .*\n|\n)+)',
            rest,
            re.MULTILINE,
        )
    ]


class Merged(iniparser.BaseParser):
    """Files merged by key, as Kolla Ansible's ``merge_configs`` does it.

    All lines of a key in one file replace all those in the files before.

    :ivar values: what they make together
    """

    def __init__(self, *texts: str) -> None:
        super().__init__()
        self.values: Values = {}
        for text in texts:
            self._of_this: Values = {}
            self.parse(text.splitlines(keepends=True))
            for section, options in self._of_this.items():
                self.values.setdefault(section, {}).update(options)

    def new_section(self, section: str) -> None:
        """See :meth:`iniparser.BaseParser.new_section`."""
        self._options = self._of_this.setdefault(section, {})

    def assignment(self, key: str, value: list[str]) -> None:
        """See :meth:`iniparser.BaseParser.assignment`."""
        self._options.setdefault(key, []).append('\n'.join(value))


def overridden(text: str, overrides: dict[str, dict[str, Any]]) -> Values:
    """Override a file as OpenStack-Ansible's ``config_template`` does it.

    A mapping makes a line of each of its keys, a list makes one line.
    """
    values = Merged(text).values
    for section, options in overrides.items():
        for key, value in options.items():
            lines = (
                list(value)
                if isinstance(value, dict)
                else [','.join(value)]
                if isinstance(value, list)
                else [str(value)]
            )
            values.setdefault(section, {})[key] = lines
    return values


def as_ini(values: Values) -> str:
    """:returns: the file."""
    lines: list[str] = []
    for section, options in values.items():
        lines.append(f'[{section}]')
        lines += (
            f'{key} = {value}'
            for key, several in options.items()
            for value in several
        )
    return '\n'.join([*lines, ''])


class DeploymentTestCase(base.TestCase):
    #: A page of the manual, and a section of it.
    PAGE = 'install/deployments.rst'
    SECTION: str

    def setUp(self) -> None:
        super().setUp()
        self.etc = self.useFixture(etc_nova.EtcNova())

    def snippets(self, language: str = 'ini') -> list[str]:
        """:returns: the examples of the section."""
        return snippets(self.PAGE, self.SECTION, language)

    def start(self, *argv: str) -> cfg.ConfigOpts:
        """:returns: what nova-compute reads."""
        conf = self.etc.start(*argv)
        conf.register_opt(
            cfg.MultiStrOpt('driver'), group='oslo_messaging_notifications'
        )
        return conf

    def assert_enabled(self, conf: cfg.ConfigOpts, *others: str) -> None:
        """The plugin is loaded and enabled; other drivers are as before."""
        self.assertEqual(
            sorted(['freemem', *others]),
            sorted(conf.oslo_messaging_notifications.driver),
        )
        self.assertTrue(conf.freemem.enabled)


class PlainTest(DeploymentTestCase):
    SECTION = 'Packages of Debian, Ubuntu and RDO'

    def test_the_same_lines_are_on_each_page(self) -> None:
        (lines,) = self.snippets()
        (again,) = snippets('install/install.rst', 'Enable the plugin', 'ini')
        self.assertEqual(lines, again)
        readme = (TREE / 'README.rst').read_text()
        self.assertIn(
            textwrap.indent(lines.replace('\n\n', '\n'), ' ' * 4), readme
        )

    def test_rdo_starts_it_without_arguments(self) -> None:
        self.etc.write('nova.conf', NOTIFYING)
        self.etc.write(DROP_IN, self.snippets()[0])
        self.assert_enabled(self.start(), 'messagingv2')

    def test_debian_and_ubuntu_name_two_files(self) -> None:
        self.etc.write(DROP_IN, self.snippets()[0])
        self.assert_enabled(
            self.start(
                f'--config-file={self.etc.write("nova.conf", NOTIFYING)}',
                f'--config-file={self.etc.write("nova-compute.conf", "")}',
            ),
            'messagingv2',
        )


class DevStackTest(DeploymentTestCase):
    SECTION = 'Enable the plugin'
    PAGE = 'install/install.rst'

    def test_nova_cpu_conf_is_read_besides_the_drop_in(self) -> None:
        self.etc.write(DROP_IN, self.snippets()[0])
        conf = self.start(
            '--config-file',
            self.etc.write('nova-cpu.conf', '[freemem]\nmode = before\n'),
        )
        self.assert_enabled(conf)
        self.assertEqual('before', conf.freemem.mode)


class KollaAnsibleTest(DeploymentTestCase):
    SECTION = 'Kolla Ansible'

    def merged(self, override: str) -> cfg.ConfigOpts:
        """:returns: what nova-compute reads in its container."""
        values = Merged(NOTIFYING, override).values
        self.etc.write('nova.conf', as_ini(values))
        return self.start()

    def test_the_override_file(self) -> None:
        _build, override = self.snippets()
        self.assert_enabled(self.merged(override), 'messagingv2')

    def test_with_one_line_alone_notifications_would_end(self) -> None:
        _build, override = self.snippets()
        lacking = override.replace('driver = messagingv2\n', '')
        self.assert_enabled(self.merged(lacking))


class OpenStackAnsibleTest(DeploymentTestCase):
    SECTION = 'OpenStack-Ansible'

    def overridden(self, drivers: Any = None) -> cfg.ConfigOpts:
        """:returns: what nova-compute reads."""
        (text,) = self.snippets('yaml')
        overrides = yaml.safe_load(text)['nova_nova_conf_overrides']
        if drivers is not None:
            overrides['oslo_messaging_notifications']['driver'] = drivers
        self.etc.write('nova.conf', as_ini(overridden(NOTIFYING, overrides)))
        return self.start()

    def test_the_overrides(self) -> None:
        self.assert_enabled(self.overridden(), 'messagingv2')

    def test_a_list_would_name_no_driver(self) -> None:
        conf = self.overridden(['messagingv2', 'freemem'])
        self.assertEqual(
            ['messagingv2,freemem'], conf.oslo_messaging_notifications.driver
        )


class OpenStackOnKubernetesTest(DeploymentTestCase):
    SECTION = 'OpenStack on Kubernetes'

    def files(self) -> Iterator[tuple[str, str]]:
        """:returns: the files that get into the container."""
        (text,) = self.snippets('yaml')
        for name, content in yaml.safe_load(text)['data'].items():
            if fnmatch.fnmatch(name, '*nova*.conf'):
                yield name, content

    def test_the_config_map(self) -> None:
        self.etc.write('nova.conf', '')
        self.etc.write('nova.conf.d/01-nova.conf', NOTIFYING)
        for name, content in self.files():
            self.etc.write(f'nova.conf.d/{name}', content)
        self.assert_enabled(self.start(), 'messagingv2')
