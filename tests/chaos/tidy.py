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
from tests.chaos import stage as stages
from tests.chaos import verdict
from tests.chaos.record import Other as Ended
from tests.chaos.record import Record
from tests.chaos.stage import Stage
from tests.lab import room
from tests.lab import servers
from tests.lab import steps
from tests.lab import unreported

_RESTORED_SECONDS = 30
# The next migrations of such a guest skip memory release (backing_off).
_CAUSING_BACKOFF = ('guest-needs-memory', 'balloon-driver')
# It may hang with its guests whole; see faults.services.LibvirtdAlone.
_LEAVING_COMPUTE_HUNG = (
    'libvirtd-alone-source',
    'libvirtd-alone-destination',
    'several-libvirtd-source',
    'several-libvirtd-destination',
)


def up(stage: Stage, found: Record | None) -> None:
    """Prepare the next cell: a guest with all its memory, nothing left over.

    :param found: the last cell; None if it was inconclusive.
    """
    stage.watch = None
    stage.set_link(room.LINK_MBIT)
    if found is None or found.fault in _LEAVING_COMPUTE_HUNG:
        stage.kill_computes()
    stage.start_computes()
    _replace_others(stage, found)
    if found is None or not _is_reusable(stage, found):
        with steps.step('replace the guest'):
            stage.boot()
        stage.turn()
        return
    _restore(stage, found)
    _activate(stage, stage.server)
    stage.turn()
    # A fault that takes memory ends by itself, later on a busy machine.
    stage.guest().do('sh', '-c', 'while pidof dirty; do sleep 0.2; done')


def _replace_others(stage: Stage, found: Record | None) -> None:
    """Remove those of the other guests that are not as they were before."""
    others = list(stage.others)
    ended = found.others if found else [None] * len(others)
    for other, one in zip(others, ended, strict=True):
        if one is None or not _is_as_before(stage, other, one):
            stage.dismiss(other)
            continue
        _activate(stage, other.server)


def _is_as_before(stage: Stage, other: stages.Other, ended: Ended) -> bool:
    hostname = {host.name: host.layout.hostname for host in room.hosts()}
    return (
        ended.after is not None
        and not list(verdict.differences(ended.before, ended.after))
        and ended.after.boot_id == ended.before.boot_id
        and [hostname[name] for name in ended.runs_on] == [ended.nova.host]
        and not ended.journal_entry
        and len(ended.nova.allocations) == 1
        and len(stage.domains(other.server.id)) == 1
    )


def _activate(stage: Stage, server: servers.Server) -> None:
    now = stage.cloud.get(server)
    if now.status != 'ACTIVE' or now.task_state:
        stage.cloud.api.compute.reset_server_state(now.id, 'active')


def _is_reusable(stage: Stage, found: Record) -> bool:
    """Tell whether the guest is as if it had just been booted."""
    if found.after is None or len(found.runs_on) != 1:
        return False
    if (
        found.fault in _CAUSING_BACKOFF
        or found.after.boot_id != found.before.boot_id
    ):
        return False
    if len(stage.domains(stage.server.id)) != 1:
        return False  # The domain left on the other host would be in its way.
    hostname = {host.name: host.layout.hostname for host in stage.runs_on()}
    (where,) = found.runs_on
    if unreported.reports(stage.guest().domain):
        return False  # Nova has defined it again; nothing would be released.
    is_known = found.nova.host == hostname.get(where)
    return is_known and len(found.nova.allocations) == 1


def _restore(stage: Stage, found: Record) -> None:
    """Restore what the plugin has not, as an operator would."""
    handle = stage.guest().domain
    domain = guests.Guest(handle)
    before = found.before
    if found.after and found.after.period_seconds != before.period_seconds:
        domain.set_stats_period_seconds(
            before.period_seconds[0], definition=True
        )
    if found.journal_entry or found.whole_seconds is None:
        domain.set_balloon_kib(before.balloon_kib, definition=True)
        domain.erase_metadata()
        steps.wait_for(
            lambda: handle.memoryStats()['actual'] == before.balloon_kib,
            "the guest's memory",
            _RESTORED_SECONDS,
        )
