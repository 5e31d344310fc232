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

"""What Nova recorded of a server: actions, events, migrations, faults."""

import dataclasses
import datetime
from typing import Any
from typing import NamedTuple

from openstack import connection

from tests.lab import layout
from tests.lab import steps

_ENDED = {'completed', 'failed', 'error', 'cancelled'}


class Event(NamedTuple):
    """One event of an action on a server."""

    action: str
    name: str
    host: str
    start: str
    finish: str | None
    result: str | None


@dataclasses.dataclass(frozen=True)
class Migration:
    """A live migration that has ended.

    :param status: ``completed``, or how else Nova calls it.
    :param seconds: from the request until Nova had it recorded.
    """

    number: int
    source: str
    destination: str | None
    status: str
    seconds: float


def last_events(api: connection.Connection, server_id: str) -> list[Event]:
    """List the events of the last action on a server, oldest first."""
    actions = api.compute.server_actions(server_id)
    last = max(actions, key=lambda action: action.start_time)
    whole = api.compute.get_server_action(last.request_id, server_id)
    found = [
        Event(
            action=whole.action,
            name=one['event'],
            host=one.get('host') or '',
            start=one['start_time'],
            finish=one['finish_time'],
            result=one['result'],
        )
        # Latest first, and their times are whole seconds.
        for one in reversed(whole.events)
    ]
    return sorted(found, key=lambda event: event.start)


def ended_migration(
    api: connection.Connection, server_id: str
) -> dict[str, Any] | None:
    """Read the latest migration's record once it has an end.

    The source writes it after the destination has the server ACTIVE.
    """
    answer = api.compute.get(
        f'/os-migrations?instance_uuid={server_id}', microversion='2.80'
    )
    records = answer.json()['migrations']
    latest = max(records, key=lambda record: record['id'], default=None)
    return latest if latest and latest['status'] in _ENDED else None


def migration_seconds(api: connection.Connection, server_id: str) -> float:
    """Read how long the latest migration of a server lasted.

    :returns: seconds; Nova records whole ones.
    :raises LookupError: it has not ended.
    """
    record = ended_migration(api, server_id)
    if record is None:
        raise LookupError(f'the migration of {server_id} has not ended')
    began, ended = (
        datetime.datetime.fromisoformat(record[moment])
        for moment in ('created_at', 'updated_at')
    )
    return (ended - began).total_seconds()


def plugin_lines(server_id: str) -> list[str]:
    """Find what the plugin logged of a server.

    :returns: the lines of both nova-computes' logs, oldest first.
    """
    found = []
    for host in layout.HOSTS:
        log = layout.LAB.log / f'{host}-nova-compute.log'
        for line in log.read_text(errors='replace').splitlines():
            head, _, text = line.partition(f'[instance: {server_id}] ')
            if text and ' nova_freemem.' in head:
                found.append((head, f'nova-compute on {host}: {text}'))
    return [line for _, line in sorted(found)]  # Each begins with its time.


def story(api: connection.Connection, server_id: str) -> str:
    """Tell what Nova and its computes know of a failure."""
    server = api.compute.get_server(server_id)
    fault = (server.fault or {}).get('message', 'no fault recorded')
    where = f'{server.status} on {server.compute_host}'
    lines = [f'{server.name} is {where}: {fault}']
    lines += [
        f'  {one.name} on {one.host}: {one.result}'
        for one in last_events(api, server_id)
    ]
    for name in layout.HOSTS:
        log = layout.LAB.log / f'{name}-nova-compute.log'
        errors = steps.last_lines(log, 3, containing=' ERROR ')
        lines.append(f'{log}: {errors or "no errors"}')
    return '\n'.join(lines)
