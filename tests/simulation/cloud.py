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

"""Two hosts, the network between them, and Nova's part of a migration."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import functools
from typing import Any

from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import guest_agent
from nova_freemem.migrate import decision
from nova_freemem.migrate import engine as engines
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.plan import backoff as backoffs
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.plan.reasons import Reason
from nova_freemem.release import balloon
from nova_freemem.release import reclaim
from nova_freemem.release.base import EndReason
from nova_freemem.release.requests import Request
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from tests.simulation import fakes
from tests.simulation.fake_clock import FakeClock
from tests.simulation.guest import JournalWatch
from tests.simulation.guest import Load
from tests.simulation.guest import SimulatedGuest
from tests.simulation.model import Model

UUID = '7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2'


class Reporter:
    """Keeps what operators would read."""

    def __init__(self) -> None:
        self.reasons: list[Reason] = []
        self.ends: list[EndReason] = []
        self.errors: list[Exception] = []

    @contextlib.contextmanager
    def event(self, name: str) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def releasing(self, plan: Any) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def restoring(self, entry: Any) -> Iterator[None]:
        yield

    def skipped(self, skip: Any) -> None:
        self.reasons.append(skip.reason)

    def flush(self) -> None:
        pass

    def ignored(self, settings: Any) -> None:
        pass

    def dry_run(self, plan: Any) -> None:
        pass

    def dry_run_ended(self, plan: Any, sent: Any) -> None:
        pass

    def released(self, plan: Any, release: Any) -> None:
        self.ends.append(release.end)

    def transferred(self, waited_seconds: float, is_completed: bool) -> None:
        pass

    def restored_during_transfer(self, plan: Any, end: EndReason) -> None:
        pass

    def request_too_late(self, request: Any) -> None:
        pass

    def restored(self, result: Any) -> None:
        pass

    def journal_unreadable(self, error: Exception) -> None:
        self.errors.append(error)

    def restore_stuck(self, seconds: float) -> None:
        pass

    def restore_failed(self, error: Exception) -> None:
        self.errors.append(error)

    def restore_waits(self, situation: Any) -> None:
        pass

    def error(self, doing: str, error: Exception) -> None:
        self.errors.append(error)


class Path:
    """One direction of the network, which transfers share evenly."""

    def __init__(self) -> None:
        self.transfers: list[Transfer] = []

    def share(self) -> float:
        """:returns: what one gets while it has something to send."""
        return 1 / max(1, sum(one.is_sending for one in self.transfers))


class Transfer:
    """Pre-copy: what is resident is sent until little is left.

    What is not resident is looked at, page by page, to find that it need not
    be sent; and what the balloon takes, once more in a later pass, since the
    guest's kernel has written zeros to it.
    """

    def __init__(
        self, guest: SimulatedGuest, model: Model, path: Path
    ) -> None:
        self._guest = guest
        self._model = model
        self._path = path
        self._rss_kib = guest.rss_kib
        self._actual_kib = guest.actual_kib
        self._left_kib = float(guest.sendable_kib)
        self._to_look_at_kib = 0.0
        guest.transferred_kib = guest.looked_at_kib = 0.0
        self._tell()

    @property
    def is_sending(self) -> bool:
        return self._left_kib > 0

    @property
    def converged(self) -> bool:
        model = self._model
        rate = model.bandwidth_kib_per_second * self._path.share()
        return (
            self._left_kib / rate
            + self._to_look_at_kib / model.look_kib_per_second
            <= model.downtime_seconds
        )

    def send_rest(self) -> None:
        """Send, while the guest stands still, what is left."""
        self._guest.transferred_kib += self._left_kib

    def step(self, seconds: float) -> None:
        """Let happen what happens to memory, then send, then look."""
        guest, model = self._guest, self._model
        self._see_balloon()
        change_kib = guest.rss_kib - self._rss_kib
        self._rss_kib = guest.rss_kib
        if change_kib > 0:
            self._left_kib += change_kib
        else:
            self._find_gone(-change_kib)
        self._left_kib = min(
            float(guest.sendable_kib),
            self._left_kib + guest.rewrites_kib_per_second * seconds,
        )
        rate = model.bandwidth_kib_per_second * self._path.share()
        if guest.balloon_moved:
            rate *= model.busy_bandwidth_share
        sent_kib = min(self._left_kib, rate * seconds)
        self._left_kib -= sent_kib
        guest.transferred_kib += sent_kib
        looked_at_kib = min(
            self._to_look_at_kib,
            model.look_kib_per_second * (seconds - sent_kib / rate),
        )
        self._to_look_at_kib -= looked_at_kib
        guest.looked_at_kib += looked_at_kib
        self._tell()

    def _tell(self) -> None:
        self._guest.remaining_kib = self._left_kib + self._to_look_at_kib

    def _see_balloon(self) -> None:
        released_kib = self._actual_kib - self._guest.actual_kib
        self._actual_kib = self._guest.actual_kib
        self._to_look_at_kib += max(0, released_kib)

    def _find_gone(self, gone_kib: float) -> None:
        """Find what need not be sent any more; it is looked at instead."""
        far_end_share = self._model.far_end_share
        unsent_share = far_end_share + (1 - far_end_share) * min(
            1.0, self._left_kib / max(1, self._rss_kib)
        )
        self._left_kib = max(0.0, self._left_kib - gone_kib * unsent_share)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one migration.

    :ivar seconds: from the request to the guest running elsewhere
    :ivar delay_seconds: from the request to the start of the transfer
    :ivar sent_kib: what was sent
    :ivar succeeded: whether the guest is elsewhere now
    """

    seconds: float
    delay_seconds: float
    sent_kib: float
    succeeded: bool


class Cloud:
    """One guest that is migrated between two hosts.

    :ivar uuid: the guest's
    :ivar disks_seconds: how long its disks are copied before memory is sent,
                         0 for disks that both hosts share
    :ivar starved_seconds: the longest time in which the guest had less
                           available than its headroom, missed some of its
                           memory, and nobody was restoring it
    :ivar back_seconds: from the landing to the guest having all its memory;
                        None until it has
    """

    def __init__(
        self,
        clock: FakeClock,
        model: Model,
        memory_kib: int,
        load: Load,
        *,
        migration_bandwidth_mbps: int = 1000,
        policy: dict[str, Any] | None = None,
        interface_mbps: int | None = None,
        knows: Cloud | None = None,
        disks_seconds: float = 0.0,
        uuid: str = fakes.UUID,
        path: Path | None = None,
        **behaviour: Any,
    ) -> None:
        self.uuid = uuid
        self.disks_seconds = disks_seconds
        self.clock = clock
        self.model = model
        self.guest = SimulatedGuest.of_model(
            clock, model, memory_kib, load, **behaviour
        )
        self.guest.on_step = self._step
        self.reporter = Reporter()
        self.policy = fakes.make_policy(
            migration_bandwidth_mbps=migration_bandwidth_mbps, **(policy or {})
        )
        self.engines = {
            host: self._make_engine(interface_mbps)
            for host in ('source', 'dest')
        }
        if knows is not None:
            self.engines = knows.engines
        self.headroom_kib = self.policy.headroom_kib(
            memory_kib,
            # What it is left with is different each time.
            shrunk_kib=0.0 if self.guest.total_shrinks else None,
        )
        self.starved_seconds = self._starving_seconds = 0.0
        self.back_seconds: float | None = None
        self._landed_at_seconds: float | None = None
        self.path = path or Path()
        self.transfer: Transfer | None = None
        self._journal = JournalWatch()

    def _make_engine(self, interface_mbps: int | None) -> engines.Engine:
        return engines.Engine(
            self.policy,
            (
                guest_agent.GuestAgent('guest_agent', 5),
                balloon_stats.BalloonStats('balloon_stats', 5),
            ),
            balloon.Balloon(),
            bandwidths.Bandwidths(
                self.policy.migration_bandwidth_mbps, lambda: interface_mbps
            ),
            release_rates.ReleaseRates(),
            backoffs.Backoff(),
            # What is measured, and fitted, was without.
            reclaim.GuestReclaim('guest_reclaim', 5)
            if self.guest.drop_kib_per_second
            else None,
        )

    def know(self, rate: release_rates.ReleaseRate) -> None:
        """Let the source have seen lately how fast this guest releases."""
        rates = release_rates.ReleaseRates(rate)
        rates.note_trial(self.uuid, self.clock.now())
        self.engines['source'] = dataclasses.replace(
            self.engines['source'], release_rates=rates
        )

    def migrate(
        self,
        *,
        request: Request | None = None,
        request_after_seconds: float = 0.0,
        fails_after_seconds: float | None = None,
    ) -> Outcome:
        """Migrate the guest to the other host, as our driver does it."""
        host = self.guest.host
        dest = 'dest' if host == 'source' else 'source'
        migration = source.SourceMigration(
            fakes.FakeGuest(self.guest, host, self.uuid),
            self.engines[host],
            self.reporter,
            decision.Migration(
                uuid=UUID,
                host=host,
                dest=dest,
                copies_disks=bool(self.disks_seconds),
            ),
            self.clock,
            functools.partial(
                self._restorer(host).restore_and_wait,
                fakes.UUID,
                self.reporter,
            ),
        )
        if request is not None:
            self.clock.after(
                request_after_seconds,
                lambda: migration.requests.submit(request),
            )
        started_at = self.clock.now()
        transfer_at, sent_kib, succeeded = started_at, 0.0, False
        landed_at = started_at
        try:
            with migration.sharing_the_path():
                state = migration.prepare()
                if not isinstance(state, states.Cancelled):
                    transfer_at = self.clock.now()
                    with migration.transfer(state):
                        succeeded = self._transfer(fails_after_seconds)
                        sent_kib = self.guest.transferred_kib
                        landed_at = self.clock.now()
                        self._end_transfer()
                        if succeeded:
                            self._landed_at_seconds = landed_at
                            self.guest.host = dest
                            restorer = self._resume(dest)
                if succeeded:
                    self._land(restorer)
        finally:
            migration.restore()
        return Outcome(
            landed_at - started_at,
            transfer_at - started_at,
            sent_kib,
            succeeded,
        )

    def _transfer(self, fails_after_seconds: float | None) -> bool:
        self.clock.wait(self.model.before_job_seconds)
        self.guest.check()
        started_at = self.clock.now()
        if self.disks_seconds and not self._copy_disks(fails_after_seconds):
            return False
        self.transfer = Transfer(self.guest, self.model, self.path)
        self.path.transfers.append(self.transfer)
        while not self.transfer.converged:
            self.clock.wait(self.model.step_seconds)
            self.guest.check()
            if fails_after_seconds is not None and (
                self.clock.now() - started_at >= fails_after_seconds
            ):
                return False
        self.clock.wait(self.model.downtime_seconds)
        self.transfer.send_rest()
        return True

    def _end_transfer(self) -> None:
        if self.transfer is not None:
            self.path.transfers.remove(self.transfer)
        self.guest.transferred_kib = self.transfer = None
        self.guest.remaining_kib = None
        self.guest.disks_copied_at_seconds = None

    def _copy_disks(self, fails_after_seconds: float | None) -> bool:
        """Copy the disks; return whether memory is to be sent."""
        self.guest.transferred_kib = 0.0
        self.guest.disks_copied_at_seconds = (
            self.clock.now() + self.disks_seconds
        )
        fails = (
            fails_after_seconds is not None
            and fails_after_seconds < self.disks_seconds
        )
        self.clock.wait(fails_after_seconds if fails else self.disks_seconds)
        self.guest.check()
        return not fails

    def _restorer(self, host: str) -> reconciler.Reconciler:
        return reconciler.Reconciler(
            fakes.FakeHost(fakes.FakeGuest(self.guest, host)).lend,
            locks.Locks(self.clock),
            self.clock,
            self.policy.reconcile_interval_seconds,
            self.policy.restore_workers,
        )

    def _resume(self, host: str) -> reconciler.Reconciler:
        restorer = self._restorer(host)
        restorer.start()
        restorer.notify(fakes.UUID)
        return restorer

    def _land(self, restorer: reconciler.Reconciler) -> None:
        """Have the guest restored, and wait for it."""
        self.clock.wait(self.model.after_landing_seconds)
        restorer.restore(
            fakes.UUID,
            self.reporter,
            self.reporter.restoring,
            contextlib.nullcontext(),
        )
        with restorer.hold(fakes.UUID, 2 * reconciler.WAIT_SECONDS):
            restorer.stop()

    def _step(self, seconds: float) -> None:
        if self.transfer is not None:
            self.transfer.step(seconds)
        guest = self.guest
        if guest.missing_kib <= 0:
            self._starving_seconds = 0.0
            self._see_memory_back()
            return
        self._journal.look(guest)
        if (
            guest.available_kib < self.headroom_kib
            and guest.target_kib < guest.memory_kib
        ):
            self._starving_seconds += seconds
            self.starved_seconds = max(
                self.starved_seconds, self._starving_seconds
            )
        else:
            self._starving_seconds = 0.0

    def _see_memory_back(self) -> None:
        if self._landed_at_seconds is not None and self.back_seconds is None:
            self.back_seconds = (
                self.guest.seen_at_seconds - self._landed_at_seconds
            )

    def is_whole(self) -> bool:
        """:returns: whether the guest is as it was, to the kibibyte."""
        guest = self.guest
        guest.check()
        return (
            guest.actual_kib
            == guest.target_kib
            == guest.memory_kib
            == guest.definition_kib
            and guest.stats_period_seconds == 10
            and guest.definition_stats_period_seconds == 10
            and guest.metadata is None
        )
