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

"""What nova-api loads of the plugin, and what it is worth."""

import ast
import inspect

from nova.api.validation.extra_specs import validators
from oslo_config import types

from nova_freemem import conf as freemem_conf
from nova_freemem import extra_specs
from nova_freemem import policy
from tests import base

OPTIONS = {option.dest: option.type for option in freemem_conf.OPTIONS}


class ExtraSpecsTest(base.TestCase):
    def test_nova_api_has_one_for_each_setting_of_a_flavor(self) -> None:
        self.assertEqual(
            [f'freemem:{name}' for name in policy.FLAVOR_SETTINGS],
            [one.name for one in extra_specs.register()],
        )
        for one in extra_specs.register():
            self.assertIs(one, validators.VALIDATORS[one.name])
            self.assertTrue(one.description)

    def test_they_have_the_bounds_of_the_options(self) -> None:
        for one in extra_specs.register():
            option = OPTIONS[one.name.removeprefix('freemem:')]
            value = dict(one.value)
            del value['description']
            if isinstance(option, types.Boolean):
                expected = {'type': bool}
            elif isinstance(option, types.Integer):
                expected = {
                    'type': int,
                    'min': option.min,
                    'max': option.max,
                }
            else:
                expected = {'type': str, 'enum': list(option.choices)}
            self.assertEqual(expected, value, one.name)

    def test_no_error_in_the_rest_of_the_plugin_reaches_nova_api(
        self,
    ) -> None:
        tree = ast.parse(inspect.getsource(extra_specs))
        self.assertEqual(
            ['__future__', 'nova.api.validation.extra_specs'],
            [
                node.module if isinstance(node, ast.ImportFrom) else None
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
            ],
        )
