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

"""What other services are notified of, by Nova's own notifiers.

Payloads are described by doc/notification_samples/freemem.schema.json.
"""

from __future__ import annotations

from collections.abc import Callable
import datetime
from typing import Any

from nova import rpc
import nova.conf
from oslo_log import log as logging

from nova_freemem.plan.bandwidth import KIB_PER_SECOND_PER_MBPS
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Skip
from nova_freemem.release.base import Release
from nova_freemem.restore.journal import JournalEntry
from nova_freemem.restore.schedule import RestoreResult

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

RELEASE_START = 'freemem.release.start'
RELEASE_END = 'freemem.release.end'
RESTORE_START = 'freemem.restore.start'
RESTORE_END = 'freemem.restore.end'
SKIP = 'freemem.skip'

#: Of all payloads; a new field raises the second number, and one that
#: changes or goes the first.
VERSION = '1.0'

# Drivers that notify nobody; the second is the plugin's own entry point.
SILENT_DRIVERS = frozenset(('noop', 'freemem'))

Payload = dict[str, Any]


def is_anybody_notified() -> bool:
    """Return whether Nova's notifications, of either format, go anywhere.

    Nothing in a migration may fail because of them: in doubt, nobody is.
    """
    try:
        return any(map(_is_heard, (rpc.NOTIFIER, rpc.LEGACY_NOTIFIER)))
    except Exception:
        return False


def _is_heard(notifier: Any) -> bool:
    """Return whether a notifier has a driver that notifies somebody.

    :param notifier: Nova's; None where Nova has not made it
    """
    return (
        notifier is not None
        # Nova gives the format that is not configured the driver "noop".
        and notifier.is_enabled()
        and not SILENT_DRIVERS.issuperset(
            CONF.oslo_messaging_notifications.driver
        )
    )


class Notification:
    """One notification, ready to be sent."""

    def __init__(
        self,
        context: Any,
        instance: Any,
        host: str,
        event_type: str,
        at: datetime.datetime,
        figures: Callable[[], Payload],
    ) -> None:
        """Initialize the notification of what happens now.

        :param context: of Nova's request
        :param instance: Nova's
        :param host: this host's name
        :param event_type: one of those above
        :param at: now; it may be sent later
        :param figures: makes the part of the payload that depends on the type
        """
        self._context = context
        self._instance = instance
        self._host = host
        self._event_type = event_type
        self._at = at
        self._figures = figures

    def send(self) -> None:
        """Send it in each format that is configured; never raise."""
        try:
            self._context.update_store()  # for log lines of this thread
            payload = self._payload()
            if _is_heard(rpc.NOTIFIER):
                rpc.get_versioned_notifier(f'nova-compute:{self._host}').info(
                    self._context, self._event_type, versioned(payload)
                )
            if _is_heard(rpc.LEGACY_NOTIFIER):
                # Not Nova's get_notifier(): that has a closed list of types,
                # and logs a warning about each other one.
                rpc.LEGACY_NOTIFIER.prepare(
                    publisher_id=f'compute.{self._host}'
                ).info(self._context, self._event_type, payload)
        except Exception as error:
            LOG.debug(
                'Could not send %(name)s: %(error)s',
                {'name': self._event_type, 'error': error},
                instance_uuid=self._instance.uuid,
            )

    def _payload(self) -> Payload:
        return {
            'uuid': self._instance.uuid,
            'tenant_id': self._instance.project_id,
            'host': self._host,
            'at': self._at.isoformat(timespec='milliseconds'),
            **self._figures(),
        }


def versioned(payload: Payload) -> Payload:
    """Return a payload as Nova's versioned notifications have it.

    :param payload: as it is in legacy notifications
    """
    return {
        'nova_object.namespace': 'nova_freemem',
        'nova_object.name': 'FreememPayload',
        'nova_object.version': VERSION,
        'nova_object.data': payload,
    }


def of_skip(
    skip: Skip, dest: str | None, migration_uuid: str | None
) -> Payload:
    """Describe that nothing is released.

    :param skip: the decision
    :param dest: the destination's name, None where it is unknown
    :param migration_uuid: of Nova's migration, None where it is unknown
    """
    return {
        'dest': dest,
        'migration_uuid': migration_uuid,
        'reason': skip.name,
        'detail': skip.detail,
    }


def of_release(
    plan: Plan,
    release: Release | None,
    dest: str | None,
    migration_uuid: str | None,
) -> Payload:
    """Describe a release that begins or has ended.

    :param plan: what is to be released
    :param release: what was; None at its start, and where that is not known
                    because of an error
    :param dest: the destination's name, None where it is unknown
    :param migration_uuid: of Nova's migration, None where it is unknown
    """
    return {
        'dest': dest,
        'migration_uuid': migration_uuid,
        'mode': plan.mode.value,
        'source': plan.source,
        'original_kib': plan.original_kib,
        'target_kib': plan.target_kib,
        'resident_kib': plan.rss_kib,
        'expected_saving_kib': plan.expected_saving_kib,
        'bandwidth_mbps': round(
            plan.bandwidth.kib_per_second / KIB_PER_SECOND_PER_MBPS
        ),
        'bandwidth_origin': plan.bandwidth.origin.name.lower(),
        'released_kib': None if release is None else release.released_kib,
        'resident_fall_kib': (
            None if release is None else release.resident_fall_kib
        ),
        'seconds': None if release is None else round(release.seconds, 3),
        'end': None if release is None else release.end.name,
        'undone': None if release is None else release.end.restores,
    }


def of_restore(entry: JournalEntry, result: RestoreResult | None) -> Payload:
    """Describe a restore that begins or has ended.

    :param entry: what says that memory is outstanding
    :param result: how much the guest has; None at the start, and where that
                   is not known
    """
    return {
        'source_host': entry.source,
        'migration_uuid': entry.migration,
        'released_at': entry.released_at.isoformat(timespec='milliseconds'),
        'original_kib': entry.original_kib,
        'before_kib': None if result is None else result.before_kib,
        'after_kib': None if result is None else result.after_kib,
        'seconds': None if result is None else round(result.seconds, 3),
        'complete': None if result is None else result.complete,
    }
