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

"""``nova-freemem report``: what the migrations of this host have saved."""

from __future__ import annotations

import argparse
import collections
from collections.abc import Iterable
from collections.abc import Sequence
import datetime

from cliff import lister

from nova_freemem import history
from nova_freemem.cli import base
from nova_freemem.cli import nova_conf
from nova_freemem.history import Kind
from nova_freemem.history import Outcome
from nova_freemem.history import Record

COLUMNS = ('outcome', 'reason', 'count', 'not_sent_gib', 'saved_seconds')

#: What the row with the sums has as its outcome.
TOTAL = 'total'

KIB_PER_GIB = 1024 * 1024

#: A row: outcome, reason, count, GiB and seconds; None for what has none.
Row = tuple[str, str | None, int, float | None, float | None]


class Report(base.Command, lister.Lister):
    """Show what the live migrations from and to this host have saved.

    "released" are migrations from this host whose memory was released, and
    that were completed; "failed" those that were not; "skipped" those with all
    their memory, by reason. "restored" are guests that got their memory back
    on this host, "slow" those that had not within ten seconds.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--since',
            type=time,
            metavar='TIME',
            help='Leave out what was before, for example 2026-11-20 or '
            '"2026-11-20 08:00"; local time, unless it ends in Z or an '
            'offset such as +01:00.',
        )
        nova_conf.add_arguments(parser)
        return parser

    def take_action(
        self, parsed_args: argparse.Namespace
    ) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """See :meth:`cliff.lister.Lister.take_action`."""
        folder = state_path(parsed_args.nova_conf)
        try:
            records, unreadable = history.read(folder)
        except OSError as error:
            raise base.Refused(problem=str(error)) from None
        if unreadable:
            base.print_error(
                f'nova-freemem: {unreadable} lines of the history in {folder} '
                'cannot be read and are left out'
            )
        if not records:
            base.print_error(
                f'nova-freemem: there is no history in {folder}: no live '
                'migration from or to this host was counted yet (dry runs are '
                'not), or nova-compute uses another state_path'
            )
        since = parsed_args.since
        return COLUMNS, [
            tuple(base.shown(value, parsed_args) for value in row)
            for row in summarize(
                record
                for record in records
                if since is None or record.at >= since
            )
        ]


def time(text: str) -> datetime.datetime:
    """Parse a time.

    :param text: the argument
    :raises ArgumentTypeError: it is not one
    """
    try:
        return datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f'{text[:40]!r} is not a time such as 2026-11-20 or '
            '2026-11-20T08:00'
        ) from None


def state_path(words: Sequence[str]) -> str:
    """Return the folder in which nova-compute keeps what it keeps.

    :param words: what the command line of nova-compute has of files and
                  folders of configuration
    :raises Refused: the configuration cannot be read, or does not tell
    """
    path = nova_conf.value(nova_conf.read(words), 'state_path')
    if path is None:
        raise base.Refused(
            problem='the configuration of Nova has no state_path'
        )
    return str(path)


def summarize(records: Iterable[Record]) -> list[Row]:
    """Sum up what became of migrations.

    :param records: of one host
    :returns: rows as the command shows them; the total of migrations from the
              host is always there
    """
    outcomes: dict[tuple[str, str | None], list[Record]] = (
        collections.defaultdict(list)
    )
    total: list[Record] = []
    for record in records:
        outcomes[record.outcome.value, record.reason].append(record)
        if record.kind is not Kind.RESTORE:
            total.append(record)
    order = [outcome.value for outcome in Outcome]
    rows = [
        _row(outcome, reason, outcomes[outcome, reason])
        for outcome, reason in sorted(
            outcomes, key=lambda key: (order.index(key[0]), key[1] or '')
        )
    ]
    return [*rows, _row(TOTAL, None, total)]


def _row(outcome: str, reason: str | None, records: list[Record]) -> Row:
    if outcome not in (Outcome.RELEASED.value, TOTAL):
        return outcome, reason, len(records), None, None
    # A transfer that failed has saved nothing.
    saving = [
        record for record in records if record.outcome is Outcome.RELEASED
    ]
    return (
        outcome,
        reason,
        len(records),
        round(
            sum(record.not_sent_kib or 0 for record in saving) / KIB_PER_GIB, 2
        ),
        round(sum(record.seconds or 0.0 for record in saving), 1),
    )
