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

"""Events of a server's live migration, as ``server event show`` lists them."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from typing import Any

from nova import objects
from oslo_log import log as logging

from nova_freemem.plan.reasons import Skip

LOG = logging.getLogger(__name__)

RELEASE = 'compute_freemem_release'
RESTORE = 'compute_freemem_restore'
SKIP_PREFIX = 'compute_freemem_skip_'


def skip_event(skip: Skip) -> str:
    """Return the name of a skip's event."""
    return SKIP_PREFIX + skip.name


class Events:
    """Records events of one instance."""

    def __init__(self, context: Any, instance: Any, host: str) -> None:
        """Initialize the recorder.

        :param context: of Nova's request
        :param instance: Nova's
        :param host: this host's name
        """
        self._context = context
        self._instance = instance
        self._host = host

    @contextlib.contextmanager
    def event(self, name: str) -> Iterator[None]:
        """Record a step, as a success in any case.

        An event that ends in an error turns the whole action into one, so
        errors of the plugin are in the log alone.

        :param name: the event's name
        """
        self._record('event_start', name, host=self._host)
        try:
            yield
        finally:
            self._record('event_finish', name)

    def _record(self, method: str, name: str, **details: str) -> None:
        try:
            getattr(objects.InstanceActionEvent, method)(
                self._context,
                self._instance.uuid,
                name,
                want_result=False,
                **details,
            )
        except Exception as error:
            LOG.debug(
                'Could not record %(name)s: %(error)s',
                {'name': name, 'error': error},
                instance=self._instance,
            )
