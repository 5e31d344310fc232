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

"""What the services know of each other, and their configuration files."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import secrets
import sys

from tests.lab import layout

#: Options of a configuration file by section. A sequence is an option that
#: is given several times.
Ini = Mapping[str, Mapping[str, object]]

REGION = 'lab'


@dataclasses.dataclass(frozen=True)
class Settings:
    """The lab's addresses, and the one password all of its accounts have.

    :param lab: where everything is.
    """

    lab: layout.Lab

    @property
    def password(self) -> str:
        """What make_password() made, for this lab alone."""
        return _password_file(self.lab).read_text()

    def url(self, service: str) -> str:
        """Where the API of a service answers."""
        return f'http://{self.lab.control_address}:{self.lab.ports[service]}'

    def database(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""
        server = f'{self.lab.control_address}:{self.lab.ports["mariadb"]}'
        return (
            f'mysql+pymysql://lab:{self.password}@{server}/{name}?charset=utf8'
        )

    @property
    def transport_url(self) -> str:
        """The oslo.messaging URL of the broker."""
        server = f'{self.lab.control_address}:{self.lab.ports["rabbitmq"]}'
        return f'rabbit://lab:{self.password}@{server}/'

    @property
    def account(self) -> Mapping[str, object]:
        """How a service, or the operator, authenticates with keystone.

        All of the lab's services share the administrator's account.
        """
        return {
            'auth_type': 'password',
            'auth_url': f'{self.url("keystone")}/v3',
            'username': 'admin',
            'password': self.password,
            'project_name': 'admin',
            'user_domain_name': 'Default',
            'project_domain_name': 'Default',
            'region_name': REGION,
        }

    @property
    def token_validation(self) -> Mapping[str, object]:
        """The [keystone_authtoken] section of an API."""
        return {
            **self.account,
            'interface': 'public',
            # Who may act beside a user: here, the one account there is.
            'service_token_roles': 'admin',
            'www_authenticate_uri': f'{self.url("keystone")}/v3',
        }

    def folder(self, service: str) -> pathlib.Path:
        """The folder of a service's configuration and data."""
        return self.lab.state / service

    def log(self, process: str) -> pathlib.Path:
        """The log of a process."""
        return self.lab.log / f'{process}.log'


def logging() -> Mapping[str, object]:
    """Send a service's log to its standard error, which the lab keeps."""
    return {'use_stderr': True, 'use_json': False}


def _password_file(lab: layout.Lab) -> pathlib.Path:
    return lab.state / 'password'


def make_password(lab: layout.Lab) -> None:
    """Make the password of a state folder that has none."""
    file = _password_file(lab)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))


def program(name: str) -> str:
    """Find a program of the virtual environment the lab runs in."""
    return str(pathlib.Path(sys.prefix, 'bin', name))


def venv_file(path: str) -> pathlib.Path:
    """Find a file that a service brought into the virtual environment."""
    return pathlib.Path(sys.prefix, path)


def ini(content: Ini) -> str:
    """Write a configuration file that oslo.config reads.

    :param content: options by section.
    """
    lines = []
    for section, options in content.items():
        lines.append(f'[{section}]')
        for option, value in options.items():
            values = [value]
            if isinstance(value, Sequence) and not isinstance(value, str):
                values = list(value)
            lines += [f'{option} = {one}' for one in values]
        lines.append('')
    return '\n'.join(lines)
