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

"""One service of the control plane, and how it is brought up."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib
import sys

import requests

from tests.lab import processes
from tests.lab import steps
from tests.lab.services import settings


@dataclasses.dataclass(frozen=True)
class Service:
    """What a service is made of.

    :param name: what it is called in steps and logs.
    :param files: the content of its configuration files.
    :param prepare: commands that fill its empty databases; run once.
    :param daemons: its processes.
    """

    name: str
    files: Mapping[pathlib.Path, str]
    prepare: Sequence[Sequence[str]]
    daemons: Sequence[processes.Daemon]


def prepare(service: Service, state: settings.Settings) -> None:
    """Write a service's files, and fill its databases if they are new.

    They are filled again, which keeps what is in them, when the lab runs
    from another virtual environment than at the last time.
    """
    for path, content in service.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(content)
    log = state.log(f'{service.name}-manage')
    prepared = state.folder(service.name) / 'prepared-by'
    if _says(prepared, sys.prefix):
        return
    with steps.step(f'create the tables of {service.name}', log):
        for command in service.prepare:
            processes.run(command, log)
    prepared.write_text(sys.prefix)


def start(service: Service) -> None:
    """Start the processes of a service that do not run."""
    steps.in_parallel(*(_starter(daemon) for daemon in service.daemons))


def _says(file: pathlib.Path, text: str) -> bool:
    return file.exists() and file.read_text() == text


def _starter(daemon: processes.Daemon) -> Callable[[], None]:
    def start() -> None:
        if daemon.alive and (daemon.ready is None or daemon.ready()):
            return
        with steps.step(f'start {daemon.name}', daemon.log):
            daemon.start()

    return start


def answers(url: str) -> Callable[[], bool]:
    """Make a check whether an API answers.

    :returns: what is true when a request to it is not an error of its own.
    """

    def check() -> bool:
        try:
            answer = requests.get(url, timeout=10, allow_redirects=False)
        except (requests.ConnectionError, requests.Timeout):
            return False
        return answer.status_code < 500

    return check


def wsgi(
    name: str,
    application: str,
    state: settings.Settings,
    env: Mapping[str, str],
) -> processes.Daemon:
    """Describe the process that serves an API.

    :param name: the service, whose port is in the layout.
    :param application: the module that holds the WSGI application.
    :param env: how the application finds its configuration.
    """
    return processes.Daemon(
        name=name,
        argv=module(
            'wsgi',
            application,
            state.lab.control_address,
            str(state.lab.ports[name]),
        ),
        log=state.log(name),
        env=env,
        ready=answers(state.url(name)),
        ready_seconds=90,
    )


def module(name: str, *arguments: str) -> list[str]:
    """Return the command that runs a module beside this one."""
    top = pathlib.Path(__file__).parents[3]
    python = ['env', f'PYTHONPATH={top}', sys.executable, '-m']
    return [*python, f'{__package__}.{name}', *arguments]
