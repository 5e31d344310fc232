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

"""The configuration of the lab's services."""

import pathlib
import sys

import fixtures
from oslo_config import cfg

from tests import base
from tests.lab import layout
from tests.lab import unreported
from tests.lab.services import glance
from tests.lab.services import keystone
from tests.lab.services import neutron
from tests.lab.services import nova
from tests.lab.services import placement
from tests.lab.services import settings

_DOMAIN = """\
<domain type='qemu'><devices>
<memballoon model='virtio' autodeflate='on' freePageReporting='on'>
<stats period='10'/></memballoon></devices></domain>"""


class SettingsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.lab = layout.Lab(state=path, cache=path)
        settings.make_password(self.lab)
        self.state = settings.Settings(self.lab)

    def test_the_password_is_made_once_and_only_its_owner_reads_it(
        self,
    ) -> None:
        password = self.state.password
        settings.make_password(self.lab)
        self.assertEqual(password, self.state.password)
        self.assertRegex(password, '^[0-9a-f]{32}$')
        mode = (self.lab.state / 'password').stat().st_mode
        self.assertEqual(0o600, mode & 0o777)

    def test_services_know_of_nothing_but_the_lab(self) -> None:
        for module in (keystone, placement, glance, neutron, nova):
            for path, content in module.describe(self.state).files.items():
                with self.subTest(file=path.name):
                    self.assertTrue(path.is_relative_to(self.lab.state))
                    self.assertNotIn('localhost', content)
                    self.assertNotIn(' /etc/', content)
                    self.assertNotIn(' /var/', self._without_venv(content))

    def _without_venv(self, content: str) -> str:
        return content.replace(f' {sys.prefix}/', ' ')

    def test_each_service_has_its_own_port_at_the_labs_address(self) -> None:
        urls = [self.state.url(name) for name in layout.PORTS]
        self.assertEqual(len(layout.PORTS), len(set(urls)))
        for url in urls:
            self.assertTrue(url.startswith('http://198.18.76.1:'), url)


class IniTest(base.TestCase):
    def test_oslo_config_reads_what_is_written(self) -> None:
        content = {
            'DEFAULT': {'one': True, 'two': pathlib.Path('/a/b')},
            'more': {'several': ['x', 'y'], 'empty': ''},
        }
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        (folder / 'a.conf').write_text(settings.ini(content))
        conf = cfg.ConfigOpts()
        conf.register_opts([cfg.BoolOpt('one'), cfg.StrOpt('two')])
        several, empty = cfg.MultiStrOpt('several'), cfg.StrOpt('empty')
        conf.register_opts([several, empty], 'more')
        conf([], default_config_files=[str(folder / 'a.conf')])
        self.assertTrue(conf.one)
        self.assertEqual('/a/b', conf.two)
        self.assertEqual(['x', 'y'], conf.more.several)
        self.assertEqual('', conf.more.empty)


class UnreportedTest(base.TestCase):
    def test_the_balloon_is_as_nova_31_made_it(self) -> None:
        self.assertEqual(
            _DOMAIN.replace(
                " autodeflate='on' freePageReporting='on'", ''
            ).replace("'", '"'),
            unreported.without(_DOMAIN),
        )
