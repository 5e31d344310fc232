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

"""What Nova recorded of a migration."""

import datetime
import json
from typing import Any

from rich import box
from rich import table as rich_table

from tests.lab import cloud as lab_cloud
from tests.lab import layout
from tests.lab import servers
from tests.lab import steps


def seconds(cloud: lab_cloud.Cloud, server: servers.Server) -> float:
    """Read how long the latest migration of a server lasted.

    :returns: seconds; Nova records whole ones.
    """
    records = cloud.api.compute.migrations(instance_uuid=server.id)
    latest = max(records, key=lambda record: record.created_at)
    began, ended = (
        datetime.datetime.fromisoformat(moment)
        for moment in (latest.created_at, latest.updated_at)
    )
    return (ended - began).total_seconds()


def events(cloud: lab_cloud.Cloud, server: servers.Server) -> rich_table.Table:
    """Ask the operator's command for the events of the latest action.

    :returns: what ``openstack server event show`` knows, oldest first.
    """
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
    oldest_first = action['events'][::-1]
    for one in sorted(oldest_first, key=lambda event: event['start_time']):
        moments = (
            _time_of_day(one[name]) for name in ('start_time', 'finish_time')
        )
        shown.add_row(one['event'], one['host'], *moments, one['result'])
    return shown


def log_lines(server: servers.Server) -> list[str]:
    """Find what the plugin told the operator of a server.

    :returns: the lines of both nova-computes' logs, oldest first.
    """
    found = []
    for host in layout.HOSTS:
        log = layout.LAB.log / f'{host}-nova-compute.log'
        for line in log.read_text(errors='replace').splitlines():
            head, _, text = line.partition(f'[instance: {server.id}] ')
            if text and ' nova_freemem.' in head:
                found.append((head, f'nova-compute on {host}: {text}'))
    return [line for _, line in sorted(found)]  # Each begins with its time.


def _time_of_day(moment: str | None) -> str:
    if moment is None:
        return ''
    return datetime.datetime.fromisoformat(moment).strftime('%H:%M:%S')


def _openstack(cloud: lab_cloud.Cloud, *words: str) -> Any:
    return json.loads(cloud.openstack(['server', *words, '-f', 'json']))
