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

"""The simulated guest's QEMU guest agent."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING
from typing import Any

from nova_freemem import exceptions
from tests.simulation.fake_clock import FakeClock

if TYPE_CHECKING:
    from tests.simulation.guest import SimulatedGuest

# What QEMU's agent reads of a file where it is not said how much.
READ_BYTES = 4096

MEMORY_RECLAIM = '/sys/fs/cgroup/memory.reclaim'


def libvirt_error(
    kind: type[exceptions.LibvirtError], text: str
) -> exceptions.LibvirtError:
    """:returns: an error as the real ``virt.guest.Guest`` raises it."""
    return kind(doing='do this', error=text, code=1)


def encoded(content: str | bytes) -> str:
    """:returns: what the agent makes of the content of a file."""
    if isinstance(content, str):
        content = content.encode()
    return base64.b64encode(content).decode()


@dataclasses.dataclass
class SimulatedAgent:
    """It reads files and runs cat and dd, or answers what a test scripts.

    Of files it writes ``memory.reclaim`` alone, and answers once its guest has
    reclaimed.

    The form of its answers was captured from qemu-ga 7.2.

    :ivar blocked: commands that the guest's administrator has blocked
    :ivar script: instead of all that, for each command in turn, the answer,
                  or the error to raise; the last one is repeated
    :ivar files: what it reads instead of the guest's own, by their paths
    :ivar latency_seconds: how long each answer takes
    :ivar polls: how often guest-exec-status says that the command still runs
    :ivar commands: the names of the commands it was sent, in order
    :ivar handles: the paths of the files that are open
    """

    blocked: frozenset[str] = frozenset()
    script: list[str | Exception] = dataclasses.field(default_factory=list)
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    latency_seconds: float = 0.0
    polls: int = 0
    commands: list[str] = dataclasses.field(default_factory=list)
    handles: dict[int, str] = dataclasses.field(default_factory=dict)
    _unwritten: bytes = b''
    _positions: dict[int, int] = dataclasses.field(default_factory=dict)

    def reply(
        self,
        command: str,
        guest: SimulatedGuest,
        clock: FakeClock,
        timeout_seconds: int,
    ) -> str:
        """Answer one command.

        :param command: the command, JSON
        :param guest: whose files it reads
        :param clock: by which the answer takes its time
        :param timeout_seconds: how long it is waited for
        :returns: the answer, JSON
        :raises AgentUnresponsive: it takes longer than that
        :raises AgentCommandRefused: it is blocked, unknown, or fails
        """
        request = json.loads(command)
        name, arguments = request['execute'], request.get('arguments', {})
        self.commands.append(name)
        if self.latency_seconds > timeout_seconds:
            clock.wait(timeout_seconds)
            raise libvirt_error(exceptions.AgentUnresponsive, 'timed out')
        clock.wait(self.latency_seconds)
        if self.script:
            scripted = self.script[0]
            del self.script[: len(self.script) > 1]
            if isinstance(scripted, Exception):
                raise scripted
            return scripted
        if name in self.blocked:
            raise _refusal(f'Command {name} has been disabled')
        if name == 'guest-file-flush':
            guest.reclaim(self._unwritten.decode(), timeout_seconds)
        return json.dumps({'return': self._answer(name, arguments, guest)})

    def _answer(
        self, name: str, arguments: dict[str, Any], guest: SimulatedGuest
    ) -> Any:
        match name:
            case 'guest-exec':
                self._polls_left = self.polls
                self._output = self._run(
                    arguments['path'], arguments['arg'], guest
                )
                return {'pid': 4711}
            case 'guest-exec-status':
                self._polls_left -= 1
                if self._polls_left >= 0:
                    return {'exited': False}
                said = {'out-data': encoded(self._output)}
                return {
                    'exitcode': 0,
                    **(said if self._output else {}),
                    'exited': True,
                }
            case 'guest-file-open':
                path, mode = arguments['path'], arguments['mode']
                if not self._can_open(path, mode, guest):
                    raise _refusal(
                        f"failed to open file '{path}' (mode: '{mode}'): "
                        'No such file or directory'
                    )
                handle = 1000 + len(self._positions)
                self.handles[handle] = path
                self._positions[handle] = 0
                return handle
            case 'guest-file-read':
                return self._read(
                    arguments['handle'],
                    guest,
                    arguments.get('count', READ_BYTES),
                )
            case 'guest-file-write':
                self._unwritten = base64.b64decode(arguments['buf-b64'])
                return {'count': len(self._unwritten), 'eof': False}
            case 'guest-file-flush':
                return {}
            case 'guest-file-close':
                del self.handles[arguments['handle']]
                return {}
        raise _refusal(f'The command {name} has not been found')

    def _can_open(self, path: str, mode: str, guest: SimulatedGuest) -> bool:
        if path == MEMORY_RECLAIM:
            return mode == 'r+' and bool(guest.drop_kib_per_second)
        return mode == 'r' and self._content(path, guest) is not None

    def _content(self, path: str, guest: SimulatedGuest) -> bytes | None:
        text = guest.file(path)
        return self.files.get(path, None if text is None else text.encode())

    def _run(
        self, program: str, words: list[str], guest: SimulatedGuest
    ) -> bytes:
        if program != 'dd':
            return b''.join(
                self._content(path, guest) or b'' for path in words
            )
        options = dict(word.split('=') for word in words)
        content = self._content(options['if'], guest) or b''
        size, skip = int(options['bs']), int(options['skip'])
        return content[size * skip :][: size * int(options['count'])]

    def _read(
        self, handle: int, guest: SimulatedGuest, count: int
    ) -> dict[str, Any]:
        content = self._content(self.handles[handle], guest)
        piece = (content or b'')[self._positions[handle] :][:count]
        self._positions[handle] += len(piece)
        return {
            'count': len(piece),
            'buf-b64': encoded(piece),
            'eof': len(piece) < count,
        }


def _refusal(text: str) -> exceptions.LibvirtError:
    return libvirt_error(exceptions.AgentCommandRefused, text)
