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

"""A guest, seen and used through its agent."""

import base64
from collections.abc import Mapping
import dataclasses
import json
import time
from typing import Any
from typing import NamedTuple

import libvirt
import libvirt_qemu

from tests.lab import steps

_BOOT_ID = '/proc/sys/kernel/random/boot_id'
_HOLD_STATUS = '/run/hold'
_HEADROOM_STATUS = '/run/headroom'
_CACHE_FILE = '/data/cache'
_AGENT_SECONDS = 10  # For one answer: an emulated guest can be slow.


class Finished(NamedTuple):
    """How a command in the guest ended; 128 + number where by a signal."""

    exit_code: int
    out: str
    err: str


@dataclasses.dataclass(frozen=True)
class Held:
    """What a guest found when it verified the memory it holds.

    :param verified: how many times a page was verified.
    :param mismatches: how many times it had changed.
    :param rewritten: how many times a page was rewritten.
    :param checksum: of the half that is never rewritten.
    """

    verified: int
    mismatches: int
    rewritten: int
    checksum: int

    @classmethod
    def from_status(cls, status: Mapping[str, int]) -> 'Held':
        """Make one of the program's status file."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: status[name] for name in names})


@dataclasses.dataclass(frozen=True)
class Headroom:
    """How much memory a guest had available, as it saw it itself.

    :param below_seconds: for how long it was less than its headroom, by its
        own clock; its kernel's MemAvailable is read ten times a second.
    :param least_available_kib: the least of them.
    """

    below_seconds: float
    least_available_kib: int


class Guest:
    """A running guest of the lab's image."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        """Initialize the guest.

        :param domain: on its present host; after a migration make another.
        """
        self.domain = domain
        self._name = domain.name()

    def ask(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        timeout_seconds: int = _AGENT_SECONDS,
    ) -> Any:
        """Send one command to the guest agent.

        :returns: what it returned.
        :raises libvirtError: it did not answer, or refused.
        """
        request = {'execute': command, 'arguments': dict(arguments or {})}
        answer = libvirt_qemu.qemuAgentCommand(
            self.domain, json.dumps(request), timeout_seconds, 0
        )
        return json.loads(answer)['return']

    def wait_ready(self, seconds: float = 90) -> float:
        """Wait until the guest agent answers.

        :returns: the seconds it took.
        :raises TimeoutError: it did not answer in time.
        :raises libvirtError: the guest has ended, or is on another host.
        """
        started = time.monotonic()
        what = f'an answer of the guest agent in {self._name}'
        steps.wait_for(self._answers, what, seconds)
        return time.monotonic() - started

    def _answers(self) -> bool:
        try:
            self.ask('guest-ping', timeout_seconds=1)
        except libvirt.libvirtError:
            if not self.domain.isActive():
                raise
            return False
        return True

    def exec(self, argv: list[str], seconds: float = 60) -> Finished:
        """Run a command in the guest and wait for its end.

        :param seconds: how long it may take.
        :raises TimeoutError: it took longer.
        """
        started = self.ask(
            'guest-exec',
            {'path': argv[0], 'arg': argv[1:], 'capture-output': True},
        )

        def ended() -> dict[str, Any] | None:
            status = self.ask('guest-exec-status', {'pid': started['pid']})
            return status if status['exited'] else None

        status = steps.wait_for(
            ended, f'the end of {" ".join(argv)} in {self._name}', seconds
        )
        code = status.get('exitcode', 128 + status.get('signal', 0))
        return Finished(
            code, _text(status, 'out-data'), _text(status, 'err-data')
        )

    def do(self, *argv: str, seconds: float = 60) -> str:
        """Run a command in the guest that has to succeed.

        :returns: what it wrote.
        :raises LabError: it failed.
        """
        done = self.exec(list(argv), seconds)
        if done.exit_code:
            why = done.err.strip() or f'exit code {done.exit_code}'
            raise steps.LabError(f'{" ".join(argv)} in {self._name}', why)
        return done.out

    def boot_id(self, seconds: float = 60) -> str:
        """Read what is new at each start of the guest's kernel.

        :param seconds: how long that may take.
        """
        return self.do('cat', _BOOT_ID, seconds=seconds).strip()

    def meminfo(self) -> dict[str, int]:
        """Read the guest's /proc/meminfo.

        :returns: each line's figure, KiB, by its name.
        """
        figures = {}
        for line in self.do('cat', '/proc/meminfo').splitlines():
            name, _, rest = line.partition(':')
            figures[name] = int(rest.split()[0])
        return figures

    # --- what it does with its memory

    def fill_dirty(self, mib: int, free: bool = True) -> None:
        """Have memory written to.

        :param free: whether it is freed again, or kept until let_go().
        :raises LabError: the guest has not that much.
        """
        self._refuse_more_than_available(mib)
        self.do('dirty', str(mib), *([] if free else ['keep']), seconds=120)

    def fill_fragmented(
        self, mib: int, piece_kib: int = 4, kept_kib: int = 4
    ) -> None:
        """Have memory written to, and freed in pieces.

        :param piece_kib: the size of a free block; free page reporting does
            not report one of less than 2 MiB.
        :param kept_kib: what is kept between two of them.
        """
        self._refuse_more_than_available(mib)
        sizes = map(str, (mib, piece_kib, kept_kib))
        self.do('fragment', *sizes, seconds=120)

    def fill_cache(self, mib: int) -> None:
        """Have a file of the guest's disk read into its page cache.

        The file is written first, on disk and out of the cache: what is in
        the cache afterwards has been read once, and is clean.
        """
        self.fill_disk(mib)
        self.read_disk()

    def read_disk(self) -> None:
        """Have the file on the guest's disk read into its page cache."""
        self.do('sh', '-c', f'cat {_CACHE_FILE} > /dev/null', seconds=120)

    def fill_disk(self, mib: int) -> None:
        """Have a file written to the guest's disk, and not kept in memory."""
        self.do('writefile', _CACHE_FILE, str(mib), seconds=300)

    def let_go(self) -> None:
        """End what keeps memory: fill_dirty, fill_fragmented and hold."""
        for program in ('dirty', 'fragment', 'hold'):
            self.exec(['killall', program])

    def _refuse_more_than_available(self, mib: int) -> None:
        available_mib = self.meminfo()['MemAvailable'] >> 10
        if mib > available_mib:
            raise steps.LabError(
                f'fill {mib} MiB of {self._name}',
                f'the guest has {available_mib} MiB available',
            )

    # --- whether its memory is as it left it

    def hold(
        self,
        mib: int,
        pages_per_second: int = 500,
        grown_mib: int | None = None,
    ) -> Held:
        """Have memory held, rewritten and verified from now on.

        :param pages_per_second: how fast one half of it is rewritten.
        :param grown_mib: what it becomes by grow_held(), the same.
        :returns: what there is to compare with later.
        """
        self._refuse_more_than_available(mib)
        arguments = [str(mib), str(pages_per_second), _HOLD_STATUS]
        arguments += [str(grown_mib)] if grown_mib else []
        self.do('hold', *arguments, seconds=120)
        return Held.from_status(self._hold_status())

    def grow_held(self) -> None:
        """Have more memory held from now on, 100 MiB a second."""
        self.do('killall', '-USR2', 'hold')

    def check_held(self) -> Held:
        """Have every held page verified now.

        :returns: what was found; compare the checksum with hold()'s.
        """
        before = self._hold_status()['sweeps']
        self.do('killall', '-USR1', 'hold')

        def swept() -> dict[str, int] | None:
            status = self._hold_status()
            return status if status['sweeps'] > before else None

        what = f'a sweep of the memory held in {self._name}'
        return Held.from_status(steps.wait_for(swept, what, 60))

    # --- whether it could do without what was released

    def watch_headroom(self, mib: int) -> None:
        """Have the guest note from now on when it is below its headroom.

        :param mib: the available memory that it is to keep.
        """
        self.exec(['killall', 'headroom'])
        self.do('headroom', str(mib), _HEADROOM_STATUS)

    def headroom(self) -> Headroom | None:
        """Read what the guest has noted; None if it has booted since."""
        done = self.exec(['cat', _HEADROOM_STATUS])
        if done.exit_code:
            return None
        status = dict(map(str.split, done.out.splitlines()))
        return Headroom(
            float(status['below_seconds']), int(status['least_available_kib'])
        )

    def _hold_status(self) -> dict[str, int]:
        lines = self.do('cat', _HOLD_STATUS).splitlines()
        return {name: int(value) for name, value in map(str.split, lines)}

    # --- as the host sees it

    def balloon_kib(self) -> int:
        """Read how much memory the balloon leaves to the guest."""
        return int(self.domain.memoryStats()['actual'])

    def rss_kib(self) -> int:
        """Read how much memory of the host the guest's QEMU occupies."""
        return int(self.domain.memoryStats()['rss'])


def _text(status: Mapping[str, str], key: str) -> str:
    return base64.b64decode(status.get(key, '')).decode(errors='replace')
