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

"""The commands of the lab."""

import argparse
import sys

from cliff import app
from cliff import command
from cliff import commandmanager
import tabulate

from tests.lab import arguments
from tests.lab import cloud as lab_cloud
from tests.lab import debian
from tests.lab import steps


class LabCommand(command.Command):
    """One command: its arguments, and its errors as lines and exit codes."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Accept what preflight accepts."""
        parser = super().get_parser(prog_name)
        parser.description, add = arguments.COMMANDS[self.cmd_name]
        add(parser)
        return parser

    def run(self, request: argparse.Namespace) -> int:
        """Run the command.

        :returns: the exit code: 0; 1 where a step failed; 2 where the
            request was refused.
        """
        self.cloud = lab_cloud.Cloud()
        try:
            return self.take_action(request) or 0
        except steps.Refused as refusal:
            print(refusal, file=sys.stderr)
            return 2
        except steps.LabError as error:
            print(error, file=sys.stderr)
            return 1

    def refuse_unless_up(self) -> None:
        """Refuse the request unless there is a cloud.

        :raises Refused: there is none.
        """
        if not self.cloud.is_up:
            raise steps.Refused('the lab is not up: tools/lab.sh up')


class Up(LabCommand):
    """Bring up what is not up."""

    def take_action(self, request: argparse.Namespace) -> None:
        """Bring up the cloud, and say how to use it."""
        self.cloud.up(
            plugin=request.plugin,
            migration_bandwidth_mbps=request.migration_bandwidth_mbps,
            own_disks=request.own_disks,
        )
        print(f'For the openstack command: . {self.cloud.openrc}')


class Down(LabCommand):
    """End everything that up started, and remove it."""

    def take_action(self, request: argparse.Namespace) -> None:
        """Take the cloud down."""
        self.cloud.down(keep_databases=request.keep_databases)


class Status(LabCommand):
    """Show what runs."""

    def take_action(self, request: argparse.Namespace) -> None:
        """Show processes, plugins and servers."""
        running = self.cloud.status()
        if not running:
            print('The lab is down.')
            return
        _show(
            ('process', 'pid', 'port', 'seconds'),
            [
                (one.name, one.pid, one.port, round(one.seconds))
                for one in running
            ],
        )
        _show(
            ('host', 'plugin'),
            [
                (host, 'enabled' if plugin else 'disabled')
                for host, plugin in self.cloud.plugins.items()
            ],
        )
        if self.cloud.is_up:
            servers = self.cloud.servers()
            _show(
                ('server', 'status', 'host', 'task'),
                [
                    (one.name, one.status, one.compute_host, one.task_state)
                    for one in servers
                ],
            )


class Boot(LabCommand):
    """Create a server, and wait until its guest agent answers."""

    def take_action(self, request: argparse.Namespace) -> None:
        """Boot a server."""
        self.refuse_unless_up()
        self.cloud.boot(
            request.server,
            request.memory_mib,
            reporting=request.reporting,
            host=request.host,
            system=_system(request),
        )


class Fill(LabCommand):
    """Have a guest use its memory."""

    def take_action(self, request: argparse.Namespace) -> None:
        """Fill a guest's memory in one of three ways."""
        self.refuse_unless_up()
        guest = self.cloud.guest(self.cloud.get(request.server))
        with steps.step(f'fill {request.server}'):
            if request.dirty_mib:
                guest.fill_dirty(request.dirty_mib, free=request.free)
            elif request.cache_mib:
                guest.fill_cache(request.cache_mib)
            else:
                guest.fill_fragmented(request.fragmented_mib)


class Migrate(LabCommand):
    """Live-migrate a server."""

    def take_action(self, request: argparse.Namespace) -> None:
        """Migrate a server, and show what Nova recorded."""
        self.refuse_unless_up()
        server = self.cloud.get(request.server)
        self.cloud.migrate(server, to=request.host)
        _show(
            ('event', 'host', 'result'),
            [
                (one.name, one.host, one.result)
                for one in self.cloud.events(server)
            ],
        )


class Execute(LabCommand):
    """Run a command in a guest, through its agent."""

    def take_action(self, request: argparse.Namespace) -> int:
        """Run a command; its exit code is ours."""
        self.refuse_unless_up()
        words = request.argv[request.argv[:1] == ['--'] :]
        guest = self.cloud.guest(self.cloud.get(request.server))
        done = guest.exec(words)
        sys.stdout.write(done.out)
        sys.stderr.write(done.err)
        return done.exit_code


_COMMANDS = {
    'up': Up,
    'down': Down,
    'status': Status,
    'boot': Boot,
    'fill': Fill,
    'migrate': Migrate,
    'exec': Execute,
}


def _system(request: argparse.Namespace) -> debian.Debian | None:
    if request.system == 'small':
        return None
    return debian.Debian(request.suite, request.packages)


def _show(headings: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    print(tabulate.tabulate(rows, headings), end='\n\n')


def run(words: list[str]) -> int:
    """Run one command.

    :param words: its name and its arguments.
    :returns: the exit code.
    """
    manager = commandmanager.CommandManager('nova_freemem.lab')
    for name, factory in _COMMANDS.items():
        manager.add_command(name, factory)
    # Deferred, so that --help after a command's name shows its arguments.
    lab = app.App('A cloud on one machine', '1', manager, deferred_help=True)
    return lab.run(words)
