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

"""Glance: kernel, ramdisk and disk of the guests, in a folder."""

import pathlib

from tests.lab.services import service
from tests.lab.services import settings


def describe(state: settings.Settings) -> service.Service:
    """Describe the service."""
    folder = state.folder('glance')
    configuration = folder / 'glance-api.conf'
    paste = settings.venv_file('etc/glance/glance-api-paste.ini')
    content = {
        'DEFAULT': {
            **settings.logging(),
            'enabled_backends': 'files:file',
            'enabled_import_methods': '[]',
            'worker_self_reference_url': state.url('glance'),
        },
        'database': {'connection': state.database('glance')},
        'glance_store': {'default_backend': 'files'},
        'files': _store(folder / 'images'),
        'os_glance_staging_store': _store(folder / 'staging'),
        'os_glance_tasks_store': _store(folder / 'tasks'),
        'keystone_authtoken': state.token_validation,
        'paste_deploy': {'flavor': 'keystone', 'config_file': paste},
        'oslo_messaging_notifications': {'driver': 'noop'},
    }
    manage = [
        settings.program('glance-manage'),
        f'--config-file={configuration}',
        'db_sync',
    ]
    return service.Service(
        name='glance',
        files={configuration: settings.ini(content)},
        prepare=[manage],
        daemons=[
            service.wsgi(
                'glance',
                'glance.wsgi.api',
                state,
                {'OS_GLANCE_CONFIG_DIR': str(folder)},
            )
        ],
    )


def _store(folder: pathlib.Path) -> dict[str, object]:
    return {'filesystem_store_datadir': folder}
