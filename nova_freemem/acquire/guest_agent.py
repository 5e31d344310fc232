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

"""The first source: the QEMU guest agent.

One ``cat`` of the kernel's own tables, run by the agent: two round trips. It
prints those that there are, whichever others the kernel does not have.
Where the administrator of the guest has blocked ``guest-exec``, the same
files are opened, read and closed one by one. RHEL and its family block both.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
import contextlib
import json
from typing import Any

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base
from nova_freemem.acquire import meminfo
from nova_freemem.acquire.free_memory import CacheCounts
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt import validation

MEMINFO = '/proc/meminfo'
BUDDYINFO = '/proc/buddyinfo'
PRESSURE = '/proc/pressure/memory'
VERSION = '/proc/version'
OVERCOMMIT = '/proc/sys/vm/overcommit_memory'
NODE = '/sys/devices/system/node/node{}/meminfo'
LRU_GEN = '/sys/kernel/mm/lru_gen/enabled'
VMSTAT = '/proc/vmstat'

# Without these nothing is known; each of the others may be missing.
NEEDED = (MEMINFO, BUDDYINFO)
OTHERS = (PRESSURE, VERSION, OVERCOMMIT, LRU_GEN)

# Such a table has less than 2 KiB. A guest with more nodes is not asked for
# them, and its release is skipped.
MOST_NODES = 16

# The tables of a machine with 1,024 CPUs and 64 nodes are below 32 KiB, and
# those of each of its nodes together as well. A longer answer is refused.
LONGEST_TABLE_BYTES = 64 * 1024

EXEC_POLL_SECONDS = 0.02


class GuestAgent(base.Source):
    """Reads the kernel's memory tables through the agent."""

    def acquire(
        self,
        guest: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> FreeMemory:
        """See :meth:`nova_freemem.acquire.base.Source.acquire`."""
        agent = Conversation(
            self.name, self.timeout_seconds, guest, clock, deadline
        )
        nodes = domain_xml.nodes(guest.xml())
        return meminfo.read_tables(self.name, agent.tables(nodes))

    def cache_counts(
        self,
        guest: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> CacheCounts | None:
        """See :meth:`nova_freemem.acquire.base.Source.cache_counts`."""
        agent = Conversation(
            self.name, self.timeout_seconds, guest, clock, deadline
        )
        return meminfo.cache_counts(agent.read_file(VMSTAT))


class Conversation:
    """A few commands to one agent, each with the same timeout."""

    def __init__(
        self,
        name: str,
        timeout_seconds: int,
        guest: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
        longest_bytes: int = LONGEST_TABLE_BYTES,
    ) -> None:
        """Initialize the conversation.

        :param name: name of the source, for the errors
        :param timeout_seconds: the longest wait for one answer
        :param guest: the guest
        :param clock: for waits
        :param deadline: when to stop asking
        :param longest_bytes: the longest content of one answer
        """
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._guest = guest
        self._clock = clock
        self._deadline = deadline
        self._longest_bytes = longest_bytes

    def tables(self, nodes: int = 1) -> bytes:
        """Read the tables for :func:`meminfo.read_tables`.

        :param nodes: how many NUMA nodes the guest has
        :returns: the tables, not validated
        :raises FreememError: the agent refused, or its answer is unusable
        """
        others = list(OTHERS)
        if 1 < nodes <= MOST_NODES:
            others += [NODE.format(number) for number in range(nodes)]
        try:
            return self.run('cat', *NEEDED, *others)
        except exceptions.AgentCommandRefused:
            tables = [self.read_file(path) for path in NEEDED]
        for path in others:
            with contextlib.suppress(exceptions.AgentCommandRefused):
                tables.append(self.read_file(path))
        return b''.join(tables)

    def run(
        self, program: str, *arguments: str, may_be_silent: bool = False
    ) -> bytes:
        """Run a program in the guest and return its output.

        :param program: its name
        :param arguments: its arguments
        :param may_be_silent: whether it may print nothing
        :returns: its output, not validated
        :raises FreememError: the agent refused, or its answer is unusable
        """
        started = self._command(
            'guest-exec',
            path=program,
            arg=list(arguments),
            **{'capture-output': True},
        )
        pid = self._item(started, 'pid', int)
        answer_by = clocks.Deadline(self._clock, self._timeout_seconds)
        while not (answer_by.passed() or self._deadline.passed()):
            status = self._command('guest-exec-status', pid=pid)
            if self._item(status, 'exited', bool):
                if may_be_silent and 'out-data' not in status:
                    return b''
                return self._decoded(self._item(status, 'out-data', str))
            self._clock.wait(EXEC_POLL_SECONDS)
        raise self._unusable(f'{program} does not end in the guest')

    def read_file(self, path: str) -> bytes:
        """Read one short file of the guest.

        :param path: in the guest
        :returns: its content, not validated
        :raises FreememError: the agent refused, or its answer is unusable
        """
        with self.opened(path) as handle:
            return self.read(handle, self._longest_bytes)

    @contextlib.contextmanager
    def opened(self, path: str, mode: str = 'r') -> Iterator[int]:
        """Open a file of the guest, and close it in the end.

        :param path: in the guest
        :param mode: as of fopen(3); ``r+`` to write, which makes no new file
        :returns: the agent's handle, as a context manager
        :raises FreememError: the agent refused, or its answer is unusable
        """
        handle = self._command('guest-file-open', path=path, mode=mode)
        if validation.amount(handle) is None:
            raise self._unusable('the agent returned no file handle')
        responsive = True
        try:
            yield handle
        except exceptions.AgentUnresponsive:
            responsive = False
            raise
        finally:
            # An unresponsive agent would not get this command either, and
            # libvirt would first ping it for 10 s.
            with contextlib.suppress(exceptions.FreememError):
                if responsive:
                    self._send('guest-file-close', handle=handle)

    def read(self, handle: int, count: int) -> bytes:
        """Read the next bytes of a file of the guest.

        :param handle: the agent's, of an open file
        :param count: how many bytes to request
        :returns: the bytes, not validated
        :raises FreememError: the agent refused, or its answer is unusable
        """
        content = self._command('guest-file-read', handle=handle, count=count)
        return self._decoded(self._item(content, 'buf-b64', str))

    def write(self, handle: int, content: bytes) -> None:
        """Write to a file of the guest, and wait until that is done.

        The agent keeps what it is to write in a buffer of its C library until
        it is told to flush it: then all of it goes to the kernel at once.
        After a refusal qemu-ga 7.2 refuses what is written next as well.

        :param handle: the agent's, of an open file
        :param content: what to write
        :raises AgentCommandRefused: the agent, or the guest's kernel, refused
        :raises FreememError: the agent's answer is unusable
        """
        written = self._command(
            'guest-file-write',
            handle=handle,
            **{'buf-b64': base64.b64encode(content).decode()},
        )
        if self._item(written, 'count', int) != len(content):
            raise self._unusable('the agent did not write all it was given')
        self._command('guest-file-flush', handle=handle)

    def _command(self, name: str, **arguments: Any) -> Any:
        if self._deadline.passed():
            raise self._unusable(
                'the deadline passed before the agent was done'
            )
        return self._send(name, **arguments)

    def _send(self, name: str, **arguments: Any) -> Any:
        timeout_seconds = min(
            self._timeout_seconds, max(1, int(self._deadline.left_seconds()))
        )
        reply = self._guest.agent_command(
            json.dumps({'execute': name, 'arguments': arguments}),
            timeout_seconds,
        )
        if len(reply) > 2 * self._longest_bytes:
            raise self._unusable(
                f'the answer to {name} has {len(reply)} characters'
            )
        try:
            answer = validation.from_json(reply)
        except ValueError:
            raise self._unusable(f'the answer to {name} is not JSON') from None
        if not isinstance(answer, dict) or 'return' not in answer:
            raise self._unusable(f'the answer to {name} lacks "return"')
        return answer['return']

    def _item(self, answer: Any, name: str, kind: type) -> Any:
        value = answer.get(name) if isinstance(answer, dict) else None
        if kind is int:
            value = validation.amount(value)
        if not isinstance(value, kind):
            raise self._unusable(f'the answer lacks "{name}"')
        return value

    def _decoded(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._unusable('the answer is not base64') from None

    def _unusable(self, problem: str) -> exceptions.SourceUnavailable:
        return exceptions.SourceUnavailable(source=self._name, problem=problem)
