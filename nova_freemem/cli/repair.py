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

"""``nova-freemem repair``: decide what a guest is owed."""

from __future__ import annotations

import argparse
import datetime

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests

KIB_PER_MIB = 1024
# Nova's own default of [libvirt] mem_stats_period_seconds.
STATS_PERIOD_SECONDS = 10


class Repair(base.RestoringCommand):
    """Decide what a guest is owed, and give it that.

    For an entry that cannot be read, or that cannot be paid as it is_current. It
    is replaced by one that says what you decide; that one is paid and erased,
    at once or, where the guest is late, by nova-compute or by "assign".
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument('server', help='UUID of a server on this host.')
        parser.add_argument(
            '--memory-mib',
            type=base.whole_number,
            metavar='N',
            help='Memory that the guest is to have (default: all that its '
            'domain may have, which is what its flavor says).',
        )
        parser.add_argument(
            '--stats-period-seconds',
            type=base.whole_number,
            metavar='N',
            default=STATS_PERIOD_SECONDS,
            help='How often its balloon driver is to tell, as in [libvirt] '
            'mem_stats_period_seconds of nova.conf (default: '
            '%(default)s).',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Replace the entry, and pay it."""
        uuid, clock = parsed_args.server, clocks.Clock()
        domain = self.hypervisor.domain(uuid)
        if domain.read_metadata() is None:
            print(f'{uuid}: is owed nothing')
            return base.DONE
        situation = domain.situation()
        if situation is not guests.Situation.RUNNING:
            return base.not_restored(uuid, f'it {situation.value}')
        owed = journal.JournalEntry(
            original_kib=_original_kib(domain, uuid, parsed_args.memory_mib),
            source='repair',
            released_at=datetime.datetime.fromtimestamp(
                clock.wall(), datetime.UTC
            ),
            migration='repair',
            stats_period_seconds=(parsed_args.stats_period_seconds),
        )
        journal.JournalEntry.from_xml(owed.to_xml())  # or it is refused here
        journal.write(domain, owed)
        return self.watch(
            uuid,
            restorations.Restoration(domain, owed, clock),
            clocks.Deadline(clock, parsed_args.wait_seconds),
        )


def _original_kib(
    domain: guests.Guest, uuid: str, memory_mib: int | None
) -> int:
    """Tell what the guest is to have.

    :raises Refused: its domain may not have that, or nothing needs deciding
    """
    if memory_mib is None:
        _refuse_to_decide_what_is_clear(domain, uuid)
    maximum_kib = int(domain.xml().findtext('./memory', '0'))
    if memory_mib is None:
        return maximum_kib
    original_kib = memory_mib * KIB_PER_MIB
    if not 0 < original_kib <= maximum_kib:
        raise base.Refused(
            problem=f'--memory-mib {memory_mib}: its domain may have 1 to '
            f'{maximum_kib // KIB_PER_MIB}'
        )
    return original_kib


def _refuse_to_decide_what_is_clear(domain: guests.Guest, uuid: str) -> None:
    try:
        owed = journal.read(domain)
    except exceptions.JournalUnreadable:
        return
    if owed is not None:
        raise base.Refused(
            problem=f'{uuid} is owed {owed.original_kib} KiB, as can be read: '
            f'"nova-freemem restore {uuid}", or decide by '
            '--memory-mib'
        )
