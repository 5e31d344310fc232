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

"""RabbitMQ, with an epmd, folders and ports of its own."""

from collections.abc import Mapping

import amqp

from tests.lab import processes
from tests.lab import steps
from tests.lab.services import settings

# Where Erlang nodes find each other. The lab has a single one.
_LOOPBACK = '127.0.0.1'


def _environment(state: settings.Settings) -> Mapping[str, str]:
    folder = state.folder('rabbitmq')
    return {
        'HOME': str(folder),
        'ERL_EPMD_PORT': str(state.lab.ports['epmd']),
        'ERL_EPMD_ADDRESS': _LOOPBACK,
        'RABBITMQ_NODENAME': 'freemem-lab@localhost',
        'RABBITMQ_DIST_PORT': str(state.lab.ports['rabbitmq-distribution']),
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': (
            '-kernel inet_dist_use_interface {127,0,0,1}'
        ),
        'RABBITMQ_CONF_ENV_FILE': str(folder / 'none'),
        'RABBITMQ_CONFIG_FILE': str(folder / 'rabbitmq.conf'),
        'RABBITMQ_ENABLED_PLUGINS_FILE': str(folder / 'enabled_plugins'),
        'RABBITMQ_MNESIA_BASE': str(folder / 'mnesia'),
        'RABBITMQ_LOG_BASE': str(folder / 'log'),
        'RABBITMQ_LOGS': '-',
    }


def _configuration(state: settings.Settings) -> str:
    address, port = state.lab.control_address, state.lab.ports['rabbitmq']
    return (
        f'listeners.tcp.lab = {address}:{port}\n'
        'default_user = lab\n'
        f'default_pass = {state.password}\n'
        'default_user_tags.administrator = true\n'
        'log.console.level = warning\n'
        # Below this many bytes free the broker takes no message any more.
        'disk_free_limit.absolute = 50MB\n'
    )


def _answers(state: settings.Settings) -> bool:
    server = f'{state.lab.control_address}:{state.lab.ports["rabbitmq"]}'
    try:
        with amqp.Connection(
            server, userid='lab', password=state.password, connect_timeout=5
        ):
            return True
    except OSError:
        return False


def daemons(state: settings.Settings) -> tuple[processes.Daemon, ...]:
    """Describe the port mapper and the broker, in the order of their start."""
    environment = _environment(state)
    mapper = processes.Daemon(
        name='epmd',
        argv=['/usr/bin/epmd'],
        log=state.log('epmd'),
        env=environment,
    )
    broker = processes.Daemon(
        name='rabbitmq',
        argv=['/usr/lib/rabbitmq/bin/rabbitmq-server'],
        log=state.log('rabbitmq'),
        env=environment,
        ready=lambda: _answers(state),
        ready_seconds=90,
    )
    return mapper, broker


def bring_up(state: settings.Settings) -> None:
    """Write the broker's configuration and start it."""
    folder = state.folder('rabbitmq')
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = folder / 'rabbitmq.conf'
    configuration.touch(mode=0o600)
    configuration.write_text(_configuration(state))
    (folder / 'enabled_plugins').write_text('[].\n')
    mapper, broker = daemons(state)
    if mapper.alive and broker.alive:
        return
    with steps.step('start rabbitmq', broker.log):
        mapper.start()
        broker.start()
