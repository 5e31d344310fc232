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

"""Restoring memory as a step of a migration: bounded, reported, never raising.

What takes longer than Nova may wait is left to the reconciler.
"""

from __future__ import annotations

import contextlib

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import journal
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests

WAIT_SECONDS = 10.0

JOB_WAIT_SECONDS = 2.0
JOB_POLL_SECONDS = 0.1


def begin(
    guest: guests.Guest,
    reporter: reporters.GuestReporter,
    clock: clocks.Clock,
    record: journal.Record | None = None,
) -> restorations.Restoration | None:
    """Begin to restore a guest, if memory is outstanding.

    :param guest: the guest, which no migration moves
    :param reporter: reports what went wrong
    :param clock: for the watch
    :param record: what the migration itself knows to be outstanding, if it
                   does; written again where it is gone
    :returns: what to watch; None where nothing is outstanding, the guest has
              left, or it could not be done
    :raises DomainBusy: another libvirt job holds the domain, and the rest is
                        the reconciler's
    """
    try:
        if record is not None and record.entry is not None:
            with contextlib.suppress(exceptions.OperationInvalid):  # it is off
                _wait_for_job(guest, clock)
                record.keep()
        return restorations.begin(guest, clock)
    except (exceptions.DomainGone, exceptions.JournalUnreadable):
        return None  # the reconciler reports what cannot be read, once
    except exceptions.DomainBusy as error:
        reporter.restore_failed(error)
        raise
    except Exception as error:
        reporter.restore_failed(error)
        return None


def _wait_for_job(guest: guests.Guest, clock: clocks.Clock) -> None:
    """Wait for a job to end: one that has failed lasts a moment longer.

    :raises DomainBusy: it does not end
    """
    deadline = clocks.Deadline(clock, JOB_WAIT_SECONDS)
    while True:
        try:
            return guest.need_no_job()
        except exceptions.DomainBusy:
            if deadline.passed():
                raise
        clock.wait(JOB_POLL_SECONDS)


def watch(
    restoration: restorations.Restoration, reporter: reporters.GuestReporter
) -> bool:
    """Watch for as long as Nova may wait.

    :param restoration: what was begun
    :param reporter: reports what came of it
    :returns: whether the guest is late, and the rest is the reconciler's
    """
    try:
        result = restoration.watch(WAIT_SECONDS)
    except exceptions.DomainGone:
        return False  # the journal entry has left with it
    except exceptions.DomainBusy as error:
        reporter.restore_failed(error)
        return True
    except Exception as error:
        reporter.restore_failed(error)
        return False
    if result is None:
        return False
    reporter.restored(result)
    return not result.complete
