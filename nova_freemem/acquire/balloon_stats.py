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

"""The second source: the statistics of the balloon.

They come from the guest's balloon driver and need no agent, but hold less:
amounts only, no block sizes.
"""

from __future__ import annotations

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.virt import guest as guests


class BalloonStats(base.Source):
    """Reads fresh statistics of the balloon driver."""

    def acquire(
        self,
        guest: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> FreeMemory:
        """See :meth:`nova_freemem.acquire.base.Source.acquire`."""
        stats = guest.fresh_memory_stats(clock)
        if stats is None:
            raise exceptions.SourceUnavailable(
                source=self.name,
                problem='the balloon driver did not update its statistics '
                f'within {guests.FRESH_STATS_SECONDS:.0f} s',
            )
        if stats.total_kib is None or stats.free_kib is None:
            raise exceptions.SourceUnavailable(
                source=self.name,
                problem='the balloon statistics lack total or free memory',
            )
        return FreeMemory(
            source=self.name,
            total_kib=stats.total_kib,
            free_kib=stats.free_kib,
            available_kib=stats.available_kib,
            page_cache_kib=stats.page_cache_kib,
        )
