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

"""MariaDB, with a data folder, a socket and a port of its own."""

import pathlib

import pymysql

from tests.lab import processes
from tests.lab import steps
from tests.lab.services import settings

NAMES = (
    'keystone',
    'placement',
    'glance',
    'neutron',
    'nova_api',
    'nova_cell0',
    'nova',
)


def _first_statements(state: settings.Settings) -> str:
    """Return what MariaDB runs at each start, however often."""
    lines = [f"CREATE OR REPLACE USER lab IDENTIFIED BY '{state.password}';"]
    for name in NAMES:
        lines.append(
            f'CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3;'
        )
        lines.append(f'GRANT ALL ON {name}.* TO lab;')
    return '\n'.join(lines) + '\n'


def _answers(state: settings.Settings) -> bool:
    try:
        pymysql.connect(
            host=state.lab.control_address,
            port=state.lab.ports['mariadb'],
            user='lab',
            password=state.password,
        ).close()
    except pymysql.OperationalError:
        return False
    return True


def daemon(state: settings.Settings) -> processes.Daemon:
    """Describe the server.

    It may lose its last writes in a crash of the machine: the lab's databases
    are of no use then, and waiting for the disk takes seconds.
    """
    folder = state.folder('mariadb')
    return processes.Daemon(
        name='mariadb',
        argv=[
            '/usr/sbin/mariadbd',
            '--no-defaults',
            '--user=root',
            f'--datadir={_data(state)}',
            f'--tmpdir={_scratch(state)}',
            f'--socket={folder}/socket',
            f'--pid-file={folder}/pid',
            f'--init-file={folder}/first.sql',
            f'--bind-address={state.lab.control_address}',
            f'--port={state.lab.ports["mariadb"]}',
            '--skip-name-resolve',
            '--skip-log-bin',
            '--max-connections=500',
            '--innodb-buffer-pool-size=128M',
            '--innodb-log-file-size=32M',
            '--innodb-flush-method=nosync',
            '--innodb-flush-log-at-trx-commit=0',
            '--innodb-doublewrite=OFF',
        ],
        log=state.log('mariadb'),
        ready=lambda: _answers(state),
        grace_seconds=15,
    )


def _data(state: settings.Settings) -> pathlib.Path:
    return state.folder('mariadb') / 'data'


def _scratch(state: settings.Settings) -> pathlib.Path:
    """Name a folder of its own: a server that starts empties it."""
    return state.folder('mariadb') / 'tmp'


def bring_up(state: settings.Settings) -> None:
    """Make an empty data folder where there is none, and start the server."""
    server = daemon(state)
    if server.alive:
        return
    with steps.step('start mariadb', server.log):
        folder = state.folder('mariadb')
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _scratch(state).mkdir(exist_ok=True)
        statements = folder / 'first.sql'
        statements.touch(mode=0o600)
        statements.write_text(_first_statements(state))
        if not _data(state).exists():
            install = [
                '/usr/bin/mariadb-install-db',
                '--no-defaults',
                '--user=root',
                '--skip-test-db',
                f'--datadir={_data(state)}',
                f'--tmpdir={_scratch(state)}',
            ]
            processes.run(install, server.log)
        server.start()
