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

"""What must be the same of a guest before and after its migration."""

import dataclasses

from tests.lab import guest as lab_guest
from tests.lab import virt


@dataclasses.dataclass(frozen=True)
class Witness:
    """A guest's own account of itself, and libvirt's of its memory.

    :param boot_id: new at each start of its kernel.
    :param checksum: over memory it holds.
    :param mismatches: how often a page of that was not as it had left it;
        every page has been verified just now.
    :param total_kib: the memory its kernel manages.
    :param balloon_kib: the memory its balloon leaves it.
    :param definition_kib: the memory it would have at its next start.
    """

    boot_id: str
    checksum: int
    mismatches: int
    total_kib: int
    balloon_kib: int
    definition_kib: int


def question(guest: lab_guest.Guest) -> Witness:
    """Ask a guest through its agent, and libvirt.

    :param guest: it holds memory already.
    """
    held = guest.check_held()
    return Witness(
        boot_id=guest.boot_id(),
        checksum=held.checksum,
        mismatches=held.mismatches,
        total_kib=guest.meminfo()['MemTotal'],
        balloon_kib=guest.balloon_kib(),
        definition_kib=virt.persistent_memory_kib(guest.domain),
    )


def changes(before: Witness, after: Witness) -> list[str]:
    """Find what is wrong with a guest itself.

    :returns: one sentence each; none for a guest that is intact.
    """
    if after.boot_id != before.boot_id:
        return ['the guest was restarted']  # What it held is gone with that.
    found = []
    if after.mismatches:
        found.append(
            f'memory it holds was found changed {after.mismatches} times'
        )
    if after.checksum != before.checksum:
        found.append('the checksum over memory it holds has changed')
    return found


def losses(before: Witness, after: Witness) -> list[str]:
    """Find memory that is not restored to a guest, to the kibibyte.

    :returns: one sentence each; none for a guest that has everything.
    """
    return [
        f'{what}: {now} KiB, {then} KiB before'
        for what, then, now in (
            ('memory by its balloon', before.balloon_kib, after.balloon_kib),
            ('memory its kernel manages', before.total_kib, after.total_kib),
            (
                'memory at its next start',
                before.definition_kib,
                after.definition_kib,
            ),
        )
        if now != then
    ]
