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

"""A fake QEMU guest agent: the few commands that read a guest's files.

The form of its replies was captured from qemu-ga 7.2 in a guest of 4 GiB,
the texts of its refusals from libvirt 11.3.
"""

import base64
from collections.abc import Callable
import json
from typing import Any


class AgentError(Exception):
    """The agent gave no answer, or refused.

    :param name: of libvirt's error code
    :param message: libvirt's text
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


#: No agent runs in the guest, or it has died.
NOT_RUNNING = AgentError(
    'VIR_ERR_AGENT_UNRESPONSIVE',
    'Guest agent is not responding: QEMU guest agent is not connected',
)

#: It took the command and says nothing.
HUNG = AgentError(
    'VIR_ERR_AGENT_COMMAND_TIMEOUT',
    'Guest agent command timed out: guest agent did not answer',
)


class Agent:
    """It opens, reads and closes files, and runs ``cat``.

    :param read: what the guest has under a path, None for nothing
    """

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._open: dict[int, bytes] = {}
        self._running: dict[int, bytes] = {}
        self._next_number = 1000
        #: Raised in answer to every command.
        self.fault: AgentError | None = None
        #: Commands its administrator has switched off.
        self.blocked: set[str] = set()
        #: Its answer to every command, instead of a right one.
        self.nonsense: str | None = None
        #: The commands it was sent, in order.
        self.asked: list[str] = []

    def execute(self, command: str) -> str:
        """Answer one command of the agent's protocol.

        :param command: the command as JSON
        :returns: the reply as JSON
        :raises AgentError: there is no answer, or a refusal
        """
        request = json.loads(command)
        name = request['execute']
        self.asked.append(name)
        if self.fault is not None:
            raise self.fault
        if self.nonsense is not None:
            return self.nonsense
        if name in self.blocked:
            raise _refusal(name, f'Command {name} has been disabled')
        answer = self._handlers()[name](request.get('arguments', {}))
        return json.dumps({'return': answer})

    def _handlers(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        return {
            'guest-ping': lambda arguments: {},
            'guest-exec': self._exec,
            'guest-exec-status': self._exec_status,
            'guest-file-open': self._file_open,
            'guest-file-read': self._file_read,
            'guest-file-close': self._file_close,
        }

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number

    def _exec(self, arguments: dict[str, Any]) -> dict[str, Any]:
        assert arguments['path'] == 'cat'
        pid = self._number()
        self._running[pid] = b''.join(
            self._read(path) or b'' for path in arguments['arg']
        )
        return {'pid': pid}

    def _exec_status(self, arguments: dict[str, Any]) -> dict[str, Any]:
        pid = arguments['pid']
        if pid not in self._open:  # A guest is never as quick as its asker.
            self._open[pid] = self._running.pop(pid)
            return {'exited': False}
        return {
            'exitcode': 0,
            'out-data': base64.b64encode(self._open.pop(pid)).decode(),
            'exited': True,
        }

    def _file_open(self, arguments: dict[str, Any]) -> int:
        path = arguments['path']
        content = self._read(path)
        if content is None:
            raise _refusal(
                'guest-file-open',
                f"failed to open file '{path}' (mode: '{arguments['mode']}')"
                ': No such file or directory',
            )
        handle = self._number()
        self._open[handle] = content
        return handle

    def _file_read(self, arguments: dict[str, Any]) -> dict[str, Any]:
        handle, count = arguments['handle'], arguments.get('count', 4096)
        chunk = self._open[handle][:count]
        self._open[handle] = self._open[handle][count:]
        return {
            'count': len(chunk),
            'buf-b64': base64.b64encode(chunk).decode(),
            'eof': len(chunk) < count,
        }

    def _file_close(self, arguments: dict[str, Any]) -> dict[str, Any]:
        del self._open[arguments['handle']]
        return {}


def _refusal(command: str, why: str) -> AgentError:
    return AgentError(
        'VIR_ERR_AGENT_COMMAND_FAILED',
        f"unable to execute QEMU agent command '{command}': {why}",
    )
