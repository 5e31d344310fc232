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

"""The sources that report the free memory of a guest, and their order."""

from __future__ import annotations

import abc
from collections.abc import Iterable

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire.free_memory import CacheCounts
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import MemoryStats


class Source(abc.ABC):
    """A way to learn how much memory a guest can spare."""

    def __init__(self, name: str, timeout_seconds: int) -> None:
        """Initialize the source.

        :param name: the extension's name, for log lines
        :param timeout_seconds: the longest wait for one answer
        """
        self.name = name
        self.timeout_seconds = timeout_seconds

    @abc.abstractmethod
    def acquire(
        self,
        guest: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> FreeMemory:
        """Ask the guest once.

        The answer is typed and bounded, but not yet compared with the
        guest's size.

        :param guest: the guest
        :param clock: for waits
        :param deadline: when to stop asking
        :returns: what the guest reported
        :raises FreememError: it reported nothing, or nothing usable
        """

    def cache_counts(
        self,
        guest: guests.Guest,
        clock: clocks.Clock,
        deadline: clocks.Deadline,
    ) -> CacheCounts | None:
        """Ask the guest how much page cache it has had to read again.

        Called now and then while page cache of it is released, in a thread of
        its own. A source that cannot tell need not have this method.

        :param guest: the guest
        :param clock: for waits
        :param deadline: when to stop asking
        :returns: what it has counted; None where it does not report it
        :raises FreememError: it reported nothing, or nothing usable
        """
        return None


def acquire_from(
    sources: Iterable[Source],
    guest: guests.Guest,
    maximum_kib: int,
    driver: MemoryStats,
    clock: clocks.Clock,
    deadline: clocks.Deadline,
) -> FreeMemory:
    """Ask one source after the other until one answers.

    :param sources: in the order of preference
    :param guest: the guest
    :param maximum_kib: the memory the host gave the domain
    :param driver: what its balloon driver reported a moment before
    :param clock: for waits
    :param deadline: when to stop asking
    :returns: the first plausible answer
    :raises DomainBusy: another job kept one from asking; raised after 30 s,
                        and the next source would wait as well
    :raises SourceUnavailable: no source answered; the message says why, for
                               each of them
    """
    problems = []
    for source in sources:
        if deadline.passed():
            problems.append(f'{source.name}: no time left to ask')
            continue
        try:
            memory = source.acquire(guest, clock, deadline)
            memory.check(maximum_kib)
            memory = memory.limited_by(driver)
            if deadline.passed():
                raise exceptions.SourceUnavailable(
                    source=source.name, problem='it answered too late'
                )
        except exceptions.SourceUnavailable as error:
            problems.append(str(error))
        except exceptions.DomainBusy:
            raise
        except exceptions.LibvirtError as error:
            problems.append(f'{source.name}: {error}')
        else:
            return memory
    raise exceptions.SourceUnavailable(
        source='no source answered',
        problem='; '.join(problems) or 'none is configured',
    )
