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

"""``nova-freemem inspect``: how much memory a guest can spare."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from cliff import columns
from cliff import show

from nova_freemem import clock as clocks
from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import base as acquire
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire import ranges as page_ranges
from nova_freemem.cli import base
from nova_freemem.cli import compute_host
from nova_freemem.cli import costs
from nova_freemem.virt import domain_xml
from nova_freemem.virt import guest as guests
from nova_freemem.virt.memory_stats import MemoryStats

# An operator waits longer than a migration does.
TIMEOUT_SECONDS = 10
DEADLINE_SECONDS = 120

#: What a command shows: the values by their names.
Shown = dict[str, Any]


class _Readable(columns.FormattableColumn[Any]):
    """A value that programs and people read in different forms."""

    def __init__(self, value: Any, text: str) -> None:
        super().__init__(value)
        self._text = text

    def human_readable(self) -> str:
        return self._text


class Inspect(compute_host.HostCommand, show.ShowOne):
    """Show how much memory a guest of this host can spare.

    Nothing is released. The guest agent is asked, or else the balloon
    driver; what is shown is what the guest reported, checked against its
    size.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument('server', help='UUID of a server on this host.')
        parser.add_argument(
            '--ranges',
            action='store_true',
            help='Also ask the guest agent for the addresses of free pages '
            'and of pages in the balloon. It sends 2.8 MB for each GiB of '
            'memory.',
        )
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[Sequence[str], Iterable[Any]]:
        """See :meth:`cliff.show.ShowOne.take_action`."""
        clock = clocks.Clock()
        guest = self.host.guest(parsed_args.server)
        shown = ask(guest, clock)
        if parsed_args.ranges:
            shown |= ask_ranges(guest, clock)
        return tuple(shown), tuple(
            base.shown(value, parsed_args) for value in shown.values()
        )


def ask(guest: guests.Guest, clock: clocks.Clock) -> Shown:
    """Ask a guest how much memory it can spare.

    :param guest: the guest
    :param clock: for waits
    :returns: what to show
    :raises FreememError: no source answered
    """
    maximum_kib = domain_xml.memory_kib(guest.xml())
    balloon = guest.memory_stats()
    driver = balloon and guest.fresh_memory_stats(clock)
    memory = acquire.acquire_from(
        (
            guest_agent.GuestAgent('guest_agent', TIMEOUT_SECONDS),
            balloon_stats.BalloonStats('balloon_stats', TIMEOUT_SECONDS),
        ),
        guest,
        maximum_kib,
        driver or MemoryStats(actual_kib=maximum_kib),
        clock,
        clocks.Deadline(clock, DEADLINE_SECONDS),
    )
    return {
        'source': memory.source,
        'current_kib': balloon.actual_kib if balloon else None,
        'resident_kib': balloon.rss_kib if balloon else None,
        'total_kib': memory.total_kib,
        'free_kib': memory.free_kib,
        'available_kib': memory.available_kib,
        'page_cache_kib': memory.page_cache_kib,
        'cold_cache_kib': costs.known_cold_kib(memory),
        'swap_free_kib': memory.swap_free_kib,
        'memory_pressure_share': memory.memory_pressure_share,
        'free_blocks': _listed(
            memory.free_blocks,
            ('size_kib', 'count'),
            lambda size_kib, count: f'{count} of {size_kib} KiB',
        ),
    }


def ask_ranges(guest: guests.Guest, clock: clocks.Clock) -> Shown:
    """Ask the agent of a guest for the addresses of its free memory.

    :param guest: the guest
    :param clock: for waits
    :returns: what to show
    :raises FreememError: the answer is missing or unusable
    """
    found = page_ranges.acquire(
        guest_agent.GuestAgent('guest_agent', TIMEOUT_SECONDS),
        guest,
        domain_xml.memory_kib(guest.xml()),
        clock,
        clocks.Deadline(clock, DEADLINE_SECONDS),
    )
    return {
        'page_kib': found.page_kib,
        'seconds': round(found.seconds, 2),
        'drift_kib': found.drift_kib,
        'free_ranges_kib': found.free_kib,
        'free_ranges': _ranges(found.free),
        'balloon_ranges_kib': found.ballooned_kib,
        'balloon_ranges': _ranges(found.ballooned),
    }


def _ranges(found: page_ranges.Ranges) -> Any:
    return _listed(
        found,
        ('address', 'size_kib'),
        lambda address, kib: f'{address:#014x} {kib} KiB',
    )


def _listed(
    pairs: tuple[tuple[int, int], ...] | None,
    names: tuple[str, str],
    describe: Callable[[int, int], str],
) -> Any:
    """Return pairs as one line each for people, as objects for programs."""
    if pairs is None:
        return None
    return _Readable(
        [dict(zip(names, pair, strict=True)) for pair in pairs],
        '\n'.join(describe(*pair) for pair in pairs),
    )
