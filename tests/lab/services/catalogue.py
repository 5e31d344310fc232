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

"""Where the APIs are: keystone's catalogue, and the operator's openrc."""

import pathlib

from openstack import connection

from tests.lab.services import settings

#: What the operator's commands and the lab ask Nova for.
COMPUTE_MICROVERSION = '2.96'

# The type of each service in the catalogue, its name, its API's path.
_ENTRIES = (
    ('compute', 'nova-api', '/v2.1'),
    ('image', 'glance', ''),
    ('network', 'neutron', ''),
    ('placement', 'placement', ''),
)


def connect(state: settings.Settings) -> connection.Connection:
    """Connect to the cloud as its administrator."""
    account = dict(state.account)
    return connection.Connection(
        auth_type=account.pop('auth_type'),
        region_name=account.pop('region_name'),
        auth=account,
        compute_default_microversion=COMPUTE_MICROVERSION,
        # The lab's own answer is in milliseconds, or something is wrong.
        api_timeout=60,
    )


def register(state: settings.Settings) -> None:
    """Enter the services that keystone does not know yet."""
    with connect(state) as cloud:
        known = {one.type for one in cloud.identity.services()}
        for kind, name, path in _ENTRIES:
            if kind in known:
                continue
            entry = cloud.identity.create_service(type=kind, name=name)
            cloud.identity.create_endpoint(
                service_id=entry.id,
                interface='public',
                region_id=settings.REGION,
                url=state.url(name) + path,
            )


def environment(state: settings.Settings) -> dict[str, str]:
    """Return what the openstack command reads from its environment."""
    variables = {
        f'OS_{option.upper()}': str(value)
        for option, value in state.account.items()
    }
    return variables | {
        'OS_IDENTITY_API_VERSION': '3',
        'OS_COMPUTE_API_VERSION': COMPUTE_MICROVERSION,
    }


def write_openrc(state: settings.Settings) -> pathlib.Path:
    """Write the file that the operator sources before ``openstack``.

    :returns: its path.
    """
    file = openrc(state)
    lines = [
        f'export {name}={value}\n'
        for name, value in environment(state).items()
    ]
    file.touch(mode=0o600)
    file.write_text(''.join(lines))
    return file


def openrc(state: settings.Settings) -> pathlib.Path:
    """Where the operator's environment file is."""
    return state.lab.state / 'openrc'
