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

"""Log lines about a guest, its events and notifications."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import functools
from typing import Any

from oslo_log import log as logging

from nova_freemem import exceptions
from nova_freemem.history import Kind
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.planner import Plan
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.transfer_meter import Sent
from nova_freemem.policy import WrongSetting
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Release
from nova_freemem.release.requests import Request
from nova_freemem.report import events
from nova_freemem.report import notifications
from nova_freemem.restore.journal import JournalEntry
from nova_freemem.restore.schedule import RestoreResult
from nova_freemem.virt import guest as guests
from nova_freemem.virt import validation

LOG = logging.getLogger(__name__)

KIB_PER_MIB = 1024

_WHEN = {
    Mode.BEFORE: 'before',
    Mode.AUTO: 'ahead of',
    Mode.DURING: 'during',
}


class GuestReporter:
    """Reports, in the log, how outstanding memory of a guest is restored."""

    def __init__(self, uuid: str) -> None:
        """Initialize the reporter of a guest.

        :param uuid: the instance's
        """
        self._uuid = uuid
        self._about: dict[str, Any] = {'instance_uuid': uuid}

    def restored(self, result: RestoreResult) -> None:
        """Report how much of its memory the guest has.

        :param result: what came of restoring it
        """
        if result.complete:
            LOG.info(
                'Restored memory of the guest in %(seconds).1f s: '
                '%(before)d -> %(after)d KiB.',
                {
                    'seconds': result.seconds,
                    'before': result.before_kib,
                    'after': result.after_kib,
                },
                **self._about,
            )
            return
        LOG.warning(
            'Restoring memory of the guest is slow: it has %(after)d of '
            '%(original)d KiB after %(seconds).0f s. The journal entry stays '
            'in its domain and nova-compute tries again.',
            {
                'after': result.after_kib,
                'original': result.original_kib,
                'seconds': result.seconds,
            },
            **self._about,
        )

    def restore_failed(self, error: Exception) -> None:
        """Report that memory could not be restored, and what to do.

        :param error: why
        """
        LOG.error(
            'Could not restore memory of the guest: %(error)s. It may run '
            'with less memory than its flavor says. nova-compute tries '
            'again; to restore it by hand run "nova-freemem restore '
            '%(uuid)s" on this host.',
            {'error': error, 'uuid': self._uuid},
            **self._about,
        )

    def restore_waits(self, situation: guests.Situation) -> None:
        """Report that memory is restored later, as nothing can be done now.

        :param situation: what the guest is in
        """
        LOG.warning(
            'Restoring memory of the guest waits: the guest is %(situation)s. '
            'nova-compute restores it once that has ended.',
            {'situation': situation.value},
            **self._about,
        )

    def restore_stuck(self, seconds: float) -> None:
        """Report that restoring memory does not proceed.

        :param seconds: for how long
        """
        LOG.warning(
            'Restoring memory of the guest is stuck: libvirt or QEMU has not '
            'answered for %(seconds)d s. It may run with less memory than its '
            'flavor says until they do. nova-compute continues with other '
            'guests.',
            {'seconds': seconds},
            **self._about,
        )

    def journal_unreadable(self, error: Exception) -> None:
        """Report that it is not known what is outstanding, and what to do.

        :param error: what is wrong with the journal entry
        """
        LOG.error(
            'The journal entry of the guest cannot be read: %(error)s. '
            'Nothing is restored. To restore all memory its domain may have, '
            'run "nova-freemem repair %(uuid)s" on this host.',
            {'error': error, 'uuid': self._uuid},
            **self._about,
        )


class Reporter(GuestReporter):
    """Reports on one instance's migration on one host."""

    def __init__(
        self,
        events: events.Events,
        dest: str | None = None,
        migration_uuid: str | None = None,
    ) -> None:
        """Initialize the reporter of an instance.

        :param events: the instance's, in Nova's request
        :param dest: the destination's name, None where this is it
        :param migration_uuid: of Nova's migration, None where it is unknown
        """
        super().__init__(events.instance.uuid)
        # Whichever thread restores the guest, the log shows the request.
        self._about['context'] = events.context
        self._instance = events.instance
        self._events = events
        self._dest = dest
        self._migration_uuid = migration_uuid
        self._release: Release | None = None
        self._released = False
        self._not_sent_kib = 0
        self._saving_seconds = 0.0
        self._restored: RestoreResult | None = None

    def event(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Show a step in the events of the server; wait for no message bus.

        :param name: the event's name
        """
        return self._events.event(name)

    @contextlib.contextmanager
    def releasing(self, plan: Plan) -> Iterator[None]:
        """Show a release, by an event and notifications, while it lasts.

        :param plan: what is to be released; what was, :meth:`released` is
                     told before this is left
        """
        self._release = None
        self._released = True
        with self.event(events.RELEASE):
            self._notify_release(notifications.RELEASE_START, plan)
            try:
                yield
            finally:
                self._notify_release(notifications.RELEASE_END, plan)

    def _notify_release(self, event_type: str, plan: Plan) -> None:
        self._events.notify(
            event_type,
            functools.partial(
                notifications.of_release,
                plan,
                self._release,
                self._dest,
                self._migration_uuid,
            ),
        )

    @contextlib.contextmanager
    def restoring(self, entry: JournalEntry) -> Iterator[None]:
        """Show a restore, by an event and notifications, while it lasts.

        :param entry: what says that memory is outstanding; how much the guest
                      has, :meth:`restored` is told before this is left
        """
        self._restored = None
        with self.event(events.RESTORE):
            self._notify_restore(notifications.RESTORE_START, entry)
            try:
                yield
            finally:
                self._notify_restore(notifications.RESTORE_END, entry)
                self._events.remember(
                    Kind.RESTORE,
                    complete=self._restored is not None
                    and self._restored.complete,
                )

    def _notify_restore(self, event_type: str, entry: JournalEntry) -> None:
        self._events.notify(
            event_type,
            functools.partial(notifications.of_restore, entry, self._restored),
        )

    def restored(self, result: RestoreResult) -> None:
        """See :meth:`GuestReporter.restored`."""
        super().restored(result)
        self._restored = result

    def flush(self) -> None:
        """Wait a little until the events so far are shown."""
        self._events.flush()

    def skipped(self, skip: Skip) -> None:
        """Report that nothing is released, and why.

        :param skip: the decision
        """
        LOG.info(
            "Skipping memory release: %(skip)s. See '%(name)s' in the "
            'operations guide.',
            {'skip': skip, 'name': skip.name},
            instance=self._instance,
        )
        with self.event(events.skip_event(skip)):
            self._events.notify(
                notifications.SKIP,
                functools.partial(
                    notifications.of_skip,
                    skip,
                    self._dest,
                    self._migration_uuid,
                ),
            )
        self._events.remember(Kind.SKIP, reason=skip.name)

    def transferred(self, waited_seconds: float, is_completed: bool) -> None:
        """Remember what a release has saved; nothing where there was none.

        :param waited_seconds: for how long the transfer waited for it
        :param is_completed: whether the guest was transferred
        """
        if not self._released:
            return
        self._events.remember(
            Kind.RELEASE,
            not_sent_kib=self._not_sent_kib,
            seconds=round(self._saving_seconds - waited_seconds, 3),
            complete=is_completed,
        )

    def ignored(self, settings: Iterable[WrongSetting]) -> None:
        """Report what a flavor or an image says that is not valid.

        :param settings: what is ignored
        """
        for one in settings:
            LOG.warning(
                'Ignoring %(key)s of the %(origin)s of the guest: it is '
                '%(value)s; valid: %(valid)s.',
                {
                    'key': validation.quoted(one.key),
                    'origin': one.origin,
                    'value': validation.quoted(one.value),
                    'valid': one.valid,
                },
                instance=self._instance,
            )

    def dry_run(self, plan: Plan) -> None:
        """Report what would be released, and what that would save.

        :param plan: what would be released
        """
        LOG.info(
            'Dry run: %(released)d of %(original)d MiB would be released '
            '%(when)s the transfer; expected to save %(saving)d MiB and '
            '%(saving_seconds).1f of %(plain_seconds).1f s at %(bandwidth)s. '
            'Free memory was reported by %(source)s. Nothing is released.',
            {
                'released': plan.release_kib // KIB_PER_MIB,
                'original': plan.original_kib // KIB_PER_MIB,
                'when': _WHEN[plan.mode],
                'saving': plan.expected_saving_kib // KIB_PER_MIB,
                'saving_seconds': plan.expected_saving_seconds,
                'plain_seconds': plan.plain.plain_seconds,
                'bandwidth': plan.bandwidth,
                'source': plan.source,
            },
            instance=self._instance,
        )
        with self.event(events.DRY_RUN):
            pass

    def dry_run_ended(self, plan: Plan, sent: Sent) -> None:
        """Report what the transfer took, without a release.

        :param plan: what would have been released
        :param sent: what was sent instead
        """
        LOG.info(
            'Dry run: the transfer of memory took %(seconds).1f s and sent '
            '%(sent)d MiB; without a release %(plain_seconds).1f s and '
            '%(plain)d MiB were expected.',
            {
                'seconds': sent.seconds,
                'sent': sent.sent_kib // KIB_PER_MIB,
                'plain_seconds': plan.plain.plain_seconds,
                'plain': plan.plain.sent_kib // KIB_PER_MIB,
            },
            instance=self._instance,
        )

    def released(self, plan: Plan, release: Release) -> None:
        """Report what was released and what that is expected to save.

        :param plan: what was to be released
        :param release: what was
        """
        self._release = release
        self._not_sent_kib, self._saving_seconds = 0, 0.0
        if release.dropped_kib or release.not_dropped:
            LOG.info(
                'The guest dropped %(dropped)d of %(cold)d MiB of cold page '
                'cache when it was asked to%(problem)s.',
                {
                    'dropped': release.dropped_kib // KIB_PER_MIB,
                    'cold': plan.cold_kib // KIB_PER_MIB,
                    'problem': (
                        f' ({release.not_dropped})'
                        if release.not_dropped
                        else ''
                    ),
                },
                instance=self._instance,
            )
        if release.end.restores:
            LOG.info(
                'Stopped releasing memory: %(end)s after %(released)d MiB in '
                '%(seconds).1f s. All memory of the guest is restored.',
                {
                    'end': release.end.value,
                    'released': release.released_kib // KIB_PER_MIB,
                    'seconds': release.seconds,
                },
                instance=self._instance,
            )
            return
        saving_kib = min(
            plan.expected_saving_kib,
            release.resident_fall_kib,
            # What is released after it was sent saves nothing.
            max(0, plan.rss_kib - release.sent_kib),
        )
        saving_seconds = saving_kib / plan.bandwidth.kib_per_second
        self._not_sent_kib = saving_kib
        self._saving_seconds = saving_seconds
        LOG.info(
            'Released %(released)d of %(original)d MiB %(when)s the transfer '
            'in %(seconds).1f s (%(end)s); expected to save %(saving)d MiB '
            'and %(saving_seconds).1f s of transfer at %(bandwidth)s. '
            'Resident size fell by %(fall)d MiB to %(rss)d MiB. Free memory '
            'was reported by %(source)s.',
            {
                'released': release.released_kib // KIB_PER_MIB,
                'original': plan.original_kib // KIB_PER_MIB,
                'when': _WHEN[plan.mode],
                'seconds': release.seconds,
                'end': release.end.value,
                'saving': saving_kib // KIB_PER_MIB,
                'saving_seconds': saving_seconds,
                'bandwidth': plan.bandwidth,
                'fall': release.resident_fall_kib // KIB_PER_MIB,
                'rss': release.rss_kib // KIB_PER_MIB,
                'source': plan.source,
            },
            instance=self._instance,
        )

    def restored_during_transfer(self, plan: Plan, end: EndReason) -> None:
        """Report that all memory was restored while it was transferred.

        :param plan: what had been released
        :param end: why
        """
        # Whatever of it has been restored by then may have to be sent.
        self._not_sent_kib, self._saving_seconds = 0, 0.0
        original_mib = plan.original_kib // KIB_PER_MIB
        if end is EndReason.PRESSURE:
            LOG.warning(
                'The guest came under memory pressure during the transfer: '
                'all %(original)d MiB are restored. Its next live migrations '
                'from this host skip memory release for a while (see '
                "'backing_off' in the operations guide).",
                {'original': original_mib},
                instance=self._instance,
            )
            return
        LOG.info(
            'All %(original)d MiB of the guest are restored during the '
            'transfer: %(end)s.',
            {'original': original_mib, 'end': end.value},
            instance=self._instance,
        )

    def request_too_late(self, request: Request) -> None:
        """Report that a request did not reach Nova's transfer.

        :param request: what was requested
        """
        LOG.warning(
            'The request to %(request)s the live migration came too late: '
            'the transfer had ended.',
            {'request': request.value},
            instance=self._instance,
        )

    def error(self, doing: str, error: Exception) -> None:
        """Report an error; with its trace where nobody foresaw it.

        :param doing: what failed
        :param error: why
        """
        foreseen = isinstance(error, exceptions.FreememError)
        LOG.error(
            '%(doing)s failed: %(error)s. The live migration continues as '
            'Nova does it.',
            {'doing': doing, 'error': error},
            instance=self._instance,
            exc_info=None if foreseen else error,
        )
