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

"""What Horizon offers for flavors and images, from Glance's catalogue."""

import json
import pathlib
import sqlite3
import subprocess
import sys
from typing import Any

import fixtures
from oslo_config import types

from nova_freemem import conf as freemem_conf
from nova_freemem import policy
from tests import base

METADEFS = pathlib.Path(__file__).parents[2] / 'etc/metadefs'

OPTIONS = {option.dest: option.type for option in freemem_conf.OPTIONS}

# The tables as "glance-manage db_sync" leaves them, which takes longer.
LOAD = """
import sys
import sqlalchemy
from glance.cmd import manage
from glance.db.sqlalchemy import models_metadef

database, folder = sys.argv[1:]
models_metadef.register_models(sqlalchemy.create_engine(database))
with open("glance.conf", "w") as conf:
    conf.write(f"[database]\\nconnection = {database}\\n")
words = ["--config-file", "glance.conf", "db_load_metadefs", folder]
sys.argv = ["glance-manage", *words]
sys.exit(manage.main())
"""

LOADED = """
SELECT namespaces.namespace, types.name, associations.prefix, properties.name
FROM metadef_namespaces AS namespaces
JOIN metadef_namespace_resource_types AS associations
    ON associations.namespace_id = namespaces.id
JOIN metadef_resource_types AS types
    ON types.id = associations.resource_type_id
JOIN metadef_properties AS properties
    ON properties.namespace_id = namespaces.id
"""


def read(name: str) -> Any:
    """:returns: what one of the files has."""
    return json.loads((METADEFS / f'nova-freemem-{name}.json').read_text())


class MetadefsTest(base.TestCase):
    def test_they_have_the_settings_that_count(self) -> None:
        for name, settings in (
            ('flavor', policy.FLAVOR_SETTINGS),
            ('image', policy.IMAGE_SETTINGS),
        ):
            self.assertEqual(settings, tuple(read(name)['properties']))

    def test_they_have_the_bounds_of_the_options(self) -> None:
        for name in ('flavor', 'image'):
            for setting, property_ in read(name)['properties'].items():
                option = OPTIONS[setting]
                if isinstance(option, types.Boolean):
                    expected = {'type': 'boolean'}
                elif isinstance(option, types.Integer):
                    expected = {
                        'type': 'integer',
                        'minimum': option.min,
                        'maximum': option.max,
                    }
                else:
                    expected = {
                        'type': 'string',
                        'enum': list(option.choices),
                    }
                for text in ('title', 'description'):
                    self.assertTrue(property_.pop(text))
                self.assertEqual(expected, property_, setting)

    def test_glance_loads_them(self) -> None:
        folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        file = folder / 'glance.sqlite'
        done = subprocess.run(
            [sys.executable, '-c', LOAD, f'sqlite:///{file}', METADEFS],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(0, done.returncode, done.stdout)
        with sqlite3.connect(file) as database:
            loaded = set(database.execute(LOADED))
        flavor, image = (
            'OS::Compute::NovaFreemem',
            'OS::Compute::NovaFreememImage',
        )
        self.assertEqual(
            {
                (flavor, 'OS::Nova::Flavor', policy.FLAVOR_PREFIX, name)
                for name in policy.FLAVOR_SETTINGS
            }
            | {
                (image, resource, policy.IMAGE_PREFIX, name)
                for name in policy.IMAGE_SETTINGS
                for resource in ('OS::Glance::Image', 'OS::Cinder::Volume')
            },
            loaded,
        )
