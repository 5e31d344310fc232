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

"""Live migrations that complete: memory is released, or there is a reason."""

import functools
from typing import ClassVar

import fixtures

from nova_freemem import clock
from nova_freemem.restore import reconciler
from tests.functional import base
from tests.functional import fakedomain
from tests.simulation.guest import NO_LIMIT_KIB

RELEASE = 'compute_freemem_release'
RESTORE = 'compute_freemem_restore'


def headroom_kib(definition: str) -> int:
    """Return what a guest that uses little keeps; see headroom_percent.

    :param definition: the domain XML, as this Nova wrote it
    :returns: with a quarter for the guest's own ups and downs
    """
    percent = 12 if 'autodeflate' in definition else 5
    return int(base.MEMORY_KIB * percent // 100 * 1.25)


class WatchedTransferTestCase(base.LiveMigrationTestCase):
    """The transfer is looked at for what it has to send."""

    def setUp(self) -> None:
        super().setUp()
        self.source.transfer = self._look_at_the_transfer

    def _look_at_the_transfer(self, domain: fakedomain.Domain) -> None:
        self.definition = domain.XMLDesc(0)
        self.balloon_in_transfer_kib = self.guest.actual_kib
        self.entries_in_transfer = base.journal_entries(domain, base.LIVE)

    def assert_skipped(self, reason: str, detail: str = '') -> None:
        """The guest kept all its memory; event and log say why."""
        self.assertEqual(base.MEMORY_KIB, self.balloon_in_transfer_kib)
        self.assertEqual([], self.entries_in_transfer)
        self.assert_whole(self.destination)
        events = self.events()
        self.assertEqual('Success', events[f'compute_freemem_skip_{reason}'])
        self.assertNotIn(RELEASE, events)
        self.assertNotIn(RESTORE, events)
        [line] = self.log_lines('INFO')
        self.assertIn('Skipping memory release: ', line)
        self.assertIn(detail, line)
        self.assertIn(f"See '{reason}' in the operations guide.", line)
        self.assertEqual([], self.log_lines('WARNING'))
        self.assertEqual([], self.log_lines('ERROR'))


class GuestWithFreeMemory(WatchedTransferTestCase):
    def test_free_memory_is_not_transferred(self) -> None:
        kept_kib = self.guest.memory_kib - self.guest.free_kib
        self.migrate()
        self.assertEqual(
            kept_kib + headroom_kib(self.definition),
            self.balloon_in_transfer_kib,
        )

    def test_guest_owns_all_its_memory_after_landing(self) -> None:
        self.migrate()
        self.assertEqual([str(base.MEMORY_KIB)], self.entries_in_transfer)
        self.assert_whole(self.destination)

    def test_server_events_show_release_and_restore(self) -> None:
        self.migrate()
        events = self.events()
        self.assertEqual('Success', events[RELEASE])
        self.assertEqual('Success', events[RESTORE])

    def test_one_log_line_tells_what_was_released(self) -> None:
        self.migrate()
        released, restored = self.log_lines('INFO')
        released_mib = (base.MEMORY_KIB - self.balloon_in_transfer_kib) // 1024
        self.assertIn(f'Released {released_mib} of 4096 MiB', released)
        self.assertIn('reported by guest_agent', released)
        self.assertIn(
            f'{self.balloon_in_transfer_kib} -> {base.MEMORY_KIB} KiB',
            restored,
        )

    def test_server_migrates_there_and_back_without_losing_a_page(
        self,
    ) -> None:
        self.migrate()
        self.source, self.destination = self.destination, self.source
        self.flags(host='destination')
        self.guest.touched_kib = self.guest.free_kib
        self.source.transfer = self._look_at_the_transfer
        self.ask_to_migrate()
        self.see('completed', 'active', 'source')
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)
        self.assert_whole(self.destination)

    def test_guest_that_releases_only_a_part_migrates_with_the_rest(
        self,
    ) -> None:
        self.guest.inflates_down_to_kib = base.MEMORY_KIB // 2
        self.migrate()
        self.assertEqual(base.MEMORY_KIB // 2, self.balloon_in_transfer_kib)
        self.assert_whole(self.destination)

    def test_guest_has_all_its_memory_where_the_host_gains_nothing(
        self,
    ) -> None:
        self.guest.discards = False
        self.migrate()
        self.assertLess(self.guest.least_kib, base.MEMORY_KIB)
        self.assertEqual(base.MEMORY_KIB, self.balloon_in_transfer_kib)
        self.assertIn(
            'the resident size does not fall', self.log_lines('INFO')[0]
        )
        self.assert_whole(self.destination)


class ColdPageCacheTestCase(WatchedTransferTestCase):
    """Half of the guest's memory is page cache, which its kernel can drop."""

    def setUp(self) -> None:
        super().setUp()
        self.guest.agent.files = {
            '/sys/kernel/mm/lru_gen/enabled': b'0x0000\n'
        }
        self.guest.cold_kib = base.MEMORY_KIB // 2
        self.guest.touched_kib = base.MEMORY_KIB // 4
        self.guest.drop_kib_per_second = base.MEMORY_KIB

    def _look_at_the_transfer(self, domain: fakedomain.Domain) -> None:
        super()._look_at_the_transfer(domain)
        # A transfer lasts longer than the agent's last answer: here it is over
        # at once, and nobody can ask a guest that has left.
        for kind in ('freemem-reclaim', 'freemem-reread'):
            self.wait_for([], functools.partial(base.threads, kind))


class GuestWithColdPageCache(ColdPageCacheTestCase):
    def test_its_kernel_drops_it_before_the_balloon_takes_it(self) -> None:
        self.migrate()
        self.assertEqual('32768K', self.guest.asked_to_drop[0])
        dropped, released, _restored = self.log_lines('INFO')
        self.assertIn('of cold page cache when it was asked to', dropped)
        self.assertIn('Released ', released)
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB // 2)
        self.assertEqual({}, self.guest.agent.handles)
        self.assert_whole(self.destination)

    def test_where_its_agent_may_not_the_balloon_takes_it(self) -> None:
        self.guest.agent.blocked = frozenset({'guest-file-open'})
        self.migrate()
        dropped, released, _restored = self.log_lines('INFO')
        self.assertIn('dropped 0 of', dropped)
        self.assertIn('guest-file-open has been disabled', dropped)
        self.assertIn('Released ', released)
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB // 2)
        self.assertEqual([], self.guest.asked_to_drop)
        self.assert_whole(self.destination)


class HostThatReleasesByTheBalloonAlone(ColdPageCacheTestCase):
    CONFIGURATION = base.ENABLED + 'release = balloon\n'

    def test_the_guest_is_not_asked_to_drop_anything(self) -> None:
        self.migrate()
        released, _restored = self.log_lines('INFO')
        self.assertIn('Released ', released)
        self.assertNotIn('guest-file-write', self.guest.agent.commands)
        self.assert_whole(self.destination)


class HostThatKnowsNoBandwidth(WatchedTransferTestCase):
    CONFIGURATION = base.NOTHING_CONFIGURED

    def test_memory_is_released_while_the_transfer_runs(self) -> None:
        self.migrate()
        self.assertEqual([str(base.MEMORY_KIB)], self.entries_in_transfer)
        self.assert_whole(self.destination)
        self.assertIn('during the transfer', self.log_lines('INFO')[0])


class GuestWhoseBalloonDeflatesSlowly(WatchedTransferTestCase):
    CLOCK = clock.Clock

    def setUp(self) -> None:
        super().setUp()
        self.useFixture(
            fixtures.MonkeyPatch(f'{reconciler.__name__}.WAIT_SECONDS', 0.1)
        )
        self.guest.deflates_up_to_kib = 0

    def test_server_is_usable_and_memory_follows(self) -> None:
        self.migrate()
        landed = self.domain_at(self.destination)
        self.assertEqual(
            [str(base.MEMORY_KIB)], base.journal_entries(landed, base.LIVE)
        )
        [line] = self.log_lines('WARNING')
        self.assertIn('Restoring memory of the guest is slow', line)
        self.guest.deflates_up_to_kib = NO_LIMIT_KIB
        self.wait_for([], lambda: base.journal_entries(landed, base.LIVE))
        self.assert_whole(self.destination)


class DeadlineOfSixSeconds(WatchedTransferTestCase):
    CONFIGURATION = base.ENABLED + 'deadline_seconds = 6\nmode = before\n'

    def test_slow_guest_does_not_keep_the_migration_waiting(self) -> None:
        self.guest.inflate_kib_per_second = 16 * 1024
        self.migrate()
        self.assertIn('deadline_seconds passed', self.log_lines('INFO')[0])
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)
        self.assert_whole(self.destination)


class GuestThatIsSkipped(WatchedTransferTestCase):
    def test_guest_that_uses_everything(self) -> None:
        self.guest.used_kib += self.guest.free_kib - 64 * 1024
        self.migrate()
        self.assert_skipped('nothing_free', '64 MiB to spare')

    def test_server_that_is_paused(self) -> None:
        self.api.post_server_action(self.server['id'], {'pause': {}})
        self._wait_for_state_change(self.server, 'PAUSED')
        self.ask_to_migrate()
        self.see('completed', 'paused', 'destination')
        self.assert_skipped('not_running')

    def test_guest_whose_free_memory_is_not_resident(self) -> None:
        self.guest.touched_kib = 0
        self.migrate()
        self.assert_skipped('not_worthwhile', '(0 MiB of ')

    def test_guest_without_a_balloon_driver(self) -> None:
        self.guest.has_driver = False
        self.domain_at(self.source).forget_statistics()
        self.migrate()
        self.assert_skipped('no_balloon_driver')

    def test_guest_whose_balloon_driver_has_died(self) -> None:
        self.guest.has_driver = False
        self.domain_at(self.source).age_statistics(seconds=60)
        self.migrate()
        self.assert_skipped('no_balloon_driver')

    def test_guest_whose_agent_and_statistics_tell_nothing(self) -> None:
        self.guest.agent.script = [fakedomain.NOT_RUNNING]
        self.guest.tells = dict.fromkeys(fakedomain.STATISTICS)
        self.migrate()
        self.assert_skipped('no_balloon_driver', 'neither usable nor unused')

    def test_guest_somebody_else_has_ballooned(self) -> None:
        shrunk_kib = base.MEMORY_KIB * 3 // 4
        self.guest.actual_kib = self.guest.target_kib = shrunk_kib
        self.migrate()
        self.assertEqual(shrunk_kib, self.balloon_in_transfer_kib)
        self.assertEqual(shrunk_kib, self.guest.actual_kib)
        self.assertIn('compute_freemem_skip_ballooned_already', self.events())


class GuestAgentThatTalksNonsense(WatchedTransferTestCase):
    """What the agent says is of no use, so the balloon's statistics count."""

    def test_answer_that_is_not_json(self) -> None:
        self._migrate_with_answer('free: plenty')

    def test_answer_without_numbers(self) -> None:
        self._migrate_with_answer('{"return": {}}')

    def test_megabyte_of_base64(self) -> None:
        self._migrate_with_answer('A' * 1024 * 1024)

    def _migrate_with_answer(self, answer: str) -> None:
        self.guest.agent.script = [answer]
        self.migrate()
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)
        self.assert_whole(self.destination)
        self.assertIn('reported by balloon_stats', self.log_lines('INFO')[0])


class GuestAgentInTrouble(WatchedTransferTestCase):
    def test_agent_hangs(self) -> None:
        self.guest.agent.script = [fakedomain.HUNG]
        self._assert_released_by('balloon_stats')

    def test_agent_may_not_execute_but_may_read_files(self) -> None:
        self.guest.agent.blocked = frozenset({'guest-exec'})
        self._assert_released_by('guest_agent')

    def test_agent_may_neither_execute_nor_read_files(self) -> None:
        self.guest.agent.blocked = frozenset({'guest-exec', 'guest-file-open'})
        self._assert_released_by('balloon_stats')

    def _assert_released_by(self, source: str) -> None:
        self.migrate()
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)
        self.assert_whole(self.destination)
        self.assertIn(f'reported by {source}', self.log_lines('INFO')[0])


class ImageWithoutGuestAgent(WatchedTransferTestCase):
    IMAGE_PROPERTIES: ClassVar[dict[str, str]] = {}

    def test_balloon_statistics_tell_what_is_free(self) -> None:
        self.migrate()
        self.assertLess(self.balloon_in_transfer_kib, base.MEMORY_KIB)
        self.assert_whole(self.destination)
        self.assertIn('reported by balloon_stats', self.log_lines('INFO')[0])


class CloudWithoutBalloons(base.LiveMigrationTestCase):
    CONFIGURATION = (
        base.ENABLED
        + """
[libvirt]
mem_stats_period_seconds = 0
"""
    )

    def test_guest_is_skipped(self) -> None:
        self.migrate()
        self.assertIn('compute_freemem_skip_no_balloon', self.events())
        [line] = self.log_lines('INFO')
        self.assertIn("See 'no_balloon' in the operations guide.", line)
        self.assertEqual([], self.guest.agent.commands)
