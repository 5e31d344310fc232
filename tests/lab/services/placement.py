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

"""Placement: what the hosts have and what of it is taken."""

from tests.lab.services import service
from tests.lab.services import settings


def describe(state: settings.Settings) -> service.Service:
    """Describe the service."""
    folder = state.folder('placement')
    content = {
        'DEFAULT': settings.logging(),
        'placement_database': {'connection': state.database('placement')},
        'keystone_authtoken': state.token_validation,
    }
    manage = [
        settings.program('placement-manage'),
        f'--config-dir={folder}',
        'db',
        'sync',
    ]
    return service.Service(
        name='placement',
        files={folder / 'placement.conf': settings.ini(content)},
        prepare=[manage],
        daemons=[
            service.wsgi(
                'placement',
                'placement.wsgi.api',
                state,
                {'OS_PLACEMENT_CONFIG_DIR': str(folder)},
            )
        ],
    )
