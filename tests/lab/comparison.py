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

"""Two runs side by side: the figures, the tables, the JSON; pure."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import datetime
import json

from rich import box
from rich import table as rich_table

from tests.lab import records

# Packet headers and retransmissions are on the wire and not in the job's
# statistics; more than this apart, one of the two is wrong.
_LARGEST_DISAGREEMENT = 0.1


@dataclasses.dataclass(frozen=True)
class Run:
    """One migration in figures: what ``--json`` writes.

    :param scenario: what the guest had done before.
    :param plugin: whether the plugin was enabled.
    :param seconds_release: of the release; 0 without the plugin.
    :param seconds_transfer: libvirt's migration.
    :param seconds_total: from the start of the release, or of the transfer
        where nothing is released, to the guest running at the destination.
    :param seconds_restore: from there to the guest having all its memory;
        None where that did not happen.
    :param bytes_sent: by the source over the link.
    :param downtime_ms: for how long the guest stood still, by QEMU.
    :param rss_before_kib: resident size of its QEMU at the source.
    :param balloon_before_kib: memory it had there.
    :param balloon_after_kib: memory it had in the end.
    :param guest_intact: alive, not restarted, what it holds unchanged.
    """

    scenario: str
    plugin: bool
    seconds_release: float
    seconds_transfer: float
    seconds_total: float
    seconds_restore: float | None
    bytes_sent: int
    downtime_ms: int
    rss_before_kib: int
    balloon_before_kib: int
    balloon_after_kib: int
    guest_intact: bool


@dataclasses.dataclass(frozen=True)
class Beside:
    """What is shown of a run besides.

    :param nova_seconds: the whole migration by Nova's record.
    :param job_bytes: what QEMU says it sent.
    :param rss_after_kib: resident size of its QEMU in the end.
    :param cpu_seconds: processor time of both nova-computes, from the request
        until the guest has all its memory.
    """

    nova_seconds: float
    job_bytes: int
    rss_after_kib: int
    cpu_seconds: float


def to_json(runs: Sequence[Run]) -> str:
    """Write runs as a list of objects, seconds to the millisecond."""
    objects = [
        {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in dataclasses.asdict(run).items()
        }
        for run in runs
    ]
    return json.dumps(objects, indent=2) + '\n'


def disagreement(run: Run, beside: Beside) -> str | None:
    """Compare the link's counters with what QEMU says it sent.

    :returns: a sentence where they are far apart.
    """
    apart = abs(run.bytes_sent - beside.job_bytes) / beside.job_bytes
    if apart <= _LARGEST_DISAGREEMENT:
        return None
    return (
        f'The link carried {run.bytes_sent / 1e6:,.0f} MB, while QEMU says'
        f' that it sent {beside.job_bytes / 1e6:,.0f} MB: {apart:.0%} apart.'
    )


def headline(without: Run, with_plugin: Run) -> str:
    """Say in one line what the plugin is worth."""
    if not with_plugin.seconds_release:
        return (
            'Nothing was released though the plugin was enabled; the log of'
            ' nova-compute tells why.'
        )
    bytes_share = _share(without.bytes_sent, with_plugin.bytes_sent)
    seconds_share = _share(without.seconds_total, with_plugin.seconds_total)
    return (
        f'With the plugin: {bytes_share} of the bytes and {seconds_share} '
        'of the seconds of the migration without it.'
    )


def table(
    title: str, without: tuple[Run, Beside], with_plugin: tuple[Run, Beside]
) -> rich_table.Table:
    """Show two runs side by side.

    :param title: what the two are of.
    :param without: the run with the plugin disabled.
    :param with_plugin: the run with the plugin enabled.
    """
    shown = rich_table.Table(title=title)
    shown.add_column('')
    for heading in ('without plugin', 'with plugin', 'with / without'):
        shown.add_column(heading, justify='right')
    for name, read, form, is_compared in _ROWS:
        pair = read(*without), read(*with_plugin)
        ratio = _share(*pair) if is_compared else ''
        shown.add_row(name, *(_shown(form, value) for value in pair), ratio)
    return shown


def events_table(
    name: str, events: Sequence[records.Event]
) -> rich_table.Table:
    """Show what Nova recorded of a server's last action.

    :param name: the server's.
    :param events: oldest first.
    """
    shown = rich_table.Table(
        title=f'openstack server event show {name}', box=box.SIMPLE_HEAD
    )
    for heading in ('event', 'host', 'start', 'finish', 'result'):
        shown.add_column(heading, overflow='fold')
    for one in events:
        moments = (_time_of_day(moment) for moment in (one.start, one.finish))
        shown.add_row(one.name, one.host, *moments, one.result)
    return shown


def _time_of_day(moment: str | None) -> str:
    if moment is None:
        return ''
    return datetime.datetime.fromisoformat(moment).strftime('%H:%M:%S')


Figure = float | None
_ROWS: Sequence[tuple[str, Callable[[Run, Beside], Figure], str, bool]] = (
    (
        'release, s',
        lambda run, _: run.seconds_release if run.plugin else None,
        '.1f',
        False,
    ),
    ('transfer, s', lambda run, _: run.seconds_transfer, '.1f', True),
    ('whole, s', lambda run, _: run.seconds_total, '.1f', True),
    (
        'restore, s',
        lambda run, _: run.seconds_restore if run.plugin else None,
        '.1f',
        False,
    ),
    ("Nova's record, s", lambda _, beside: beside.nova_seconds, '.0f', True),
    (
        'nova-compute, CPU s',
        lambda _, beside: beside.cpu_seconds,
        '.2f',
        False,
    ),
    ('sent, MB', lambda run, _: run.bytes_sent / 1e6, ',.0f', True),
    ('downtime, ms', lambda run, _: run.downtime_ms, ',', True),
    ('RSS before, KiB', lambda run, _: run.rss_before_kib, ',', False),
    ('RSS after, KiB', lambda _, beside: beside.rss_after_kib, ',', False),
    ('memory before, KiB', lambda run, _: run.balloon_before_kib, ',', False),
    ('memory after, KiB', lambda run, _: run.balloon_after_kib, ',', False),
)


def _shown(form: str, value: Figure) -> str:
    return '-' if value is None else format(value, form)


def _share(whole: Figure, part: Figure) -> str:
    if not whole or part is None:
        return '-'
    return f'{part / whole:.1%}'
