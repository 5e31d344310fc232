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

"""What the lab and the demo refuse, and how they say why."""

from collections.abc import Callable
import contextlib
import io
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
from unittest import mock

import ddt

from tests import base
from tests.lab import arguments
from tests.lab import cli
from tests.lab import errors
from tests.lab import machine
from tests.lab import preflight

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="{}"\n'
MEMINFO = 'MemTotal: 9000000 kB\nMemAvailable: 8388608 kB\nHugePages: 0\n'
ROUTES = (
    'Iface Destination Gateway Flags RefCnt Use Metric Mask MTU\n'
    'eth0 00000000 010011AC 0003 0 0 0 00000000 0\n'
    '{} {} 00000000 0001 0 0 0 00FFFFFF 0\n'
)
OURS, NOT_OURS = '004C12C6', '004B12C6'  # 198.18.76.0 and 198.18.75.0.


@ddt.ddt
class ArgumentsTest(base.TestCase):
    """The arguments of a command."""

    @ddt.unpack
    @ddt.data(
        ('', 'tools/lab.sh: the following arguments are required: COMMAND'),
        ('fly', "invalid choice: 'fly' (choose from"),
        ('demo --link fast', "tools/demo.sh: argument --link: 'fast'"),
        ('demo --link 5', '5 is not between 10 and 34000 Mbit/s (or none)'),
        ('demo --memory 1e3', "--memory: '1e3' is not a whole number"),
        ('demo --memory 512', '512 is not between 1024 and 65536 MiB'),
        ('boot a --memory 64', '64 is not between 256 and 65536 MiB'),
        ('demo --json /nowhere/x', '--json: /nowhere/x cannot be written'),
        ('demo --json /', '--json: / cannot be written'),
        ('demo --png /', '--png: / cannot be written'),
        ('demo now', 'tools/demo.sh: unrecognized arguments: now'),
        ('boot', 'tools/lab.sh boot: the following arguments are required'),
        ('boot a --system windows', "invalid choice: 'windows'"),
        ('boot a --suite sid', "invalid choice: 'sid' (choose from"),
        ('boot a --with a;b', "--with: 'a;b' is not a package"),
        ('boot a --with x11', '--with is for --system debian'),
        ('fill a', 'one of the arguments --dirty --cache --fragmented'),
        ('fill a --dirty 1 --cache 1', 'not allowed with argument --dirty'),
        ('test unit', "'unit' does not use the lab"),
    )
    def test_a_wrong_command_line_is_refused_in_one_line(
        self, words: str, why: str
    ) -> None:
        with self.assertRaises(errors.Refused) as refusal:
            preflight.needed(words.split())
        message = str(refusal.exception)
        self.assertIn(why, message)
        self.assertEqual(1, len(message.splitlines()))

    @ddt.data(
        'demo --link none --memory 8192 --keep',
        'up --link 100 --no-plugin',
        'down',
        'status',
        'boot a --memory 512 --no-reporting',
        'boot a --system debian --suite trixie --with earlyoom,nginx',
        'fill a --dirty 300 --free',
        'migrate a',
        'exec a ls -l /',
        'test libvirt cloud',
    )
    def test_a_right_command_line_passes(self, words: str) -> None:
        preflight.needed(words.split())

    def test_a_migrating_guest_takes_its_memory_twice(self) -> None:
        small = preflight.needed(['demo', '--memory', '1024'])
        large = preflight.needed(['demo', '--memory', '3072'])
        self.assertEqual(
            2 * 2048, large.memory_mib(False) - small.memory_mib(False)
        )

    def test_a_lab_that_is_up_has_its_memory_already(self) -> None:
        need = preflight.needed(['demo', '--memory', '1024'])
        self.assertEqual(2 * 1024, need.memory_mib(True))
        self.assertGreater(need.memory_mib(False), 2 * 1024)


@ddt.ddt
class MachineTest(base.TestCase):
    """What a machine cannot do."""

    @ddt.data('12', '13')
    def test_debian_is_supported(self, version: str) -> None:
        release = DEBIAN.format(version)
        wrong = machine.check_system(release, 'Linux', 'x86_64')
        self.assertEqual([], list(wrong))

    @ddt.unpack
    @ddt.data(
        (DEBIAN.format('11'), 'Linux', 'x86_64', 'this is Debian GNU/Linux'),
        ('ID=other\nVERSION_ID=12\n', 'Linux', 'x86_64', 'another system'),
        ('', 'Linux', 'x86_64', 'another system'),
        (DEBIAN.format('12'), 'Linux', 'aarch64', 'this is Linux on aarch64'),
        ('', 'Darwin', 'x86_64', 'this is Darwin on x86_64'),
    )
    def test_another_system_is_named(
        self, release: str, kind: str, architecture: str, why: str
    ) -> None:
        (wrong,) = machine.check_system(release, kind, architecture)
        self.assertIn(why, wrong)

    def test_a_user_other_than_root_is_told_to_use_sudo(self) -> None:
        (wrong,) = machine.check_rights(1000)
        self.assertIn('sudo', wrong)
        self.assertEqual([], list(machine.check_rights(0)))

    def test_memory_is_what_is_available_not_what_there_is(self) -> None:
        self.assertEqual([], list(machine.check_memory(MEMINFO, 8192)))
        self.assertEqual(
            ['too little memory: 8193 MiB are needed, 8192 MiB are available'],
            list(machine.check_memory(MEMINFO, 8193)),
        )

    def test_disk_is_looked_at_where_the_folder_will_be(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            future = pathlib.Path(folder, 'not', 'yet')
            self.assertEqual([], list(machine.check_disk(future, 0)))
            (wrong,) = machine.check_disk(future, 1 << 40)
        self.assertIn(f'{1 << 40} MiB are needed in {future}', wrong)

    def test_an_address_that_another_interface_has_is_refused(self) -> None:
        for interface, network, expected in (
            (
                'tun0',
                OURS,
                ['198.18.76.11, which the lab needs, belongs to tun0'],
            ),
            ('tun0', NOT_OURS, []),
            ('fmlab-ctl', OURS, []),
        ):
            routes = ROUTES.format(interface, network)
            self.assertEqual(expected, list(machine.check_networks(routes)))

    def test_a_busy_port_is_named(self) -> None:
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
            (wrong,) = machine.check_ports('127.0.0.1', {'glance': port})
        self.assertIn(f'port {port}, for glance, ', wrong)

    def test_ports_of_an_address_that_is_not_there_yet(self) -> None:
        with socket.create_server(('0.0.0.0', 0)) as server:
            port = server.getsockname()[1]
            (wrong,) = machine.check_ports('198.18.76.1', {'nova': port})
        self.assertIn(f'port {port}, for nova, ', wrong)


class CommandTest(base.TestCase):
    """The command as the scripts call it."""

    def test_refusal_is_one_line_and_exit_code_2(self) -> None:
        done = subprocess.run(
            [sys.executable, '-S', '-m', 'tests.lab.preflight', 'fly'],
            cwd=pathlib.Path(__file__).parents[3],
            env={**os.environ, 'PYTHONPATH': ''},
            capture_output=True,
            text=True,
        )
        self.assertEqual(2, done.returncode)
        self.assertEqual('', done.stdout)
        self.assertEqual(1, len(done.stderr.splitlines()))

    def test_help_of_each_command_shows_its_own_arguments(self) -> None:
        own = {
            'up': '--link',
            'down': '--keep-databases',
            'boot': '--memory',
            'fill': '--fragmented',
            'migrate': '--to',
            'exec': 'and its arguments',
        }
        for name in arguments.COMMANDS:
            for run in (preflight.needed, cli.run):
                with self.subTest(command=name, run=run.__module__):
                    shown = self._help(run, [name, '--help'])
                    self.assertIn(arguments.COMMANDS[name][0], shown)
                    for other, word in own.items():
                        is_own = name == other
                        self.assertEqual(is_own, word in shown, shown)

    def test_help_of_the_lab_lists_its_commands(self) -> None:
        shown = self._help(preflight.needed, ['--help'])
        for name, (what, _) in arguments.COMMANDS.items():
            self.assertRegex(shown, f'{name} +{what}')

    def _help(
        self, run: Callable[[list[str]], object], words: list[str]
    ) -> str:
        shown = io.StringIO()
        with (
            mock.patch.dict(os.environ, COLUMNS='100'),
            contextlib.redirect_stdout(shown),
            contextlib.suppress(SystemExit),
        ):
            run(words)
        return shown.getvalue()

    @mock.patch.object(preflight, 'complaints', autospec=True)
    def test_only_the_first_reason_is_given(
        self, complaints: mock.MagicMock
    ) -> None:
        complaints.return_value = iter(['no memory', 'no disk'])
        with self.assertRaisesRegex(errors.Refused, '^no memory$'):
            preflight.refuse(['up'])
