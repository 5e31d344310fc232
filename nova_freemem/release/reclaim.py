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

"""Guest reclaim: the guest's kernel drops page cache when it is asked to.

A kernel since 5.19 with cgroup version 2 reclaims as many bytes as are written
to ``memory.reclaim`` (Documentation/admin-guide/cgroup-v2.rst), several times
as fast as it does for a balloon that asks for a page at a time, and does not
count it as memory pressure. It goes by its own lists, and says with EAGAIN
that there is less to be had than was asked for.

The file of the root, which stands for all of the guest, is written by the
guest agent, which opens, writes and flushes it, without a shell or another
process. It answers nothing else meanwhile: portions take tenths of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire import meminfo
from nova_freemem.plan.planner import Plan
from nova_freemem.release import base
from nova_freemem.virt import guest as guests

MEMORY_RECLAIM = '/sys/fs/cgroup/memory.reclaim'

# Page cache alone. Kernels before about 6.9 do not take it, and refuse all of
# what is written. Without swap there is nothing else to reclaim.
FILES_ONLY = ' swappiness=0'

# What the agent says of EAGAIN and EINVAL, unless it speaks another language.
EAGAIN = 'Resource temporarily unavailable'
EINVAL = 'Invalid argument'


class GuestReclaim(base.Reclaimer):
    """Writes to ``memory.reclaim`` through the guest agent."""

    @contextlib.contextmanager
    def dropping(
        self,
        guest: guests.Guest,
        plan: Plan,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> Iterator[Callable[[int], int]]:
        """See :meth:`nova_freemem.release.base.Reclaimer.dropping`."""
        agent = guest_agent.Conversation(
            self.name, self.timeout_seconds, guest, clock, deadline
        )
        option = FILES_ONLY if plan.has_swap else ''

        def cold_kib() -> int:
            table = agent.read_file(guest_agent.MEMINFO)
            return meminfo.inactive_file_kib(self.name, table)

        # Neither made where it is missing, nor made shorter.
        with agent.opened(MEMORY_RECLAIM, 'r+') as handle:
            left_kib, has_more = cold_kib(), True

            def drop(kib: int) -> int:
                nonlocal left_kib, has_more
                if not has_more:
                    raise exceptions.NothingToDrop()
                try:
                    agent.write(handle, f'{kib}K{option}'.encode())
                except exceptions.AgentCommandRefused as error:
                    if option and EINVAL in str(error):
                        raise exceptions.SwapInTheWay() from error
                    if EAGAIN not in str(error):
                        raise
                    has_more = False
                before_kib, left_kib = left_kib, cold_kib()
                return max(0, before_kib - left_kib)

            yield drop
