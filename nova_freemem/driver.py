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

"""Nova's libvirt driver, with memory released before a live migration."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
from typing import Any

import nova.conf
from nova.virt import event as virtevent
from nova.virt.libvirt import driver
from oslo_log import log as logging

from nova_freemem import clock as clocks
from nova_freemem import conf_files
from nova_freemem import history
from nova_freemem import trait
from nova_freemem.migrate import decision
from nova_freemem.migrate import handover as handovers
from nova_freemem.migrate import readiness
from nova_freemem.migrate import shutdown
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.migrate.engine import Engine
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.policy import Policy
from nova_freemem.release.requests import Request
from nova_freemem.release.requests import Requests
from nova_freemem.report import event_queue
from nova_freemem.report import events
from nova_freemem.report import guru_meditation
from nova_freemem.report import metrics
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

# Longer than a check of a guest takes, unless libvirt keeps it; and time for
# one that has landed, and is to leave again, to get its memory.
LOCK_WAIT_SECONDS = 5.0

# One transfer keeps one of libvirtd's workers, of which there are twenty
# (max_workers), until it ends: no more of them proceed at a time.
MOST_MIGRATIONS = 20


class FreememLibvirtDriver(driver.LibvirtDriver):
    """Releases memory before a guest leaves, restores it where it lands.

    Only what Nova documents as its driver's interface is overridden, and
    each override ends in Nova's own method. An argument that a later Nova
    adds reaches it unseen; :mod:`nova_freemem.contract` finds other changes.
    """

    def __init__(
        self,
        virtapi: Any,
        read_only: bool = False,
        *args: Any,
        engine: Engine,
        **kwargs: Any,
    ) -> None:
        """Initialize Nova's driver, with an engine.

        :param engine: policy and extensions of this host
        """
        super().__init__(virtapi, read_only, *args, **kwargs)
        self._engine = engine
        self._handovers: dict[str, handovers.Handover] = {}
        self._migrations: dict[str, source.SourceMigration] = {}
        self._clock = clocks.Clock()
        self._shutdown = shutdown.Shutdown(self._clock)
        self._events = event_queue.EventQueue(self._clock)
        # Files do not wait for the message bus.
        self._records = event_queue.EventQueue(self._clock)
        self._history = history.History(CONF.state_path)
        self._metrics: metrics.Metrics | None = None
        if engine.policy.metrics_file is not None:
            self._metrics = metrics.Metrics(engine.policy.metrics_file)
        self._destinations = readiness.Destinations(
            lambda *args, **kwargs: self.virtapi.reportclient.get(
                *args, **kwargs
            ),
            self._clock,
        )

        # Not Nova's own connection: a few guests whose QEMU does not answer
        # would keep all others, and Nova, from libvirtd. Nova registers its
        # events on its own alone.
        def connect() -> Any:
            return self._host._connect(self._host._uri, False)

        self._connections = hosts.Connections(
            connect, spare=1, most=MOST_MIGRATIONS
        )
        self._reconciler = reconciler.Reconciler(
            hosts.Connections(
                connect, spare=engine.policy.restore_workers
            ).host,
            locks.Locks(self._clock),
            self._clock,
            engine.policy.reconcile_interval_seconds,
            engine.policy.restore_workers,
            self._count_outstanding,
            events.UnrequestedEvents(
                CONF.host, self._events, self._keep
            ).restored,
        )

    def init_host(self, host: str, *args: Any, **kwargs: Any) -> None:
        """See :meth:`nova.virt.driver.ComputeDriver.init_host`."""
        super().init_host(host, *args, **kwargs)
        policy = self._engine.policy
        if policy.enabled:
            LOG.info(
                'nova_freemem is enabled: acquiring by %s; releasing by %s.',
                ', '.join(policy.acquire),
                policy.release,
            )
            if policy.dry_run:
                LOG.info(
                    'nova_freemem makes dry runs ([freemem] dry_run is true): '
                    'no memory is released.'
                )
        else:
            LOG.info(
                'nova_freemem is loaded but not enabled ([freemem] enabled '
                'is false): memory of guests that arrive here is restored, '
                'and none is released.'
            )
        # What is only said must not keep nova-compute from starting.
        with contextlib.suppress(Exception):
            conf_files.warn(CONF, policy.enabled)
        self._reconciler.start()
        guru_meditation.register(self._figures)
        CONF.register_mutate_hook(self._follow_options)

    def cleanup_host(self, host: str, *args: Any, **kwargs: Any) -> None:
        """Have guests get their memory before nova-compute ends.

        See :meth:`nova.virt.driver.ComputeDriver.cleanup_host`.
        """
        self._shutdown.run()
        self._reconciler.stop()
        self._events.flush()
        self._records.flush()
        super().cleanup_host(host, *args, **kwargs)

    def live_migration(
        self,
        context: Any,
        instance: Any,
        dest: str,
        post_method: Callable[..., None],
        recover_method: Callable[..., None],
        block_migration: bool = False,
        migrate_data: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Release first, then let Nova migrate what is left.

        See :meth:`nova.virt.driver.ComputeDriver.live_migration`.
        """
        reporter = self._reporter(
            context, instance, dest, _migration_uuid(migrate_data)
        )
        handover = handovers.Handover(
            self._permits_post_copy(migrate_data), reporter, self._clock
        )
        self._handovers[instance.uuid] = handover
        try:
            with (
                self._held(instance.uuid) as hold,
                self._own_guest(reporter, instance) as guest,
            ):
                migration = self._source_migration(
                    reporter,
                    guest,
                    instance,
                    dest,
                    migrate_data,
                    hold,
                    handover.requests,
                )
                recover = recover_method
                if migration is not None:
                    recover = _restoring_first(migration, recover_method)
                outgoing = functools.partial(
                    self._outgoing_migration, guest, instance
                )
                with self._prepared(
                    instance, migration, handover, outgoing
                ) as is_cancelled:
                    if is_cancelled:
                        recover_method(
                            context,
                            instance,
                            dest,
                            migrate_data,
                            migration_status='cancelled',
                        )
                        return
                    super().live_migration(
                        context,
                        instance,
                        dest,
                        post_method,
                        recover,
                        block_migration,
                        migrate_data,
                        *args,
                        **kwargs,
                    )
        finally:
            _remove(self._handovers, instance.uuid, handover)

    def live_migration_abort(
        self, instance: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Abort a release that is under way, or Nova's transfer.

        Before the transfer runs, it is held.
        See :meth:`nova.virt.driver.ComputeDriver.live_migration_abort`.
        """
        self._submit(
            instance,
            Request.ABORT,
            functools.partial(
                super().live_migration_abort, instance, *args, **kwargs
            ),
        )

    def live_migration_force_complete(
        self, instance: Any, *args: Any, **kwargs: Any
    ) -> None:
        """End a release that is under way, and force Nova's transfer.

        Before the transfer runs, it is held. Nova's own timeout action calls
        this as well.
        See
        :meth:`nova.virt.driver.ComputeDriver.live_migration_force_complete`.
        """
        force = super().live_migration_force_complete

        def restore_and_force() -> None:
            self._restore_for_post_copy(instance)
            force(instance, *args, **kwargs)

        self._submit(instance, Request.FORCE_COMPLETE, restore_and_force)

    def post_live_migration_at_destination(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_migration: bool = False,
        block_device_info: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Have memory restored, beside Nova's own steps after a landing.

        Nova does not wait for it: until these steps are done, it takes the
        guest for one of the source's, and would delete it there.
        See :meth:`nova.virt.driver.ComputeDriver.
        post_live_migration_at_destination`.
        """
        reporter = self._reporter(context, instance)
        self._reconciler.restore(
            instance.uuid,
            reporter,
            event=reporter.restoring,
            during=self._shutdown.during(shutdown.Step()),
        )
        super().post_live_migration_at_destination(
            context,
            instance,
            network_info,
            block_migration,
            block_device_info,
            *args,
            **kwargs,
        )

    def update_provider_tree(
        self,
        provider_tree: Any,
        nodename: str,
        allocations: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Say, in Placement, that this host restores memory.

        Nova calls this before nova-compute takes its first request, and every
        minute; it creates a trait that Placement does not know.
        See :meth:`nova.virt.driver.ComputeDriver.update_provider_tree`.
        """
        super().update_provider_tree(
            provider_tree, nodename, allocations, *args, **kwargs
        )
        provider_tree.add_traits(nodename, trait.TRAIT)

    def emit_event(self, event: Any, *args: Any, **kwargs: Any) -> None:
        """Have the reconciler see a guest as soon as it runs here.

        Nova's own steps after a landing begin a second or two later, and
        never where the source failed meanwhile. What is begun here they show
        in the server's events.
        See :meth:`nova.virt.driver.ComputeDriver.emit_event`.
        """
        if (
            isinstance(event, virtevent.LifecycleEvent)
            and event.get_transition() == virtevent.EVENT_LIFECYCLE_RESUMED
        ):
            self._reconciler.notify(event.get_instance_uuid())
        super().emit_event(event, *args, **kwargs)

    @contextlib.contextmanager
    def _held(self, uuid: str) -> Iterator[reconciler.Hold | None]:
        """Keep a guest from the reconciler, and have it see it afterwards.

        The events of the guest are shown by the end of this, if the message
        bus is well.
        """
        try:
            with self._reconciler.hold(uuid, LOCK_WAIT_SECONDS) as hold:
                yield hold
        finally:
            self._events.flush()

    @contextlib.contextmanager
    def _prepared(
        self,
        instance: Any,
        migration: source.SourceMigration | None,
        handover: handovers.Handover,
        outgoing: Callable[[], guests.Outgoing],
    ) -> Iterator[bool]:
        """Have done for a guest what is done before and beside its transfer.

        :param migration: our part in it, None for none
        :param handover: what is requested of it
        :param outgoing: returns how far the transfer is
        :returns: whether it is cancelled and Nova has nothing to transfer,
                  as a context manager, for the transfer
        """
        if migration is None:
            if handover.requests.latest is Request.ABORT:
                yield True
                return
            with handover.during_transfer(outgoing):
                yield False
            return
        with self._under_way(instance.uuid, migration):
            state = migration.prepare()
            if isinstance(state, states.Cancelled):
                yield True
                return
            with (
                migration.transfer(state),
                handover.during_transfer(outgoing),
            ):
                yield False

    @contextlib.contextmanager
    def _under_way(
        self, uuid: str, migration: source.SourceMigration
    ) -> Iterator[None]:
        """Have requests, a shutdown and others know; restore in the end."""
        self._migrations[uuid] = migration
        with self._shutdown.during(migration), migration.sharing_the_path():
            try:
                yield
            finally:
                _remove(self._migrations, uuid, migration)
                migration.restore()

    def _submit(
        self, instance: Any, request: Request, action: Callable[[], None]
    ) -> None:
        handover = self._handovers.get(instance.uuid)
        if handover is None:
            action()
        else:
            handover.submit(request, action)

    def _restore_for_post_copy(self, instance: Any) -> None:
        handover = self._handovers.get(instance.uuid)
        migration = self._migrations.get(instance.uuid)
        if migration is None or handover is None or not handover.post_copy:
            return
        migration.restore_for_post_copy()

    def _permits_post_copy(self, migrate_data: Any) -> bool:
        """Return whether Nova forces a migration by switching to post-copy."""
        try:
            return bool(
                self._is_post_copy_enabled(
                    self._get_migration_flags(migrate_data.block_migration)
                )
            )
        except Exception:
            return False  # Nova will say what it lacks.

    @contextlib.contextmanager
    def _own_guest(
        self, reporter: reporters.Reporter, instance: Any
    ) -> Iterator[guests.Guest | None]:
        """Lend a migration a connection of its own, and find the guest on it.

        Where there is none to be had, nothing is released: memory is restored
        over connections that are opened in the same way.

        :returns: the guest, as a context manager; None where that failed
        """
        with contextlib.ExitStack() as lent:
            try:
                host = lent.enter_context(self._connections.host())
                guest = host.guest(instance.uuid)
            except Exception as error:
                reporter.error('Looking up the guest', error)
                guest = None
            yield guest

    def _outgoing_migration(
        self, guest: guests.Guest | None, instance: Any
    ) -> guests.Outgoing:
        """Return how far the transfer is, by Nova's connection if need be."""
        try:
            return (guest or self._guest(instance)).outgoing_migration()
        except Exception:
            return guests.Outgoing.NONE  # It has left, or Nova will see.

    def _source_migration(
        self,
        reporter: reporters.Reporter,
        guest: guests.Guest | None,
        instance: Any,
        dest: str,
        migrate_data: Any,
        hold: reconciler.Hold | None,
        requests: Requests,
    ) -> source.SourceMigration | None:
        if guest is None:
            return None
        if hold is None:
            reporter.skipped(
                Skip(Reason.OUTSTANDING_MEMORY, 'it is still being checked')
            )
            return None
        if self._shutdown.has_begun:
            reporter.skipped(Skip(Reason.INTERRUPTED, Request.SHUTDOWN.value))
            return None
        engine = self._engine  # one policy for the whole migration
        try:
            policy, wrong = engine.policy.for_guest(
                instance.flavor.extra_specs, instance.system_metadata
            )
            reporter.ignored(wrong)
            return source.SourceMigration(
                guest,
                engine.for_guest(policy),
                reporter,
                decision.Migration(
                    uuid=migrate_data.migration.uuid,
                    host=CONF.host,
                    dest=dest,
                    node=instance.node,
                    os_type=instance.os_type,
                    copies_disks=bool(migrate_data.block_migration),
                ),
                self._clock,
                functools.partial(hold.restore, reporter),
                functools.partial(
                    self._destination_skip,
                    policy,
                    migrate_data.migration.dest_node or dest,
                ),
                requests,
            )
        except Exception as error:
            reporter.error('Looking up the guest', error)
            return None

    def _destination_skip(self, policy: Policy, node: str) -> Skip | None:
        if not policy.require_destination_trait:
            return None
        return self._destinations.skip(node)

    def _figures(self) -> guru_meditation.Figures:
        """Return what the plugin is doing; takes no lock."""
        engine, now = self._engine, self._clock.now()
        return {
            'migrations from this host': {
                uuid: migration.phase
                for uuid, migration in dict(self._migrations).items()
            },
            'guests with outstanding memory': {
                uuid: f'next look in {state.due_at_seconds - now:.0f} s, '
                f'{state.attempts} attempts so far'
                for uuid, state in self._reconciler.remembered().items()
            },
            'bandwidth by destination': engine.bandwidths.learnt(now),
            'release rates': engine.release_rates.learnt(now),
            'guests that are backed off from': {
                uuid: f'for {seconds:.0f} s more'
                for uuid, seconds in engine.backoff.guests(now).items()
            },
        }

    def _keep(self, record: history.Record) -> None:
        self._records.submit(functools.partial(self._history.append, record))
        if self._metrics is not None:
            self._records.submit(
                functools.partial(self._metrics.append, record)
            )

    def _count_outstanding(self, guests: int) -> None:
        if self._metrics is not None:
            self._records.submit(
                functools.partial(self._metrics.outstanding, guests)
            )

    def _follow_options(self, conf: Any, _changes: Any) -> None:
        """Have the next migrations follow options that were changed.

        Nova calls this on SIGHUP, once it has read its files again.
        """
        try:
            policy = Policy.from_conf(conf)
        except Exception as error:
            LOG.error(
                'nova_freemem does not follow its changed options: %s. Those '
                'that it has followed so far stay in force. Correct this and '
                'send SIGHUP again.',
                error,
            )
            return
        changes = policy.changes(self._engine.policy)
        if changes:
            self._engine = self._engine.with_policy(policy)
            LOG.info('nova_freemem follows its changed options: %s.', changes)

    def _reporter(
        self,
        context: Any,
        instance: Any,
        dest: str | None = None,
        migration_uuid: str | None = None,
    ) -> reporters.Reporter:
        return reporters.Reporter(
            events.Events(
                context, instance, CONF.host, self._events, self._keep
            ),
            dest,
            migration_uuid,
        )

    def _guest(self, instance: Any) -> guests.Guest:
        return guests.Guest(self._host.get_guest(instance)._domain)


def _remove(of: dict[str, Any], uuid: str, one: object) -> None:
    """Forget something of a guest, unless a later migration has its own."""
    if of.get(uuid) is one:
        of.pop(uuid, None)


def _migration_uuid(migrate_data: Any) -> str | None:
    """Return the UUID of Nova's migration for those who are notified."""
    try:
        return str(migrate_data.migration.uuid)
    except Exception:
        return None  # What needs it more will say what it lacks.


def _restoring_first(
    migration: source.SourceMigration, recover_method: Callable[..., None]
) -> Callable[..., None]:
    def recover(*args: Any, **kwargs: Any) -> None:
        migration.fail()
        recover_method(*args, **kwargs)

    return recover
