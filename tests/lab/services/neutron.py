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

"""Neutron's API alone: Nova asks it about the ports of guests without any.

No mechanism driver, no agent, no network: the lab's guests are created with
``--nic none``, and listing their ports has to work all the same.
"""

from tests.lab.services import service
from tests.lab.services import settings


def describe(state: settings.Settings) -> service.Service:
    """Describe the service."""
    folder = state.folder('neutron')
    configuration = folder / 'neutron.conf'
    content = {
        'DEFAULT': {
            **settings.logging(),
            'core_plugin': 'ml2',
            'service_plugins': '',
            'auth_strategy': 'keystone',
            'transport_url': state.transport_url,
            'api_paste_config': settings.venv_file(
                'etc/neutron/api-paste.ini'
            ),
            'state_path': folder,
            'notify_nova_on_port_status_changes': False,
            'notify_nova_on_port_data_changes': False,
        },
        'ml2': {
            'mechanism_drivers': '',
            'type_drivers': 'flat',
            'project_network_types': '',
        },
        'database': {'connection': state.database('neutron')},
        'keystone_authtoken': state.token_validation,
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'oslo_messaging_notifications': {'driver': 'noop'},
    }
    manage = [
        settings.program('neutron-db-manage'),
        f'--config-file={configuration}',
        'upgrade',
        'heads',
    ]
    return service.Service(
        name='neutron',
        files={configuration: settings.ini(content)},
        prepare=[manage],
        daemons=[
            service.wsgi(
                'neutron',
                'neutron.wsgi.api',
                state,
                {'OS_NEUTRON_CONFIG_FILES': str(configuration)},
            )
        ],
    )
