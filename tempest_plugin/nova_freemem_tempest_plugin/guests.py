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

"""A guest, and what it does with its memory: see :class:`Guest`."""

from __future__ import annotations

import abc
import base64
from collections.abc import Callable
import json
import time
from typing import Any

from tempest import config
from tempest.lib.common.utils import test_utils
from tempest.lib.common.utils.linux import remote_client

from nova_freemem_tempest_plugin import hosts

CONF = config.CONF

_COMMAND_SECONDS = 180
_PAUSE_SECONDS = 0.5
_READY_SECONDS = 300


class Guest(abc.ABC):
    """A Linux guest that commands can be run in."""

    @abc.abstractmethod
    def run(self, command: str) -> str:
        """Run a command of the guest's shell.

        :param command: what to run; it has to succeed
        :returns: what it wrote
        """

    def boot_id(self) -> str:
        """Read what is new at each start of the guest's kernel."""
        return self.run('cat /proc/sys/kernel/random/boot_id').strip()

    def total_kib(self) -> int:
        """Read how much memory the guest's kernel manages, KiB."""
        line = self.run('grep ^MemTotal: /proc/meminfo')
        return int(line.split()[1])

    def fill_page_cache(self) -> None:
        """Read a file into the page cache, which it can be dropped from.

        It is a new file each time: what is read again is in use to the guest's
        kernel, and is kept. There is nothing of it on the disk, so that a
        block migration has nothing of it to copy.
        """
        file = f'{CONF.nova_freemem.guest_disk_folder}/freemem-cache'
        size = CONF.nova_freemem.page_cache_mib
        self.run(
            f'rm -f {file} && dd if=/dev/null of={file} bs=1M seek={size}'
            f' && cat {file} >/dev/null'
        )

    def keep_writing(self) -> None:
        """Write to some of the memory again and again, in the background."""
        folder = CONF.nova_freemem.guest_memory_folder
        count = CONF.nova_freemem.written_mib // 2
        first, second = f'{folder}/freemem-1', f'{folder}/freemem-2'
        # QEMU sends next to nothing of a page of zeros.
        self.run(f"dd if=/dev/zero bs=1M count={count} | tr '\\0' f >{first}")
        copy = f'dd if={first} of={second} bs=1M conv=notrunc'
        self.run(
            f'touch {folder}/freemem-writes;'
            f' (while [ -e {folder}/freemem-writes ]; do {copy}; done)'
            ' >/dev/null 2>&1 </dev/null &'
        )

    def stop_writing(self) -> None:
        """End keep_writing(), and give its memory back."""
        folder = CONF.nova_freemem.guest_memory_folder
        self.run(f'rm -f {folder}/freemem-*')


class SshGuest(Guest):
    """A guest that is used as tempest's own tests use one."""

    def __init__(self, client: remote_client.RemoteClient) -> None:
        """Initialize the guest.

        :param client: tempest's, for this guest
        """
        self._client = client

    def run(self, command: str) -> str:
        """See :meth:`Guest.run`."""
        return str(self._client.exec_command(command))


class AgentGuest(Guest):
    """A guest that is used through its guest agent."""

    def __init__(self, server_id: str, find_host: Callable[[], str]) -> None:
        """Initialize the guest.

        :param server_id: the server's, which libvirt has as the UUID
        :param find_host: returns the host that the guest is on now
        """
        self._server_id = server_id
        self._find_host = find_host

    def run(self, command: str) -> str:
        """See :meth:`Guest.run`."""
        started = self._ask(
            'guest-exec',
            {
                'path': '/bin/sh',
                'arg': ['-c', command],
                'capture-output': True,
            },
        )
        ended: dict[str, Any] = {}

        def look() -> bool:
            ended.update(
                self._ask('guest-exec-status', {'pid': started['pid']})
            )
            return bool(ended['exited'])

        is_over = test_utils.call_until_true(
            look, _COMMAND_SECONDS, _PAUSE_SECONDS
        )
        if not is_over or ended.get('exitcode') != 0:
            raise hosts.CommandFailed(f'{command}: {ended}')
        return base64.b64decode(ended.get('out-data', '')).decode()

    def wait_ready(self) -> None:
        """Wait until the agent answers.

        :raises CommandFailed: it did not in time
        """
        until = time.monotonic() + _READY_SECONDS
        while True:
            try:
                self._ask('guest-ping', {})
            except hosts.CommandFailed:
                if time.monotonic() > until:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return

    def _ask(self, command: str, arguments: dict[str, Any]) -> Any:
        request = json.dumps({'execute': command, 'arguments': arguments})
        answer = hosts.virsh(
            self._find_host(), 'qemu-agent-command', self._server_id, request
        )
        return json.loads(answer)['return']
