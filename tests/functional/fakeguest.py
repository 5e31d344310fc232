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

"""A fake guest: its memory, its virtio balloon, and what it tells of both.

Nothing here waits: the balloon moves by one step each time somebody looks
at it. The kernel's tables were captured in a Debian guest of 4 GiB which
had dirtied 3 GiB and freed them; the amounts that follow the balloon are
put in.
"""

import pathlib
import re
import threading
import time

from tests.functional import fakeagent

CAPTURED = pathlib.Path(__file__).parent / 'captured'

# Of 4 GiB, what the captured guest's kernel does not count as MemTotal.
KERNEL_KIB = 4194304 - 4022020

# What QEMU itself occupies on the host.
QEMU_KIB = 60 * 1024


class Guest:
    """A Linux guest which has used its memory and freed most of it.

    :param memory_kib: its memory, all of it its own at first
    """

    def __init__(self, memory_kib: int) -> None:
        self.memory_kib = memory_kib
        self.balloon_kib = memory_kib
        self.target_kib = memory_kib
        #: The smallest it has been.
        self.least_kib = memory_kib
        self.used_kib = memory_kib // 8
        #: Of its free memory, what the host still holds.
        self.touched_free_kib = memory_kib * 3 // 4
        #: By how much the balloon moves between two looks.
        self.step_kib = memory_kib // 4
        #: Where the balloon stops, whatever its target.
        self.stops_at_kib = 0
        self.has_stopped = threading.Event()
        self.has_balloon_driver = True
        #: Whether its statistics say what is free, not only when they are of.
        self.tells_amounts = True
        #: Whether it lets the balloon deflate.
        self.takes_back = True
        #: Whether the host drops what the balloon takes.
        self.discards = True
        self.agent = fakeagent.Agent(self._read)

    @property
    def total_kib(self) -> int:
        """MemTotal: with autodeflate the balloon does not change it."""
        return self.memory_kib - KERNEL_KIB

    @property
    def free_kib(self) -> int:
        """MemFree."""
        return self.balloon_kib - KERNEL_KIB - self.used_kib

    @property
    def rss_kib(self) -> int:
        """What its QEMU process occupies of the host's memory."""
        return QEMU_KIB + KERNEL_KIB + self.used_kib + self.touched_free_kib

    def touch_free_memory(self) -> None:
        """Write to all of it and free it again."""
        self.touched_free_kib = self.free_kib

    def check(self) -> None:
        """Let the balloon go one step towards its target."""
        if not self.has_balloon_driver:
            return
        if self.target_kib < self.balloon_kib:
            self._inflate()
        elif self.takes_back:
            self.balloon_kib = min(
                self.target_kib, self.balloon_kib + self.step_kib
            )

    def _inflate(self) -> None:
        floor_kib = max(
            self.target_kib, self.stops_at_kib, KERNEL_KIB + self.used_kib
        )
        wanted_kib = max(floor_kib, self.balloon_kib - self.step_kib)
        self.balloon_kib = min(self.balloon_kib, wanted_kib)
        self.least_kib = min(self.least_kib, self.balloon_kib)
        if self.discards:
            self.touched_free_kib = min(self.touched_free_kib, self.free_kib)
        if self.balloon_kib <= self.stops_at_kib:
            self.has_stopped.set()

    def statistics(self) -> dict[str, int]:
        """What its balloon driver tells when it is asked; {} for nothing."""
        if not self.has_balloon_driver:
            return {}
        told = {'last_update': int(time.time())}
        if not self.tells_amounts:
            return told
        return told | {
            'swap_in': 0,
            'swap_out': 0,
            'major_fault': 284,
            'minor_fault': 63871,
            'unused': self.free_kib,
            'available': self.total_kib,
            'usable': self.free_kib,
            'disk_caches': 11476,
            'hugetlb_pgalloc': 0,
            'hugetlb_pgfail': 0,
        }

    def _read(self, path: str) -> bytes | None:
        captured = CAPTURED / path.strip('/').replace('/', '.')
        if not captured.exists():
            return None
        text = captured.read_text()
        if path == '/proc/meminfo':
            for field, kib in (
                ('MemTotal', self.total_kib),
                ('MemFree', self.free_kib),
                ('MemAvailable', self.free_kib),
            ):
                text = re.sub(rf'(?m)^({field}:\s*)\d+', rf'\g<1>{kib}', text)
        return text.encode()
