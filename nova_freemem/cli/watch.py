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

"""``nova-freemem watch``: the migrations from and to this host, live."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import sys
from typing import TYPE_CHECKING

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.cli import base
from nova_freemem.cli import compute_host
from nova_freemem.plan.bandwidth import KIB_PER_SECOND_PER_MBPS
from nova_freemem.restore import journal
from nova_freemem.virt import guest as guests
from nova_freemem.virt.guest import Outgoing
from nova_freemem.virt.memory_stats import MemoryStats
from nova_freemem.virt.transfer_progress import TransferProgress

if TYPE_CHECKING:
    from rich import table

KIB_PER_MIB = 1024

COLUMNS = (
    'server',
    'direction',
    'phase',
    'has_mib',
    'resident_mib',
    'sent_mib',
    'mbps',
    'left_seconds',
)

INTERVAL_SECONDS = 1
LONGEST_INTERVAL_SECONDS = 3600

# In a drain, so much passes between two migrations at most: Nova's own steps
# after one and before the next.
QUIET_SECONDS = 10.0

# What a table needs for a UUID, and for all else where it is narrow.
UUID_CHARACTERS = 36
OTHERS_CHARACTERS = 72

# In a column beside its heading.
LONGEST_WORDS = {'phase': ('transferring',)}

_TRANSFERS = {
    Outgoing.STARTING: 'starting the transfer',
    Outgoing.COPYING_DISKS: 'copying disks',
    Outgoing.SENDING_MEMORY: 'transferring',
}


@dataclasses.dataclass(frozen=True)
class Sample:
    """One guest at one moment; what is not known is None.

    :ivar at_seconds: when, monotonic
    :ivar outgoing: how far a migration away from this host is
    :ivar is_arriving: whether it is being migrated to this host
    :ivar entry: its journal entry
    :ivar is_from_here: whether memory was released on this host, lately
    :ivar stats: its balloon and its resident size
    :ivar progress: of a migration away from this host
    """

    at_seconds: float
    outgoing: Outgoing = Outgoing.NONE
    is_arriving: bool = False
    entry: journal.JournalEntry | None = None
    is_from_here: bool = False
    stats: MemoryStats | None = None
    progress: TransferProgress | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """What is shown of a guest; what is not known is None.

    :ivar direction: "out" or "in"
    :ivar phase: what is done for it
    :ivar balloon_kib: memory it has
    :ivar original_kib: memory it is to have again
    :ivar resident_kib: its resident size on this host
    :ivar sent_kib: what the transfer has sent
    :ivar kib_per_second: what it sends
    :ivar left_seconds: until all is sent, if the guest writes no more
    """

    direction: str
    phase: str
    balloon_kib: int | None = None
    original_kib: int | None = None
    resident_kib: int | None = None
    sent_kib: float | None = None
    kib_per_second: float | None = None
    left_seconds: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Return all but the server as text, in the order of the columns."""
        has = _mib(self.balloon_kib)
        if self.original_kib is not None:
            has = f'{has} of {_mib(self.original_kib)}'
        mbps = None
        if self.kib_per_second is not None:
            mbps = self.kib_per_second / KIB_PER_SECOND_PER_MBPS
        return (
            self.direction,
            self.phase,
            has,
            _mib(self.resident_kib),
            _mib(self.sent_kib),
            _whole(mbps),
            _whole(self.left_seconds),
        )


#: One for each guest, with its UUID.
Rows = Sequence[tuple[str, Row]]
Show = Callable[[Rows], None]


def make_row(before: Sample | None, now: Sample) -> Row | None:
    """Make what is shown of a guest.

    :param before: the guest at the last look, if it was there
    :param now: the guest
    :returns: the row; None where nothing is under way for it
    """
    what = _phase(before, now)
    if what is None:
        return None
    direction, phase = what
    kib_per_second = _kib_per_second(before, now)
    sent_kib = remaining_kib = left_seconds = None
    if now.progress is not None:
        sent_kib = now.progress.sent_kib
        remaining_kib = now.progress.remaining_kib
    if kib_per_second and remaining_kib is not None:
        left_seconds = remaining_kib / kib_per_second
    return Row(
        direction=direction,
        phase=phase,
        balloon_kib=None if now.stats is None else now.stats.actual_kib,
        original_kib=None if now.entry is None else now.entry.original_kib,
        resident_kib=None if now.stats is None else now.stats.rss_kib,
        sent_kib=sent_kib,
        kib_per_second=kib_per_second,
        left_seconds=left_seconds,
    )


def _phase(before: Sample | None, now: Sample) -> tuple[str, str] | None:
    if now.is_arriving:
        return 'in', 'arriving'
    if now.outgoing is not Outgoing.NONE:
        return 'out', _TRANSFERS[now.outgoing]
    if now.entry is None:
        return None
    if not now.is_from_here:
        return 'in', 'restoring'
    grows = (
        before is not None
        and before.stats is not None
        and now.stats is not None
        and now.stats.actual_kib > before.stats.actual_kib
    )
    return 'out', 'restoring' if grows else 'releasing'


def _kib_per_second(before: Sample | None, now: Sample) -> float | None:
    if before is None or before.progress is None or now.progress is None:
        return None
    seconds = now.at_seconds - before.at_seconds
    sent_kib = now.progress.sent_kib - before.progress.sent_kib
    if seconds <= 0 or sent_kib < 0:  # another migration has begun
        return None
    return sent_kib / seconds


def take_sample(
    guest: guests.Guest, host_name: str, clock: clocks.Clock
) -> Sample:
    """Look at a guest.

    :param guest: the guest
    :param host_name: this host, by the name that libvirt has for it
    :param clock: tells the time
    :raises LibvirtError: it has left, or libvirt failed
    """
    if guest.is_arriving():
        return Sample(clock.now(), is_arriving=True)  # no more is known of it
    outgoing = guest.outgoing_migration()
    entry = None
    with contextlib.suppress(exceptions.JournalUnreadable):
        entry = journal.read(guest)
    if outgoing is Outgoing.NONE and entry is None:
        return Sample(clock.now())
    return Sample(
        clock.now(),
        outgoing,
        entry=entry,
        is_from_here=entry is not None
        and entry.is_of_release_under_way(host_name, clock.wall()),
        stats=guest.memory_stats(),
        progress=(
            None if outgoing is Outgoing.NONE else guest.transfer_progress()
        ),
    )


class Watch(compute_host.HostCommand):
    """Show the live migrations from and to this host while they run.

    On a terminal, a table that changes; elsewhere a line for each guest. It
    ends when nothing has been under way for ten seconds, or at once where
    nothing is.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'server',
            nargs='?',
            help='UUID of a server; all servers of this host without it.',
        )
        parser.add_argument(
            '--follow',
            action='store_true',
            help='Wait for further migrations until it is interrupted.',
        )
        parser.add_argument(
            '--interval',
            type=interval,
            default=INTERVAL_SECONDS,
            metavar='N',
            help=f'Seconds between two looks (default: {INTERVAL_SECONDS}).',
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Look again and again, until nothing is under way."""
        clock = clocks.Clock()
        shown = _shown_on_terminal if sys.stdout.isatty() else _printed
        with contextlib.suppress(KeyboardInterrupt), shown() as show:
            self._watch(parsed_args, clock, show)
        return base.DONE

    def _watch(
        self,
        parsed_args: argparse.Namespace,
        clock: clocks.Clock,
        show: Show,
    ) -> None:
        if parsed_args.server is not None:
            self.host.guest(parsed_args.server)  # it has to be here
        host_name = self.host.name()
        before: dict[str, Sample] = {}
        last_seconds: float | None = None
        while True:
            now = self._look(parsed_args.server, host_name, clock)
            rows = [
                (uuid, row)
                for uuid, sample in sorted(now.items())
                if (row := make_row(before.get(uuid), sample)) is not None
            ]
            show(rows)
            before = now
            if rows:
                last_seconds = clock.now()
            elif not parsed_args.follow and (
                last_seconds is None
                or clock.now() - last_seconds >= QUIET_SECONDS
            ):
                if last_seconds is None:
                    print('No guest of this host is being migrated.')
                return
            clock.wait(parsed_args.interval)

    def _look(
        self, uuid: str | None, host_name: str, clock: clocks.Clock
    ) -> dict[str, Sample]:
        """Look at one guest, or at all; one that leaves is left out."""
        samples = {}
        for guest in self.host.active_guests():
            with contextlib.suppress(exceptions.LibvirtError):
                if uuid in (None, guest.uuid):
                    samples[guest.uuid] = take_sample(guest, host_name, clock)
        return samples


def interval(text: str) -> int:
    """Parse the seconds between two looks.

    :param text: the argument
    :raises ArgumentTypeError: it is not a whole number of seconds, from 1
    """
    seconds = base.whole_number(text, LONGEST_INTERVAL_SECONDS)
    if not seconds:
        raise argparse.ArgumentTypeError('0 is no interval')
    return seconds


def make_table(rows: Rows, width: int) -> table.Table:
    """Make what a terminal shows.

    :param rows: one for each guest, with its UUID
    :param width: of the terminal
    """
    from rich import table

    made = table.Table(box=None, pad_edge=False)
    # 80 columns have to do: all else breaks between words.
    made.add_column(
        COLUMNS[0],
        overflow='fold',
        width=max(8, min(UUID_CHARACTERS, width - OTHERS_CHARACTERS)),
    )
    for name in COLUMNS[1:]:
        heading = name.replace('_', ' ')
        words = [*heading.split(), *LONGEST_WORDS.get(name, ())]
        made.add_column(heading, min_width=max(map(len, words)))
    for uuid, row in rows:
        made.add_row(uuid, *row.cells())
    return made


@contextlib.contextmanager
def _shown_on_terminal() -> Iterator[Show]:
    """Show rows as a table that changes."""
    from rich import live

    with live.Live(auto_refresh=False) as screen:

        def show(rows: Rows) -> None:
            screen.update(make_table(rows, screen.console.width), refresh=True)

        yield show


@contextlib.contextmanager
def _printed() -> Iterator[Show]:
    """Show rows as lines, each with the time."""

    def show(rows: Rows) -> None:
        at = datetime.datetime.now().strftime('%H:%M:%S')
        for uuid, row in rows:
            cells = zip(COLUMNS[1:], row.cells(), strict=True)
            print(
                f'{at} {uuid}',
                *(f'{name}={cell!r}' for name, cell in cells),
                flush=True,
            )

    yield show


def _mib(kib: float | None) -> str:
    return _whole(None if kib is None else kib / KIB_PER_MIB)


def _whole(value: float | None) -> str:
    return 'n/a' if value is None else f'{value:.0f}'
