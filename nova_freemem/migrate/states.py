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

"""The states of a guest's migration, from the decision to its landing."""

from __future__ import annotations

import dataclasses

from nova_freemem import clock as clocks
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Skip


@dataclasses.dataclass(frozen=True)
class Skipped:
    """Nothing is released.

    :ivar skip: why
    """

    skip: Skip


@dataclasses.dataclass(frozen=True)
class DryRun:
    """Nothing is released; the transfer is measured.

    :ivar plan: what would have been released
    """

    plan: Plan


@dataclasses.dataclass(frozen=True)
class AwaitingMemory:
    """The transfer begins with disks; what is released is decided after that.

    Until then the guest keeps all it has. The journal has its entry, since
    none can be written while libvirt migrates the guest.

    :ivar ahead_seconds: how long before the end of the copy a release begins
                         at most; 0.0 for not before memory is sent
    """

    ahead_seconds: float


@dataclasses.dataclass(frozen=True)
class Releasing:
    """Memory is being released; the transfer is to start meanwhile.

    :ivar plan: what is to be released
    :ivar began_at_seconds: when the release began, monotonic
    :ivar deadline: when memory must be being sent, None for no matter
    """

    plan: Plan
    began_at_seconds: float
    deadline: clocks.Deadline | None = None


@dataclasses.dataclass(frozen=True)
class Released:
    """Memory has been released; the transfer is to start.

    :ivar plan: what was to be released; its target is what was reached
    :ivar deadline: when memory must be being sent, None for no matter
    """

    plan: Plan
    deadline: clocks.Deadline | None = None


@dataclasses.dataclass(frozen=True)
class Restored:
    """What was released has been restored; the transfer is to start."""


@dataclasses.dataclass(frozen=True)
class Cancelled:
    """The migration was aborted, or nova-compute stops: no transfer."""


State = (
    Skipped
    | DryRun
    | AwaitingMemory
    | Releasing
    | Released
    | Restored
    | Cancelled
)

#: What is done for a guest, for people.
PHASES: dict[type[State], str] = {
    Skipped: 'nothing is released',
    DryRun: 'dry run, nothing is released',
    AwaitingMemory: 'waiting for memory to be sent',
    Releasing: 'memory is being released',
    Released: 'memory has been released',
    Restored: 'what was released is restored',
    Cancelled: 'cancelled',
}
