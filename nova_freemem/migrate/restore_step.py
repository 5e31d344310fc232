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

"""Give back what is owed, for as long as Nova's own steps may wait.

Nothing in here raises: this is what is done when something went wrong. What
takes longer is the reconciler's.
"""

from __future__ import annotations

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests

WAIT_SECONDS = 10.0


def begin(
    domain: guests.Guest, reporter: reporters.Reporter, clock: clocks.Clock
) -> restorations.Restoration | None:
    """Start giving back, if anything is owed.

    :param domain: the guest, where no migration is under way
    :param reporter: tells what went wrong
    :param clock: for the watch
    :returns: what to see to; None where nothing is owed, the guest has
              left, or it could not be done
    """
    try:
        return restorations.begin(domain, clock)
    except (exceptions.DomainGone, exceptions.JournalUnreadable):
        return None  # of what cannot be read, the reconciler tells, once
    except Exception as fault:
        reporter.restore_failed(fault)
        return None


def watch(
    assignment: restorations.Restoration, reporter: reporters.GuestReporter
) -> bool:
    """Watch for as long as Nova may wait.

    :param assignment: what was begun
    :param reporter: tells what came of it
    :returns: whether the guest is late, and the rest is the reconciler's
    """
    try:
        assigned = assignment.watch(WAIT_SECONDS)
    except exceptions.DomainGone:
        return False  # what is owed has left with it
    except Exception as fault:
        reporter.restore_failed(fault)
        return False
    if assigned is None:
        return False
    reporter.restored(assigned)
    return not assigned.complete
