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

"""The options, as the sample file and the manual show them."""

import io

from oslo_config import cfg
from oslo_config import generator

from nova_freemem import conf as freemem_conf
from tests import base


class ConfTest(base.ConfTestCase):
    def test_the_sample_file_shows_every_option(self) -> None:
        conf = cfg.ConfigOpts()
        generator.register_cli_opts(conf)
        conf(['--namespace', 'nova_freemem'])
        sample = io.StringIO()
        generator.generate(conf, sample)
        self.assertIn('[freemem]', sample.getvalue())
        for option in freemem_conf.OPTIONS:
            self.assertIn(f'#{option.dest} = ', sample.getvalue())

    def test_every_option_is_explained(self) -> None:
        for option in freemem_conf.OPTIONS:
            choices = getattr(option.type, 'choices', None) or {}
            words = [option.help, *choices.values()]
            self.assertGreater(sum(map(len, words)), 40, option.name)
            self.assertTrue(all(words), option.name)

    def test_every_number_has_bounds_and_its_unit_in_its_name(self) -> None:
        numbers = [
            option
            for option in freemem_conf.OPTIONS
            if isinstance(option.default, int)
            and not isinstance(option.default, bool)
        ]
        self.assertEqual(9, len(numbers))
        for option in numbers:
            self.assertLess(option.type.min, option.type.max, option.name)
            self.assertLessEqual(option.type.min, option.default)
            self.assertLessEqual(option.default, option.type.max)
            self.assertIn(
                option.name.rpartition('_')[2],
                ('percent', 'mib', 'mbps', 'seconds', 'workers'),
            )

    def test_nothing_is_enabled_unless_asked_for(self) -> None:
        conf = self.registered('')
        self.assertFalse(conf.freemem.enabled)

    def test_registering_twice_does_no_harm(self) -> None:
        freemem_conf.register_opts(self.registered(''))
