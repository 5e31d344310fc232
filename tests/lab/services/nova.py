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

"""Nova without its computes: API, conductor, scheduler, two cells."""

import pathlib

from tests.lab import processes
from tests.lab.services import service
from tests.lab.services import settings

CONTROL_HOST = 'freemem-control'


def common(state: settings.Settings) -> dict[str, dict[str, object]]:
    """Return the options of every Nova service, the computes included."""
    account = dict(state.account)
    return {
        'DEFAULT': {
            **settings.logging(),
            'transport_url': state.transport_url,
            # The lab waits for heartbeats; each costs a database update.
            'report_interval': 2,
        },
        'glance': {'endpoint_override': state.url('glance')},
        'neutron': {**account, 'endpoint_override': state.url('neutron')},
        'placement': {**account, 'endpoint_override': state.url('placement')},
        'keystone_authtoken': dict(state.token_validation),
        'oslo_messaging_notifications': {'driver': 'noop'},
    }


def configuration_file(state: settings.Settings) -> pathlib.Path:
    """Where the API, the conductor and the scheduler are configured."""
    return state.folder('nova') / 'nova.conf'


def _configuration(state: settings.Settings) -> settings.Ini:
    folder = state.folder('nova')
    content = common(state)
    content['DEFAULT'] |= {
        'host': CONTROL_HOST,
        'my_ip': state.lab.control_address,
        'state_path': folder,
        # A new compute is found at once, not within a minute at random.
        'periodic_fuzzy_delay': 0,
    }
    return content | {
        'api_database': {'connection': state.database('nova_api')},
        'database': {'connection': state.database('nova')},
        'api': {'auth_strategy': 'keystone'},
        'conductor': {'workers': 1},
        'scheduler': {'workers': 1, 'discover_hosts_in_cells_interval': 2},
        'filter_scheduler': {'track_instance_changes': False},
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'wsgi': {'api_paste_config': _paste()},
    }


def _paste() -> pathlib.Path:
    return settings.venv_file('etc/nova/api-paste.ini')


def describe(state: settings.Settings) -> service.Service:
    """Describe the service."""
    configuration = configuration_file(state)
    return service.Service(
        name='nova',
        files={configuration: settings.ini(_configuration(state))},
        prepare=[service.module('nova_manage', str(configuration))],
        daemons=[
            service.wsgi(
                'nova-api',
                'nova.wsgi.osapi_compute',
                state,
                {'OS_NOVA_CONFIG_FILES': f'{_paste()};{configuration}'},
            ),
            _worker('nova-conductor', state),
            _worker('nova-scheduler', state),
        ],
    )


def _worker(name: str, state: settings.Settings) -> processes.Daemon:
    return processes.Daemon(
        name=name,
        argv=[
            settings.program(name),
            f'--config-file={configuration_file(state)}',
        ],
        log=state.log(name),
    )
