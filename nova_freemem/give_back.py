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

"""Give back what is owed, and keep at it for as long as it takes.

Nothing in here raises: this is what is done when something went wrong.
"""

from __future__ import annotations

import threading

from nova_freemem import assign
from nova_freemem import clock as clocks
from nova_freemem import domain as domains
from nova_freemem import exceptions
from nova_freemem import report

# How long Nova's own steps wait for a guest to take its memory back; after
# that a thread of its own goes on watching.
WAIT_SECONDS = 10.0
PATIENCE_SECONDS = 3600.0


def begin(domain: domains.Domain, reporter: report.Reporter,
          clock: clocks.Clock) -> assign.Assignment | None:
    """Start giving back, if anything is owed.

    :param domain: the guest, where no migration is under way
    :param reporter: tells what went wrong
    :param clock: for the watch
    :returns: what to see to; None where nothing is owed, the guest has
              left, or it could not be done and that was told
    """
    try:
        return assign.begin(domain, clock)
    except exceptions.DomainGone:
        return None
    except Exception as fault:
        reporter.not_assigned(fault)
        return None


def see_to(assignment: assign.Assignment, reporter: report.Reporter
           ) -> threading.Thread | None:
    """Watch for as long as Nova may wait, and beside it where that is short.

    :param assignment: what was begun
    :param reporter: tells what came of it
    :returns: the thread that goes on watching, if one has to
    """
    if _watch(assignment, reporter, WAIT_SECONDS):
        return None
    watcher = threading.Thread(
        target=_watch, name='freemem-assign', daemon=True,
        args=(assignment, reporter, PATIENCE_SECONDS))
    try:
        watcher.start()
    except RuntimeError as fault:
        reporter.not_assigned(fault)
        return None
    return watcher


def _watch(assignment: assign.Assignment, reporter: report.Reporter,
           wait_seconds: float) -> bool:
    """Watch, and tell whether there is nothing left to watch."""
    try:
        assigned = assignment.watch(wait_seconds)
    except exceptions.DomainGone:
        return True  # what is owed has left with it
    except Exception as fault:
        reporter.not_assigned(fault)
        return True
    reporter.assigned(assigned)
    return assigned.complete
