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

"""The two hosts are apart from each other, and leave no trace."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from tests.lab import layout
from tests.lab import namespaces
from tests.lab import network
from tests.lab import room
from tests.libvirt import base

PORT = 5999
SENT_BYTES = 8_000_000
SLOW_MBIT = 16

_RECEIVE = f"""
import socket
server = socket.create_server(('', {PORT}))
print('listening', flush=True)
connection, _ = server.accept()
received = 0
while part := connection.recv(1 << 16):
    received += len(part)
connection.sendall(b'%d' % received)
"""
_SEND = f"""
import socket, sys
connection = socket.create_connection((sys.argv[1], {PORT}), 10)
connection.sendall(bytes({SENT_BYTES}))
connection.shutdown(socket.SHUT_WR)
print(connection.recv(100).decode())
"""

# In a network and a mount namespace of its own, hence beside any other lab.
_UP_AND_DOWN = """
import json, os, pathlib, signal, subprocess
from tests.lab import namespaces, room

def traces():
    links = subprocess.check_output(['ip', '-br', 'link'], text=True)
    mounts = pathlib.Path('/proc/self/mounts').read_text()
    return {'links': len(links.splitlines()), 'mounts': mounts}

before = traces()
for holder_is_killed in (False, True):
    room.up()
    between = traces()
    if holder_is_killed:
        pid = namespaces.pid_of(room.hosts()[0].layout)
        os.kill(pid, signal.SIGKILL)
    room.down()
print(json.dumps([before, between, traces()]))
"""


class RoomTest(base.RoomTestCase):
    """Both hosts up, no guest."""

    def test_hosts_are_two_machines(self) -> None:
        first, second = room.hosts()
        for command in ('hostname', 'readlink /proc/self/ns/net'):
            answers = {
                host.run(command.split()).stdout for host in (first, second)
            }
            self.assertEqual(2, len(answers))
        self.assertNotEqual(
            first.libvirt().getCapabilities(),
            second.libvirt().getCapabilities(),
        )
        self.assertEqual('freemem-host1', first.libvirt().getHostname())

    def test_files_of_one_host_are_not_seen_by_the_other(self) -> None:
        first, second = room.hosts()
        first.run(['touch', '/run/mine'])
        self.addCleanup(first.run, ['rm', '/run/mine'])
        for place in (['ls', '/run/mine'], ['ls', '/run/libvirt/mine']):
            self.assertNotEqual(0, second.run(place, check=False).returncode)
        self.assertFalse(pathlib.Path('/run/mine').exists())

    def test_bringing_up_what_is_up_changes_nothing(self) -> None:
        before = [namespaces.pid_of(host.layout) for host in room.hosts()]
        room.up()
        after = [namespaces.pid_of(host.layout) for host in room.hosts()]
        self.assertEqual(before, after)

    def test_the_link_is_as_fast_as_it_is_set(self) -> None:
        self.addCleanup(network.set_link, room.LINK_MBIT)
        network.set_link(SLOW_MBIT)
        # What the bucket of 1 MB lets through at once takes no time.
        least_seconds = (SENT_BYTES - (1 << 20)) * 8 / (SLOW_MBIT * 1e6)
        self.assertGreater(self.seconds_to_send(), 0.9 * least_seconds)
        network.set_link(None)
        self.assertLess(self.seconds_to_send(), least_seconds / 2)

    def seconds_to_send(self) -> float:
        first, second = room.hosts()
        sent_before, _ = first.link_bytes()
        receiver = subprocess.Popen(
            [*second.prefix, sys.executable, '-c', _RECEIVE],
            stdout=subprocess.PIPE,
        )
        self.addCleanup(receiver.stdout.close)
        self.addCleanup(receiver.wait, 20)
        receiver.stdout.readline()
        address = second.layout.link_address
        started = time.monotonic()
        done = first.run([sys.executable, '-c', _SEND, address])
        seconds = time.monotonic() - started
        self.assertEqual(SENT_BYTES, int(done.stdout))
        self.assertGreater(first.link_bytes()[0] - sent_before, SENT_BYTES)
        return seconds


class TracesTest(base.RoomTestCase):
    """A whole lab inside namespaces of its own, from nothing to nothing."""

    def test_nothing_is_left(self) -> None:
        with tempfile.TemporaryDirectory() as state:
            before, between, after = self.up_and_down(state)
            self.assertEqual(before, after)
            self.assertEqual(before['links'] + 6, between['links'])
            self.assertEqual(before['mounts'], between['mounts'])
            self.assertEqual([], list(pathlib.Path(state).glob('run/*')))
            self.assertEqual([], list(self.processes_with(state)))

    def up_and_down(self, state: str) -> list[dict[str, object]]:
        apart = ['unshare', '--net', '--mount', '--']
        done = subprocess.run(
            [*apart, sys.executable, '-c', _UP_AND_DOWN],
            env={
                **os.environ,
                'NOVA_FREEMEM_LAB': state,
                'NOVA_FREEMEM_CACHE': str(layout.LAB.cache),
                'PYTHONPATH': str(pathlib.Path(__file__).parents[2]),
            },
            capture_output=True,
            text=True,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout)

    def processes_with(self, state: str) -> list[str]:
        found = []
        for process in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                environment = (process / 'environ').read_bytes()
            except OSError:
                continue
            if f'NOVA_FREEMEM_LAB={state}'.encode() in environment:
                found.append((process / 'comm').read_text())
        return found
