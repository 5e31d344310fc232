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

"""The demo: what the plugin saves one guest's live migration.

The guest dirties most of its memory and frees it, and is live-migrated by
the operator's command; once with the plugin disabled, once enabled.
"""

import argparse
from collections.abc import Iterator
import contextlib
import datetime
import json
import pathlib
import sys
from typing import Any

from rich import box
from rich import console as rich_console
from rich import table as rich_table

from tests.lab import arguments
from tests.lab import cloud as lab_cloud
from tests.lab import comparison
from tests.lab import episode
from tests.lab import picture
from tests.lab import preflight
from tests.lab import servers
from tests.lab import steps

_SERVER = 'freemem-demo'
_SCENARIO = 'memory dirtied and freed'

# Held, rewritten and verified all the time: enough to notice a migration
# that corrupts memory, little beside what is released.
_HELD_MIB, _REWRITTEN_PAGES_PER_SECOND = 32, 100

_CONSOLE = rich_console.Console(
    highlight=False, width=None if sys.stdout.isatty() else 100
)


def main() -> int:
    """Run the demo as the command line says.

    :returns: 0; 1 where something failed or the guest has lost something;
        2 where the request was refused and nothing has been changed.
    """
    words = sys.argv[1:]
    parser = arguments.Parser(prog='tools/demo.sh')
    arguments.demo(parser)
    try:
        preflight.refuse(['demo', *words])
        return _demonstrate(parser.parse_args(words))
    except steps.Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except steps.LabError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # As a shell says it.


def _demonstrate(request: argparse.Namespace) -> int:
    with _cloud(request) as cloud:
        server = _boot(cloud, request.memory_mib)
        without, with_plugin = (
            _play(cloud, server, request, plugin) for plugin in (False, True)
        )
        events = _events(cloud, server)
    _CONSOLE.print(events)
    _CONSOLE.print(
        comparison.table(
            (without.run, without.beside),
            (with_plugin.run, with_plugin.beside),
        )
    )
    _CONSOLE.print(comparison.headline(without.run, with_plugin.run))
    _write(request, without, with_plugin)
    return _verdict(without, with_plugin)


@contextlib.contextmanager
def _cloud(request: argparse.Namespace) -> Iterator[lab_cloud.Cloud]:
    """Bring the cloud up; end it unless it is to stay or was up before."""
    cloud = lab_cloud.Cloud()
    stays = request.keep or cloud.is_up
    is_whole = False
    try:
        cloud.up(plugin=False, link_mbit=request.link_mbit)
        yield cloud
        is_whole = True
    finally:
        if stays:
            _CONSOLE.print(
                f'The cloud stays up: source {cloud.openrc} for the openstack'
                ' command; tools/lab.sh down ends it.'
            )
        else:
            # The logs are among what stays with the databases.
            cloud.down(keep_databases=not is_whole)


def _boot(cloud: lab_cloud.Cloud, memory_mib: int) -> servers.Server:
    """Boot the demo's guest, and have it hold memory."""
    for left_over in cloud.servers():
        if left_over.name == _SERVER:
            cloud.delete(left_over)
    server = cloud.boot(_SERVER, memory_mib, reporting=False, host='host1')
    with steps.step(f'have the guest hold and verify {_HELD_MIB} MiB'):
        cloud.guest(server).hold(_HELD_MIB, _REWRITTEN_PAGES_PER_SECOND)
    return server


def _play(
    cloud: lab_cloud.Cloud,
    server: servers.Server,
    request: argparse.Namespace,
    plugin: bool,
) -> episode.Episode:
    """Migrate the guest, with the plugin enabled or disabled."""
    cloud.plugin(plugin)
    return episode.play(
        cloud, server, request.memory_mib * 3 // 4, _SCENARIO
    )


def _events(
    cloud: lab_cloud.Cloud, server: servers.Server
) -> rich_table.Table:
    """Ask the operator's command what Nova recorded of the last migration."""
    with steps.step('ask Nova what it recorded'):
        actions = _openstack(cloud, 'event', 'list', server.id)
        latest = max(actions, key=lambda action: action['Start Time'])
        request = latest['Request ID']
        action = _openstack(cloud, 'event', 'show', server.id, request)
    shown = rich_table.Table(
        title=f'openstack server event show {server.name} {request}',
        box=box.SIMPLE_HEAD,
    )
    for heading in ('event', 'host', 'start', 'finish', 'result'):
        shown.add_column(heading, overflow='fold')
    events = action['events'][::-1]  # Nova shows the newest first.
    for one in sorted(events, key=lambda event: event['start_time']):
        moments = (
            _time_of_day(one[name]) for name in ('start_time', 'finish_time')
        )
        shown.add_row(one['event'], one['host'], *moments, one['result'])
    return shown


def _time_of_day(moment: str | None) -> str:
    if moment is None:
        return ''
    return datetime.datetime.fromisoformat(moment).strftime('%H:%M:%S')


def _openstack(cloud: lab_cloud.Cloud, *words: str) -> Any:
    return json.loads(cloud.openstack(['server', *words, '-f', 'json']))


def _write(
    request: argparse.Namespace,
    without: episode.Episode,
    with_plugin: episode.Episode,
) -> None:
    """Write the picture, and the figures where that is asked for."""
    link = f'{request.link_mbit} Mbit/s' if request.link_mbit else 'no limit'
    picture.draw(
        (without.recording, without.phases),
        (with_plugin.recording, with_plugin.phases),
        f'Live migration of a {request.memory_mib} MiB guest:'
        f' {_SCENARIO}; link: {link}',
        pathlib.Path(request.png),
    )
    _CONSOLE.print(f'Picture: {request.png}')
    if request.json:
        runs = [without.run, with_plugin.run]
        pathlib.Path(request.json).write_text(comparison.to_json(runs))
        _CONSOLE.print(f'Figures: {request.json}')


def _verdict(
    without: episode.Episode, with_plugin: episode.Episode
) -> int:
    """Say whether the guest is what it was; and whether the bytes are right.

    :returns: the exit code.
    """
    named = (('without', without), ('with', with_plugin))
    for name, one in named:
        doubt = comparison.disagreement(one.run, one.beside)
        if doubt:
            _CONSOLE.print(f'{name} the plugin: {doubt}')
    wrong = [
        f'{name} the plugin: {sentence}'
        for name, one in named
        for sentence in one.wrong
    ]
    for sentence in wrong:
        _CONSOLE.print(f'[red]WRONG {sentence}[/red]')
    if not wrong:
        _CONSOLE.print('The guest is intact and has all its memory.')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
