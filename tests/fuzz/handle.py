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


"""A libvirt domain whose guest means harm, for the real ``virt.guest.Guest``.

The host is honest here, and so is libvirt: what the guest cannot choose is
what it would be.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
from typing import Any
from unittest import mock

import greenlet
import libvirt
import libvirt_qemu

from tests.simulation import fakes

# Before a command to an agent that is not known to listen, libvirt asks
# whether it does, twice, for up to 5 s each (QEMU_AGENT_WAIT_TIME and
# qemuAgentGuestSync in src/qemu/qemu_agent.c, libvirt 11).
SYNC_SECONDS = 10.0


def error(code: int, text: str) -> libvirt.libvirtError:
    """:returns: an error as the binding raises it."""
    made = libvirt.libvirtError(text)
    made.err = (
        code,
        libvirt.VIR_FROM_QEMU,
        text,
        libvirt.VIR_ERR_ERROR,
        text,
        None,
        None,
        -1,
        -1,
    )
    return made


class Handle:
    """Stands for a ``libvirt.virDomain``, with no guest behind it.

    :ivar statistics: what the guest's balloon tells each time it is read
    :ivar balloon: what QEMU answers when it is asked for them itself
    :ivar agent: for each command, the answer and the seconds it takes
    :ivar targets_kib: where the balloon was told to go, in order
    """

    def __init__(self, clock: fakes.FakeClock) -> None:
        self.clock = clock
        self.xml = fakes.DOMAIN_XML
        self.statistics: Callable[[], dict[str, Any]] = dict
        self.balloon: Callable[[], str] = lambda: '{"return": {"stats": {}}}'
        self.job: Callable[[], dict[str, Any]] = lambda: {
            'type': libvirt.VIR_DOMAIN_JOB_NONE
        }
        self.agent: Callable[[], tuple[str | Exception, float]] = lambda: (
            '',
            0.0,
        )
        self.running = True
        self.entry: str | None = None
        self.targets_kib: list[int] = []
        self._listens = False

    def UUIDString(self) -> str:
        return '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'

    def state(self) -> list[int]:
        return [
            libvirt.VIR_DOMAIN_RUNNING
            if self.running
            else libvirt.VIR_DOMAIN_SHUTOFF,
            0,
        ]

    def controlInfo(self) -> list[int]:
        self._need_guest()
        return [libvirt.VIR_DOMAIN_CONTROL_OK, 0, 0]

    def isPersistent(self) -> int:
        self._need_guest()
        return 1

    def XMLDesc(self, flags: int) -> str:
        return self.xml

    def memoryStats(self) -> dict[str, Any]:
        self._need_guest()
        return self.statistics()

    def jobStats(self) -> dict[str, Any]:
        return self.job()

    def setMemoryStatsPeriod(self, period: int, flags: int) -> None:
        self._need_guest()
        assert 0 <= period < 1 << 31, f'a period of {period} s'

    def setMemoryFlags(self, memory: int, flags: int) -> None:
        self._need_guest()
        self.targets_kib.append(memory)

    def metadata(self, type: int, uri: str, flags: int) -> str:
        self._need_guest()
        if self.entry is None:
            raise error(libvirt.VIR_ERR_NO_DOMAIN_METADATA, 'none')
        return self.entry

    def setMetadata(
        self, type: int, metadata: str | None, key: str, uri: str, flags: int
    ) -> None:
        self._need_guest()
        self.entry = metadata

    def ask(self, command: str, timeout_seconds: int, flags: int) -> str:
        """Be the agent; libvirt bounds what an answer may take."""
        assert timeout_seconds >= 1, f'a timeout of {timeout_seconds} s'
        self._need_guest()
        answer, seconds = self.agent()
        patience_seconds = timeout_seconds + (
            0 if self._listens else SYNC_SECONDS
        )
        self._listens = seconds < patience_seconds
        self.clock.wait(min(seconds, patience_seconds))
        if not self._listens:
            raise error(libvirt.VIR_ERR_AGENT_COMMAND_TIMEOUT, 'silence')
        if isinstance(answer, Exception):
            raise answer
        return answer

    def monitor(self, command: str, flags: int) -> str:
        """Be QEMU's monitor."""
        request = json.loads(command)
        if request['execute'] == 'qom-get':
            return self.balloon()
        self.targets_kib.append(request['arguments']['value'] // 1024)
        return '{"return": {}}'

    def _need_guest(self) -> None:
        if not self.running:
            raise error(libvirt.VIR_ERR_OPERATION_INVALID, 'it is off')


class Connection:
    """Stands for a ``libvirt.virConnect`` to the host of one domain."""

    def __init__(self, domain: Handle) -> None:
        self._domain = domain

    def getLibVersion(self) -> int:
        return 11_003_000

    def lookupByUUIDString(self, uuid: str) -> Handle:
        return self._domain

    def listAllDomains(self, flags: int) -> list[Handle]:
        return [self._domain]


@contextlib.contextmanager
def fake_time() -> Iterator[fakes.FakeClock]:
    """Have a clock, and end what still waits for it in the end.

    A million executions would leave as many strands behind.
    """
    clock = fakes.FakeClock()
    try:
        yield clock
    finally:
        for strand in [*clock.waiting(), clock.hub]:
            strand.parent = greenlet.getcurrent()
            strand.throw()


@contextlib.contextmanager
def reached_by_libvirt() -> Iterator[None]:
    """Let libvirt's own functions for QEMU reach a handle."""
    with (
        mock.patch.object(libvirt_qemu, 'qemuAgentCommand', Handle.ask),
        mock.patch.object(libvirt_qemu, 'qemuMonitorCommand', Handle.monitor),
    ):
        yield
