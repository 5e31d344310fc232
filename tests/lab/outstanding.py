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

"""A guest whose memory is outstanding, as one that has just landed."""

import datetime

import libvirt

from nova_freemem.restore import journal
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from tests.lab import layout
from tests.lab import steps

_BALLOON_SECONDS = 10
_TOLERANCE_KIB = 1024


def take(
    domain: libvirt.virDomain,
    source: str,
    missing_kib: int,
    least_kib: int | None = None,
    seconds: float = _BALLOON_SECONDS,
) -> None:
    """Take memory from a guest, and say so in its journal.

    :param domain: it has all its memory.
    :param source: the host it came from, by its name in the lab.
    :param missing_kib: how much is outstanding then.
    :param least_kib: how much will do, where the machine is so busy that the
        balloon does not get there in time; None for all of it.
    :param seconds: the time it has.
    :raises LabError: it did not release it, or somebody restores it already.
    """
    guest = guests.Guest(domain)
    original_kib = domain.memoryStats()['actual']
    entry = journal.JournalEntry(
        original_kib=original_kib,
        source=layout.HOSTS[source].hostname,
        released_at=datetime.datetime.now(datetime.UTC),
        migration='lab',
        stats_period_seconds=domain_xml.stats_period_seconds(guest.xml()),
    )
    with steps.step(f'take {missing_kib >> 10} MiB from {domain.name()}'):
        journal.write(guest, entry)
        guest.set_balloon_kib(original_kib - missing_kib)
        try:
            steps.wait_for(
                lambda: (
                    domain.memoryStats()['actual']
                    <= original_kib - missing_kib + _TOLERANCE_KIB
                ),
                'its balloon',
                seconds,
                0.05,
            )
        except TimeoutError:
            actual_kib = domain.memoryStats()['actual']
            if least_kib is None or original_kib - actual_kib < least_kib:
                raise
            guest.set_balloon_kib(actual_kib)
