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

"""A request of the operator at any moment of a migration: one effect, once."""

from collections.abc import Callable
import itertools

from nova import exception
from nova.objects import migrate_data as migrate_data_objects
from nova.virt.libvirt import driver as nova_driver

from nova_freemem.migrate import source
from tests.simulation import fakes
from tests.unit import test_driver

ABORT, FORCE = 'abort', 'force-complete'

# libvirt's job shows a while after Nova began with the transfer, QEMU is
# started at the destination, and then memory is sent. Nova looks each half
# second, from the moment on that it has begun.
BEFORE_JOB_SECONDS = 0.65
STARTING_SECONDS = 1.05
SENDING_SECONDS = 3.0
NOVA_POLL_SECONDS = 0.5

CANCELLED_BEFORE = 'cancelled before the transfer'
ABORTED = 'the transfer was aborted'
FORCED = 'the transfer was forced'
FAILED = 'the switch to post-copy failed'
REFUSED = 'the operator was refused'
UNSEEN = 'the transfer ended before Nova looked'


class NoActiveJob(Exception):
    """What libvirt answers where there is nothing to abort."""


class StockNova:
    """Nova's driver, as far as it obeys requests, in its monitor's time.

    :ivar effects: what came of the requests, in order
    :ivar began: whether Nova has begun with the transfer
    :ivar is_over: whether it has ended
    :ivar missing_kib: what the guest missed as Nova was asked to force it
    """

    def __init__(self, test: 'RequestAtAnyMomentTest') -> None:
        self._guest = test.guest
        self._clock = test.clock
        self._recover = test.recover
        self.effects: list[str] = []
        self.began = self.is_over = False
        self.missing_kib = 0
        self._tasks: list[str] | None = None
        self._aborted = False

    def live_migration(self, *args: object) -> None:
        self.began = True
        started_at = self._clock.now()
        self._tasks = []
        for after, sent_kib in (
            (BEFORE_JOB_SECONDS, 0.0),
            (BEFORE_JOB_SECONDS + STARTING_SECONDS, 1.0),
        ):
            self._clock.after(after, lambda kib=sent_kib: self._send(kib))
        end = started_at + (
            BEFORE_JOB_SECONDS + STARTING_SECONDS + SENDING_SECONDS
        )
        while self._clock.now() < end and not self._aborted:
            self._clock.wait(NOVA_POLL_SECONDS)
            if self._guest.transferred_kib is not None:
                self._run_tasks()
        self.effects += [UNSEEN] * len(self._tasks)
        self.is_over = True
        self._guest.transferred_kib = self._tasks = None
        if self._aborted:
            args[5](migration_status='cancelled')  # type: ignore[operator]
        else:
            self._guest.host = 'dest'

    def _send(self, kib: float) -> None:
        if not self.is_over:
            self._guest.transferred_kib = kib

    def _run_tasks(self) -> None:
        while self._tasks:
            self._tasks.pop()
            self.effects.append(
                FORCED if self._guest.transferred_kib else FAILED
            )

    def live_migration_abort(self, *args: object) -> None:
        if self._guest.transferred_kib is None:
            raise NoActiveJob
        self._aborted = True
        self.effects.append(ABORTED)

    def live_migration_force_complete(self, *args: object) -> None:
        if self._tasks is None:
            raise exception.NoActiveMigrationForInstance(instance_id='one')
        self._guest.check()
        self.missing_kib = self._guest.missing_kib
        self._tasks.append(FORCE)


class RequestAtAnyMomentTest(test_driver.DriverTestCase):
    """A guest is asked, gives 3 GiB in 8 s, and is transferred in 5 s."""

    def setUp(self) -> None:
        super().setUp()
        self.patch_autospec(
            nova_driver.LibvirtDriver,
            '_get_migration_flags',
            side_effect=lambda _driver, block: 1,
        )
        self.post_copy = self.patch_autospec(
            nova_driver.LibvirtDriver, '_is_post_copy_enabled'
        )
        self.migrate_data = migrate_data_objects.LibvirtLiveMigrateData(
            migration=self.migrate_data.migration, block_migration=False
        )

    def permit_post_copy(self, permitted: bool) -> None:
        self.post_copy.side_effect = lambda _driver, _flags: permitted

    def requests(self) -> dict[str, Callable[..., None]]:
        return {
            ABORT: self.driver.live_migration_abort,
            FORCE: self.driver.live_migration_force_complete,
        }

    def story(
        self, *given: tuple[float, str], wait_for_lock: float = 0.0
    ) -> StockNova:
        """Migrate a guest, with requests at given seconds from the start."""
        self.start_again()
        nova = StockNova(self)
        for name in self.requests():
            method = f'live_migration_{name.replace("-", "_")}'
            self.stock[method].side_effect = getattr(nova, method)
        self.stock['live_migration'].side_effect = nova.live_migration
        self.recover.side_effect = lambda *_args, **_kwargs: (
            None if nova.began else nova.effects.append(CANCELLED_BEFORE)
        )

        def ask(name: str) -> None:
            try:
                self.requests()[name](self.instance)
            except (NoActiveJob, exception.NoActiveMigrationForInstance):
                nova.effects.append(REFUSED)
                self.assertTrue(nova.is_over, 'refused a request in time')

        for seconds, name in given:
            self.clock.after(
                seconds, self.clock.thread(ask, args=(name,)).start
            )
        if wait_for_lock:
            lock = self.driver._reconciler.hold(test_driver.UUID, 0.0)
            lock.__enter__()
            self.clock.after(
                wait_for_lock, lambda: lock.__exit__(None, None, None)
            )
        self.clock.wait(0.01)  # a request before that is Nova's
        self.migrate()
        self.clock.wait(30)
        self.assertEqual([], self.clock.errors)
        self.assertEqual({}, self.driver._handovers)
        return nova

    def start_again(self) -> None:
        """Have a guest at the source, with 3.5 GiB to give."""
        self.guest.host = 'source'
        self.guest.metadata = None
        self.guest.actual_kib = self.guest.target_kib = self.guest.memory_kib
        self.guest.touched_kib = self.guest.free_kib
        self.guest.stats_period_seconds = 10

    def moments(self) -> list[float]:
        """Each third of a second until all is over, and off its beat."""
        return [0.02 + number * 0.33 for number in range(46)]

    def assert_one_effect(self, nova: StockNova, seconds: float) -> None:
        self.assertEqual(1, len(nova.effects), (seconds, nova.effects))
        self.assertNotEqual([FAILED], nova.effects)

    def test_an_abort_has_one_effect(self) -> None:
        seen = set()
        for seconds in self.moments():
            nova = self.story((seconds, ABORT))
            self.assert_one_effect(nova, seconds)
            seen.update(nova.effects)
            if nova.effects != [REFUSED]:
                self.assert_whole()
        self.assertEqual({CANCELLED_BEFORE, ABORTED, REFUSED}, seen)

    def test_a_force_complete_has_one_effect(self) -> None:
        for post_copy in (False, True):
            self.permit_post_copy(post_copy)
            seen = set()
            for seconds in self.moments():
                nova = self.story((seconds, FORCE))
                self.assert_one_effect(nova, seconds)
                seen.update(nova.effects)
            self.assertEqual({FORCED, REFUSED}, seen - {UNSEEN})

    def test_an_abort_after_a_force_complete_is_not_lost(self) -> None:
        for first, second in itertools.combinations(self.moments()[::4], 2):
            nova = self.story((first, FORCE), (second, ABORT))
            stopped = nova.effects.count(ABORTED) + nova.effects.count(
                CANCELLED_BEFORE
            )
            self.assertLessEqual(stopped, 1, (first, second))
            if not stopped:
                self.assertIn(REFUSED, nova.effects, (first, second))
            self.assertLessEqual(nova.effects.count(FORCED), 1)

    def test_while_another_has_the_guest_a_request_is_held(self) -> None:
        for wait_seconds in (2, 6):
            nova = self.story((1, ABORT), wait_for_lock=wait_seconds)
            self.assertEqual([CANCELLED_BEFORE], nova.effects)
            nova = self.story((1, FORCE), wait_for_lock=wait_seconds)
            self.assertEqual([FORCED], nova.effects)

    def test_a_guest_that_is_skipped_is_aborted_and_forced_as_well(
        self,
    ) -> None:
        self.disable()
        for request, effect in ((ABORT, ABORTED), (FORCE, FORCED)):
            nova = self.story((0.3, request))
            self.assertEqual([effect], nova.effects)

    def test_an_error_of_ours_loses_none(self) -> None:
        self.patch_autospec(
            source, 'SourceMigration', side_effect=ZeroDivisionError
        )
        for request, effect in ((ABORT, ABORTED), (FORCE, FORCED)):
            nova = self.story((0.3, request))
            self.assertEqual([effect], nova.effects)

    def test_before_it_is_forced_into_post_copy_a_guest_is_whole(
        self,
    ) -> None:
        for post_copy in (True, False):
            self.permit_post_copy(post_copy)
            for seconds in (3, 10):
                nova = self.story((seconds, FORCE))
                self.assertEqual([FORCED], nova.effects)
                self.assertEqual(
                    post_copy, nova.missing_kib < fakes.GIB, seconds
                )
