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

"""What is done for a guest that has landed on this host."""

from __future__ import annotations

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.migrate import restore_step
from nova_freemem.report import events
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests


def restore_memory(
    guest: guests.Guest,
    reporter: reporters.Reporter,
    clock: clocks.Clock,
    begun: restorations.Begun | None = None,
) -> None:
    """Restore outstanding memory of a guest, as a step with its own event.

    :param guest: the guest
    :param reporter: reports on it
    :param clock: for all waits
    :param begun: what was begun as the guest resumed here, if anything
    """
    restoration: restorations.Restoration | None = None
    if begun is not None:
        restoration = restorations.Restoration(
            guest, begun.entry, clock, begun
        )
    if restoration is None or not _is_of_this_landing(restoration):
        try:
            restoration = restore_step.begin(guest, reporter, clock)
        except exceptions.DomainBusy:
            return  # the reconciler's
    if restoration is not None:
        with reporter.event(events.RESTORE):
            restore_step.watch(restoration, reporter)


def _is_of_this_landing(begun: restorations.Restoration) -> bool:
    """Return whether what was begun is about this landing, not an old one."""
    try:
        return begun.is_current()
    except exceptions.FreememError:
        return False
