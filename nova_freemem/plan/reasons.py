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

"""Why a guest is left alone: one word each, and what it means."""

from __future__ import annotations

import dataclasses
import enum


class Reason(enum.Enum):
    """The cause, as it is_current in event names; its value is for people."""

    NOT_RUNNING = 'the guest is paused or not running'
    NO_BALLOON = 'the domain has no memory balloon'
    NO_BALLOON_DRIVER = (
        'no balloon driver of the guest answers: it has none, or it hangs'
    )
    OUTSTANDING_MEMORY = 'it is owed memory from before, and gets that first'
    BALLOONED_ALREADY = (
        'the balloon is inflated already, and not by this migration'
    )
    PINNED_MEMORY = (
        'its memory is locked, in huge pages or in a file, so '
        'that taking it would free nothing'
    )
    PASSTHROUGH_DEVICE = (
        'a passed-through device pins its memory, so that '
        'taking it would free nothing'
    )
    CONFIDENTIAL = 'its memory is encrypted by the processor'
    SAME_HOST = 'the destination is this host'
    NO_SOURCE = 'nobody could tell what the guest has free'
    NO_RSS = 'the host does not tell the resident size of the guest'
    BACKING_OFF = 'it came under pressure in an earlier migration'
    INTERRUPTED = 'the operator was quicker'
    MEMORY_PRESSURE = 'its tasks have been waiting for memory'
    NOTHING_FREE = 'nothing is free beyond its headroom'
    NOT_WORTHWHILE = 'too little of what is free is resident'


@dataclasses.dataclass(frozen=True)
class Skip:
    """The decision to migrate a guest as it is.

    :ivar reason: why
    :ivar detail: the figures or the fault behind it, for the log line
    """

    reason: Reason
    detail: str = ''

    def __str__(self) -> str:
        """Say the whole of it in one clause."""
        if not self.detail:
            return self.reason.value
        return f'{self.reason.value} ({self.detail})'
