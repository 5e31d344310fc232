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

"""Why memory of a guest is not released."""

from __future__ import annotations

import dataclasses
import enum


class Reason(enum.Enum):
    """The cause of a skip.

    The name, in lower case, is the end of the event's name and what the
    operations guide explains it under; the value is for people.
    """

    DISABLED_BY_HOST = 'releasing is not enabled on this host'
    DISABLED_BY_FLAVOR = 'the flavor of the guest says not to release any'
    DISABLED_BY_IMAGE = 'the image of the guest says not to release any'
    DESTINATION_NOT_READY = (
        'the destination is not known to restore the memory of guests'
    )
    SAME_HOST = 'the destination is this host'
    OUTSTANDING_MEMORY = 'memory of an earlier migration is still outstanding'
    BACKING_OFF = (
        'the guest came under memory pressure in an earlier migration'
    )
    NOT_RUNNING = 'the guest is not running'
    DOMAIN_BUSY = 'another libvirt job holds the domain'
    NO_BALLOON = 'the domain has no memory balloon'
    NO_BALLOON_DRIVER = 'the balloon driver of the guest does not answer'
    BALLOONED_ALREADY = 'something else has inflated the balloon'
    PINNED_MEMORY = (
        'the memory of the guest is locked, pre-allocated, in huge pages or '
        'in a file'
    )
    PASSTHROUGH_DEVICE = 'a passed-through device pins the memory of the guest'
    CONFIDENTIAL = 'the memory of the guest is encrypted by the processor'
    NO_RSS = 'libvirt does not report the resident size of the guest'
    NO_SOURCE = 'no source reported how much memory is free'
    MEMORY_PRESSURE = 'tasks of the guest are waiting for memory'
    GUEST_NUMA = (
        'a NUMA node of the guest has nothing to spare, or the guest does not '
        'report its nodes'
    )
    OVERCOMMIT_LIMIT = (
        'the guest does not overcommit, and its processes have asked for '
        'nearly all that they may'
    )
    NOTHING_FREE = 'nothing is free beyond the headroom'
    NOT_WORTHWHILE = 'a release would save too little'
    INTERRUPTED = 'the migration was interrupted before anything was released'
    ERROR = 'an error occurred before anything was released'


@dataclasses.dataclass(frozen=True)
class Skip:
    """The decision to migrate a guest as it is.

    :ivar reason: why
    :ivar detail: the figures or the error behind it, for the log line
    """

    reason: Reason
    detail: str = ''

    @property
    def name(self) -> str:
        """The reason as events and the operations guide name it."""
        return self.reason.name.lower()

    def __str__(self) -> str:
        """Return the whole of it as one clause."""
        if not self.detail:
            return self.reason.value
        return f'{self.reason.value} ({self.detail})'
