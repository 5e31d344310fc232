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

"""The simulated guest as it is behind the fake libvirt.

Nothing here waits: each look at the guest is a second of its time. Its
kernel's tables were captured in a Debian guest of 4 GiB which had dirtied
3 GiB and freed them; the amounts that follow the balloon are put in.
"""

import pathlib
import re
import threading

from tests.simulation.agent import SimulatedAgent
from tests.simulation.fake_clock import FakeClock
from tests.simulation.guest import SimulatedGuest

CAPTURED = pathlib.Path(__file__).parent / 'captured'

# Of 4 GiB, what the captured guest's kernel does not count as MemTotal, and
# what it counts as page cache.
KERNEL_KIB = 4194304 - 4022020
CACHE_KIB = 11476


class CapturedGuest(SimulatedGuest):
    """A Linux guest which has used its memory and freed most of it.

    Its balloon moves by a quarter of its memory from one look to the next.
    """

    def __init__(self, memory_kib: int) -> None:
        """Make the guest.

        :param memory_kib: its memory, all of it its own at first
        """
        super().__init__(
            FakeClock(),
            memory_kib,
            reserved_kib=KERNEL_KIB,
            used_kib=memory_kib // 8,
            touched_kib=memory_kib * 3 // 4,
            touched_first=False,
            shmem_kib=CACHE_KIB,
            inflate_kib_per_second=memory_kib // 4,
            deflate_kib_per_second=memory_kib // 4,
            agent=SimulatedAgent(polls=1),
        )
        self._lock = threading.Lock()

    def check(self) -> None:
        """Let a second pass."""
        with self._lock:
            self.clock.wait(1)
            super().check()

    def file(self, path: str) -> str | None:
        """:returns: the captured table, with amounts of now."""
        captured = CAPTURED / path.strip('/').replace('/', '.')
        if not captured.exists():
            return None
        text = captured.read_text()
        if path == '/proc/meminfo':
            amounts = self.meminfo()
            names = ['MemTotal', 'MemFree', 'MemAvailable']
            if self.cold_kib:
                names.append('Inactive(file)')
            for name in names:
                text = re.sub(
                    rf'(?m)^({re.escape(name)}:\s*)\d+',
                    rf'\g<1>{amounts[name]}',
                    text,
                )
        return text
