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

"""Keystone: fernet tokens, and one administrator."""

import base64
import pathlib
import secrets

from tests.lab.services import service
from tests.lab.services import settings


def describe(state: settings.Settings) -> service.Service:
    """Describe the service."""
    folder = state.folder('keystone')
    configuration = folder / 'keystone.conf'
    # As two words: keystone-manage looks for the option by its name.
    manage = [
        settings.program('keystone-manage'),
        '--config-file',
        str(configuration),
    ]
    url = f'{state.url("keystone")}/v3'
    bootstrap = [
        'bootstrap',
        f'--bootstrap-password={state.password}',
        f'--bootstrap-public-url={url}',
        f'--bootstrap-region-id={settings.REGION}',
    ]
    return service.Service(
        name='keystone',
        files={
            configuration: settings.ini(
                {
                    'DEFAULT': settings.logging(),
                    'database': {'connection': state.database('keystone')},
                    # The lab's password is 128 random bits; a slow hash of it
                    # would cost a third of a second at each login.
                    'identity': {'password_hash_rounds': 4},
                    'token': {'provider': 'fernet', 'expiration': 86400},
                    'fernet_tokens': {'key_repository': _keys(state)},
                    'fernet_receipts': {'key_repository': _keys(state)},
                }
            )
        },
        prepare=[[*manage, 'db_sync'], [*manage, *bootstrap]],
        daemons=[
            service.wsgi(
                'keystone',
                'keystone.wsgi.api',
                state,
                {'OS_KEYSTONE_CONFIG_FILES': str(configuration)},
            )
        ],
    )


def make_keys(state: settings.Settings) -> None:
    """Make the fernet keys, as ``keystone-manage fernet_setup`` does.

    Key 1 signs, key 0 would be the next to; written here, they do not cost
    the seconds that the command takes to start.
    """
    folder = _keys(state)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in ('0', '1'):
        key = folder / number
        if not key.exists():
            key.touch(mode=0o600)
            key.write_bytes(base64.urlsafe_b64encode(secrets.token_bytes(32)))


def _keys(state: settings.Settings) -> pathlib.Path:
    return state.folder('keystone') / 'fernet-keys'
