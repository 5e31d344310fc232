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


"""What is done between two cells."""

from nova_freemem.virt import guest as guests
from tests.chaos.record import Record
from tests.chaos.stage import Stage
from tests.lab import room
from tests.lab import steps
from tests.lab import unreported

_PAID_SECONDS = 30
# A guest that needed its memory is left alone for ten minutes.
_ALARMING = ('guest-needs-memory', 'balloon-driver')


def up(stage: Stage, found: Record | None) -> None:
    """Make ready for the next cell: a whole guest, and nothing left over.

    :param found: what came of the last; None where it came to nothing.
    """
    stage.watch = None
    stage.set_link(room.LINK_MBIT)
    stage.start_computes()
    if found is None or not _is_reusable(stage, found):
        with steps.step('replace the guest'):
            stage.boot()
        return
    _pay(stage, found)
    api = stage.cloud.api
    server = stage.cloud.get(stage.server)
    if server.status != 'ACTIVE' or server.task_state:
        api.compute.reset_server_state(server.id, 'active')
    stage.turn()
    # A fault that wants memory ends by itself, later on a busy machine.
    stage.guest().do('sh', '-c', 'while pidof dirty; do sleep 0.2; done')


def _is_reusable(stage: Stage, found: Record) -> bool:
    """Whether the guest answers, has no past, and Nova knows where it is."""
    if found.after is None or len(found.runs_on) != 1:
        return False
    if found.fault in _ALARMING or found.after.boot_id != found.before.boot_id:
        return False
    if len(stage.domains(stage.server.id)) != 1:
        return False  # What is left at the other host would be in its way.
    hostname = {host.name: host.layout.hostname for host in stage.runs_on()}
    (where,) = found.runs_on
    if unreported.reports(stage.guest().domain):
        return False  # Nova has built it anew; nothing would be taken.
    is_known = found.nova.host == hostname.get(where)
    return is_known and len(found.nova.allocations) == 1


def _pay(stage: Stage, found: Record) -> None:
    """Give back what the plugin has not, as an operator would."""
    handle = stage.guest().domain
    domain = guests.Guest(handle)
    before = found.before
    if found.after and found.after.period_seconds != before.period_seconds:
        domain.set_stats_period_seconds(
            before.period_seconds[0], definition=True
        )
    if found.noted or found.whole_seconds is None:
        domain.set_balloon_kib(before.balloon_kib, definition=True)
        domain.erase_metadata()
        steps.wait_for(
            lambda: handle.memoryStats()['actual'] == before.balloon_kib,
            "the guest's memory",
            _PAID_SECONDS,
        )
