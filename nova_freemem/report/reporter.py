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

"""What operators see: log lines, and events in ``server event show``."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
from typing import Any

from nova import objects
from oslo_log import log as logging

from nova_freemem import exceptions
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Skip
from nova_freemem.release.base import Release
from nova_freemem.restore.restoration import RestoreResult

LOG = logging.getLogger(__name__)

RELEASE_EVENT = 'compute_freemem_release'
RESTORE_EVENT = 'compute_freemem_restore'
SKIP_EVENT = 'compute_freemem_skip_{reason}'

KIB_PER_MIB = 1024


class GuestReporter:
    """Tells, in the log, of what one guest is owed."""

    def __init__(self, uuid: str) -> None:
        """Speak for one guest.

        :param uuid: the instance's
        """
        self._uuid = uuid

    def restored(self, assigned: RestoreResult) -> None:
        """Tell what the guest got back.

        :param assigned: what came of it
        """
        if assigned.complete:
            LOG.info(
                'Gave memory back to the guest in %(seconds).1f s: '
                '%(before)d -> %(after)d KiB.',
                {
                    'seconds': assigned.seconds,
                    'before': assigned.before_kib,
                    'after': assigned.after_kib,
                },
                instance_uuid=self._uuid,
            )
            return
        LOG.warning(
            'The guest is slow to take its memory back: it has %(after)d of '
            '%(original)d KiB after %(seconds).0f s. What is owed stays '
            'written in its domain, and asking goes on.',
            {
                'after': assigned.after_kib,
                'original': assigned.original_kib,
                'seconds': assigned.seconds,
            },
            instance_uuid=self._uuid,
        )

    def restore_failed(self, fault: Exception) -> None:
        """Tell that memory could not be given back, and how to mend it.

        :param fault: why
        """
        LOG.error(
            'Could not give memory back to the guest: %(fault)s. It may run '
            'with less memory than it was given. It is tried again as long '
            'as nova-compute runs, and by "nova-freemem restore %(uuid)s" on '
            'this host at any time.',
            {'fault': fault, 'uuid': self._uuid},
            instance_uuid=self._uuid,
        )

    def journal_unreadable(self, fault: Exception) -> None:
        """Tell that nobody knows what the guest is owed, and who decides.

        :param fault: what is wrong with its journal entry
        """
        LOG.error(
            'What the guest is owed is not known: %(fault)s. Nothing is '
            'done. To give it all the memory that its domain may have and '
            'settle the entry: "nova-freemem repair %(uuid)s" on this host.',
            {'fault': fault, 'uuid': self._uuid},
            instance_uuid=self._uuid,
        )


class Reporter(GuestReporter):
    """Tells of one instance's migration on one host."""

    def __init__(self, context: Any, instance: Any, host: str) -> None:
        """Speak for one instance.

        :param context: Nova's request context, whose request the events
                        join
        :param instance: the Nova instance
        :param host: this host's name
        """
        super().__init__(instance.uuid)
        self._context = context
        self._instance = instance
        self._host = host

    @contextlib.contextmanager
    def event(self, name: str) -> Iterator[None]:
        """Show a step in the instance action, as a success in any case.

        An event that ends in an error turns the whole action into one, so
        faults of ours are told by the log alone.

        :param name: the event's name
        """
        self._record('event_start', name)
        try:
            yield
        finally:
            self._record('event_finish', name)

    def skipped(self, why: Skip) -> None:
        """Tell that the migration carries everything, and why.

        :param why: the decision
        """
        LOG.info(
            'Live migration carries all memory of the guest: %s.',
            why,
            instance=self._instance,
        )
        with self.event(SKIP_EVENT.format(reason=why.reason.name.lower())):
            pass

    def released(self, plan: Plan, release: Release) -> None:
        """Tell what was taken and what that is expected to save.

        :param plan: what was to be taken
        :param release: what was
        """
        if release.end.restores:
            LOG.info(
                'Live migration carries all memory of the guest: %(end)s '
                'after %(taken)d MiB in %(seconds).1f s.',
                {
                    'end': release.end.value,
                    'taken': release.released_kib // KIB_PER_MIB,
                    'seconds': release.seconds,
                },
                instance=self._instance,
            )
            return
        saving_kib = min(plan.expected_saving_kib, release.resident_fall_kib)
        LOG.info(
            'Released %(taken)d of %(original)d MiB %(mode)s live migration '
            'in %(seconds).1f s (%(end)s; asked %(source)s); expected to '
            'save %(saving)d MiB and %(saving_seconds).1f s of transfer '
            '(%(link)s): the resident size fell by %(gained)d MiB to '
            '%(rss)d MiB.',
            {
                'taken': release.released_kib // KIB_PER_MIB,
                'original': plan.original_kib // KIB_PER_MIB,
                'seconds': release.seconds,
                'end': release.end.value,
                'mode': plan.mode.value,
                'link': plan.link,
                'saving_seconds': saving_kib / plan.link.kib_per_second,
                'source': plan.source,
                'saving': saving_kib // KIB_PER_MIB,
                'gained': release.resident_fall_kib // KIB_PER_MIB,
                'rss': release.rss_kib // KIB_PER_MIB,
            },
            instance=self._instance,
        )

    def pressure_during_transfer(self, plan: Plan) -> None:
        """Tell that the guest got its memory back while it was transferred.

        :param plan: what had been taken
        """
        LOG.warning(
            'The guest needed its memory while it was transferred and was '
            'given all %(original)d MiB back at once. It will be left alone '
            'in its next migrations from here for a while.',
            {'original': plan.original_kib // KIB_PER_MIB},
            instance=self._instance,
        )

    def error(self, doing: str, fault: Exception) -> None:
        """Tell of a fault; of one that nobody has foreseen, with its trace.

        :param doing: what failed
        :param fault: why
        """
        foreseen = isinstance(fault, exceptions.FreememError)
        LOG.error(
            '%(doing)s failed: %(fault)s. The live migration goes on '
            'as Nova does it.',
            {'doing': doing, 'fault': fault},
            instance=self._instance,
            exc_info=None if foreseen else fault,
        )

    def _record(self, method: str, name: str) -> None:
        try:
            getattr(objects.InstanceActionEvent, method)(
                self._context,
                self._uuid,
                name,
                want_result=False,
                **({'host': self._host} if method == 'event_start' else {}),
            )
        except Exception as fault:
            LOG.debug(
                'Could not record %(name)s: %(fault)s',
                {'name': name, 'fault': fault},
                instance=self._instance,
            )
