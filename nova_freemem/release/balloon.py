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

"""The releaser that uses the memory balloon."""

from __future__ import annotations

from nova_freemem import exceptions
from nova_freemem.release import base
from nova_freemem.virt import guest as guests


class Balloon(base.Releaser):
    """Inflates the memory balloon of the guest."""

    def observe(
        self, guest: guests.Guest, now_seconds: float
    ) -> base.Observation:
        """See :meth:`nova_freemem.release.base.Releaser.observe`."""
        stats = guest.memory_stats()
        if stats is None or stats.rss_kib is None:
            raise exceptions.SourceUnavailable(
                source='balloon',
                problem='the host stopped reporting the resident size of the '
                'guest',
            )
        return base.Observation(
            now_seconds,
            stats.actual_kib,
            stats.rss_kib,
            stats.available_kib,
            stats.swapped_out_kib,
            stats.free_kib,
            guest.oom_kills(),
            stats.major_faults,
            last_update_seconds=stats.last_update_seconds,
        )

    def set_target(
        self, guest: guests.Guest, target_kib: int, phase: base.Phase
    ) -> None:
        """See :meth:`nova_freemem.release.base.Releaser.set_target`."""
        if phase is base.Phase.BEFORE_TRANSFER:
            guest.set_balloon_kib(target_kib)
        else:
            guest.steer_balloon_kib(target_kib)
