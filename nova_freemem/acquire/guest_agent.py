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

One ``cat`` of the kernel's own tables, run by the agent: two round trips.
Where the administrator of the guest has blocked ``guest-exec``, the same
files are opened, read and closed one by one. RHEL and its family block both.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import json
import re
from typing import Any

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base
from nova_freemem.virt import guest as guests
from nova_freemem.virt import validation

MEMINFO = '/proc/meminfo'
BUDDYINFO = '/proc/buddyinfo'
PRESSURE = '/proc/pressure/memory'

# Both tables of a machine with 1,024 CPUs and 64 nodes are below 32 KiB.
# An answer beyond this is no answer.
LONGEST_TABLE_BYTES = 64 * 1024

EXEC_POLL_SECONDS = 0.02

_MEMINFO_LINE = re.compile(
    r'^(\w+(?:\(\w+\))?):\s+(\d{1,15}) kB$', re.ASCII | re.MULTILINE
)
_BUDDYINFO_LINE = re.compile(
    r'^Node\s+\d{1,5}, zone\s+\w{1,16}((?:\s+\d{1,12}){1,32})\s*$',
    re.ASCII | re.MULTILINE,
)

_PRESSURE_LINE = re.compile(
    r'^full avg10=(\d{1,3}\.\d{1,2}) ', re.ASCII | re.MULTILINE
)

# /proc/buddyinfo counts blocks in pages and does not say how large a page
# is. Linux on x86 has pages of 4 KiB and nothing else; a guest with larger
# ones shows more free than it has by these blocks, which check() refuses or
# which is an underestimate, and the amounts come from /proc/meminfo anyway.
PAGE_KIB = 4


class GuestAgent(base.Source):
    """Asks the agent for the kernel's memory tables."""

    def acquire(
        self,
        domain: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> base.FreeMemory:
        """See :meth:`nova_freemem.acquire.base.Source.acquire`."""
        agent = Conversation(
            self.name, self.timeout_seconds, domain, clock, deadline
        )
        return read_tables(self.name, agent.tables())


def read_tables(source: str, tables: bytes) -> base.FreeMemory:
    """Read what the guest printed.

    :param source: name of the source, for the answer and the error
    :param tables: ``/proc/meminfo``, then ``/proc/buddyinfo`` and, where the
                   kernel has it, ``/proc/pressure/memory``
    :returns: what they say
    :raises NoAnswer: the total or the free memory is not in them
    """
    text = tables.decode('ascii', errors='replace')
    kib = {name: int(value) for name, value in _MEMINFO_LINE.findall(text)}
    if 'MemTotal' not in kib or 'MemFree' not in kib:
        raise exceptions.SourceUnavailable(
            source=source,
            problem='the agent answered, but not with MemTotal and MemFree',
        )
    return base.FreeMemory(
        source=source,
        total_kib=kib['MemTotal'],
        free_kib=kib['MemFree'],
        available_kib=kib.get('MemAvailable'),
        page_cache_kib=kib.get('Cached'),
        inactive_file_kib=kib.get('Inactive(file)'),
        unwritten_kib=_sum(kib, 'Dirty', 'Writeback'),
        swap_free_kib=kib.get('SwapFree'),
        memory_pressure_share=_memory_pressure_share(text),
        free_blocks=_free_blocks(text),
    )


def _sum(kib: Mapping[str, int], *names: str) -> int | None:
    if not all(name in kib for name in names):
        return None
    return sum(kib[name] for name in names)


def _memory_pressure_share(text: str) -> float | None:
    match = _PRESSURE_LINE.search(text)
    return float(match[1]) / 100 if match else None


def _free_blocks(text: str) -> tuple[tuple[int, int], ...] | None:
    zones = [
        [int(count) for count in counts.split()]
        for counts in _BUDDYINFO_LINE.findall(text)
    ]
    if not zones:
        return None
    orders = max(len(zone) for zone in zones)
    return tuple(
        (
            PAGE_KIB << order,
            sum(zone[order] for zone in zones if order < len(zone)),
        )
        for order in range(orders)
    )


class Conversation:
    """A few commands to one agent, under one timeout each."""

    def __init__(
        self,
        name: str,
        timeout_seconds: int,
        domain: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
        longest_bytes: int = LONGEST_TABLE_BYTES,
    ) -> None:
        """Begin to talk.

        :param name: who asks, for the errors
        :param timeout_seconds: the longest wait for one answer
        :param domain: the guest
        :param clock: for waits
        :param deadline: when no more is asked
        :param longest_bytes: what one answer may carry
        """
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._domain = domain
        self._clock = clock
        self._deadline = deadline
        self._longest_bytes = longest_bytes

    def tables(self) -> bytes:
        """Read what :func:`read_tables` understands."""
        try:
            return self.run('cat', MEMINFO, BUDDYINFO, PRESSURE)
        except exceptions.AgentCommandRefused:
            return self.read_file(MEMINFO) + self.read_file(BUDDYINFO)

    def run(
        self, program: str, *arguments: str, may_be_silent: bool = False
    ) -> bytes:
        """Run a program in the guest and take its output.

        :param program: its name
        :param arguments: its arguments
        :param may_be_silent: whether no output is an answer
        :returns: what it wrote, not to be trusted
        :raises FreememError: the agent would not, or answered nonsense
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
        raise self._nonsense(f'{program} does not end in the guest')

    def read_file(self, path: str) -> bytes:
        """Read one short file of the guest."""
        with self.opened(path) as handle:
            return self.read(handle, self._longest_bytes)

    @contextlib.contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """Open a file of the guest, and close it in the end.

        :param path: in the guest
        :returns: the agent's handle, as a context manager
        :raises FreememError: the agent would not, or answered nonsense
        """
        handle = self._command('guest-file-open', path=path, mode='r')
        if validation.amount(handle) is None:
            raise self._nonsense('the agent gave no file handle')
        listens = True
        try:
            yield handle
        except exceptions.AgentUnresponsive:
            listens = False
            raise
        finally:
            # An agent that has fallen silent would not hear of it either,
            # and libvirt would ask it for 10 s whether it listens.
            with contextlib.suppress(exceptions.FreememError):
                if listens:
                    self._send('guest-file-close', handle=handle)

    def read(self, handle: int, count: int) -> bytes:
        """Read on in a file of the guest.

        :param handle: the agent's, of an open file
        :param count: how many bytes to ask for
        :returns: what came, not to be trusted
        :raises FreememError: the agent would not, or answered nonsense
        """
        content = self._command('guest-file-read', handle=handle, count=count)
        return self._decoded(self._item(content, 'buf-b64', str))

    def _command(self, name: str, **arguments: Any) -> Any:
        if self._deadline.passed():
            raise self._nonsense('the guest agent used up the time there was')
        return self._send(name, **arguments)

    def _send(self, name: str, **arguments: Any) -> Any:
        timeout_seconds = min(
            self._timeout_seconds, max(1, int(self._deadline.left_seconds()))
        )
        reply = self._domain.agent_command(
            json.dumps({'execute': name, 'arguments': arguments}),
            timeout_seconds,
        )
        if len(reply) > 2 * self._longest_bytes:
            raise self._nonsense(
                f'the answer to {name} has {len(reply)} characters'
            )
        try:
            answer = validation.from_json(reply)
        except ValueError:
            raise self._nonsense(f'the answer to {name} is not JSON') from None
        if not isinstance(answer, dict) or 'return' not in answer:
            raise self._nonsense(f'the answer to {name} returns nothing')
        return answer['return']

    def _item(self, answer: Any, name: str, kind: type) -> Any:
        value = answer.get(name) if isinstance(answer, dict) else None
        if kind is int:
            value = validation.amount(value)
        if not isinstance(value, kind):
            raise self._nonsense(f'the answer lacks "{name}"')
        return value

    def _decoded(self, text: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._nonsense('the answer is not base64') from None

    def _nonsense(self, problem: str) -> exceptions.SourceUnavailable:
        return exceptions.SourceUnavailable(source=self._name, problem=problem)
