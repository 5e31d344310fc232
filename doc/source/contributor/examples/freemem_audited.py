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

"""A releaser: the balloon, with a line in the log for each target."""

from __future__ import annotations

from oslo_log import log as logging

from nova_freemem.release import balloon
from nova_freemem.release import base
from nova_freemem.virt import guest as guests

LOG = logging.getLogger(__name__)


class AuditedBalloon(balloon.Balloon):
    """Says what the guest is asked for."""

    def set_target(
        self, guest: guests.Guest, target_kib: int, phase: base.Phase
    ) -> None:
        """See :meth:`nova_freemem.release.base.Releaser.set_target`."""
        super().set_target(guest, target_kib, phase)
        LOG.info(
            'The guest is asked for a size of %(target)d KiB %(phase)s.',
            {'target': target_kib, 'phase': phase.value},
            instance_uuid=guest.uuid,
        )
