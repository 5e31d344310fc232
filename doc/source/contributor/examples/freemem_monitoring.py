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

"""A source of free memory: what a monitoring system knows.

It expects a file for each guest, written by a collector on the host, such as
``/var/lib/guest-memory/<uuid>.json``::

    {"at": 1790000000.0, "total_kib": 4046880, "free_kib": 3145728,
     "available_kib": 3200000}
"""

from __future__ import annotations

import json
import pathlib

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base
from nova_freemem.acquire import free_memory
from nova_freemem.virt import guest as guests

FOLDER = pathlib.Path('/var/lib/guest-memory')
LONGEST_AGE_SECONDS = 5.0


class Monitoring(base.Source):
    """Reads the file of a guest."""

    def acquire(
        self,
        guest: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> free_memory.FreeMemory:
        """See :meth:`nova_freemem.acquire.base.Source.acquire`."""
        path = FOLDER / f'{guest.uuid}.json'
        try:
            figures = json.loads(path.read_text())
            age_seconds = clock.wall() - float(figures['at'])
            memory = free_memory.FreeMemory(
                source=self.name,
                total_kib=int(figures['total_kib']),
                free_kib=int(figures['free_kib']),
                available_kib=int(figures['available_kib']),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._unavailable(f'{path}: {error!r}') from error
        if not 0 <= age_seconds <= LONGEST_AGE_SECONDS:
            raise self._unavailable(f'{path} is {age_seconds:.0f} s old')
        return memory

    def _unavailable(self, problem: str) -> exceptions.SourceUnavailable:
        return exceptions.SourceUnavailable(source=self.name, problem=problem)
