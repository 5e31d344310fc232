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

"""What operators read."""

import dataclasses
import threading
from typing import Any
from unittest import mock

from nova import context
from nova import objects

from nova_freemem import exceptions
from nova_freemem import history as histories
from nova_freemem import policy
from nova_freemem.plan.planner import Mode
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.plan.transfer_meter import Sent
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Release
from nova_freemem.report import event_queue
from nova_freemem.report import events
from nova_freemem.report import reporter as reporters
from nova_freemem.restore.restoration import RestoreResult
from nova_freemem.virt import guest as guests
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

UUID = '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'


class ReporterTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        event = objects.InstanceActionEvent
        self.create = self.patch_autospec(event, 'create')
        self.patch_autospec(event, 'event_finish')
        self.history = mock.create_autospec(histories.History, instance=True)
        clock = fakes.FakeClock()
        self.patch_autospec(threading, 'Thread', side_effect=clock.thread)
        self.reporter = reporters.Reporter(
            events.Events(
                context.RequestContext(is_admin=False),
                objects.Instance(uuid=UUID),
                'host1',
                event_queue.EventQueue(clock),
                self.history.append,
            )
        )
        self.plan = fakes.make_plan(
            expected_saving_kib=2 * GIB, expected_saving_seconds=17.25
        )


class ReportTest(ReporterTestCase):
    def test_a_dry_run_tells_what_a_release_would_save(self) -> None:
        self.reporter.dry_run(self.plan)
        self.reporter.flush()
        self.assertEqual(
            ['compute_freemem_dry_run'],
            [call.args[0].event for call in self.create.call_args_list],
        )
        self.assertEqual(
            [
                'INFO Dry run: 3072 of 4096 MiB would be released before the '
                'transfer; expected to save 2048 MiB and 17.2 of 34.4 s at '
                '1000 Mbit/s (assumed). Free memory was reported by '
                'guest_agent. Nothing is released.'
            ],
            [line for line in self.log_lines('INFO') if 'Dry' in line],
        )

    def test_a_dry_run_is_compared_with_what_the_transfer_took(self) -> None:
        self.reporter.dry_run_ended(self.plan, Sent(30.06, 3900 * MIB))
        self.assertEqual(
            [
                'INFO Dry run: the transfer of memory took 30.1 s and sent '
                '3900 MiB; without a release 34.4 s and 4096 MiB were '
                'expected.'
            ],
            [line for line in self.log_lines('INFO') if 'Dry' in line],
        )

    def test_one_line_about_each_setting_that_is_ignored(self) -> None:
        log = self.useFixture(base.NovaLog())
        self.reporter.ignored(
            [
                policy.WrongSetting(
                    'freemem:mode', 'flavor', 'never', 'auto, before, during'
                ),
                policy.WrongSetting(
                    'freemem_enabled', 'image', 'a\nb', 'true or false'
                ),
            ]
        )
        mode, enabled = log.lines(f'[instance: {UUID}]')
        self.assertIn(
            "Ignoring 'freemem:mode' of the flavor of the guest: it is "
            "'never'; valid: auto, before, during.",
            mode,
        )
        self.assertIn(
            "Ignoring 'freemem_enabled' of the image of the guest: it is "
            "'a\\nb'; valid: true or false.",
            enabled,
        )

    def test_one_line_about_a_release(self) -> None:
        self.reporter.released(
            self.plan,
            Release(
                EndReason.TARGET_REACHED,
                3 * GIB,
                2900 * MIB,
                1100 * MIB,
                1 * GIB,
                7.68,
            ),
        )
        self.assertEqual(
            [
                'INFO Released 3072 of 4096 MiB before the transfer in 7.7 s '
                '(all of it); expected to save 2048 MiB and 17.2 s of '
                'transfer at 1000 Mbit/s (assumed). Resident size fell by '
                '2900 MiB to 1100 MiB. Free memory was reported by '
                'guest_agent.'
            ],
            self.log.output.splitlines(),
        )

    def test_one_line_about_page_cache_that_the_guest_dropped(self) -> None:
        release = Release(
            EndReason.TARGET_REACHED, 3 * GIB, 3 * GIB, 1 * GIB, 1 * GIB, 7.0
        )
        plan = fakes.make_plan(cold_kib=2000 * MIB)
        for dropped_mib, not_dropped, line in (
            (
                2000,
                '',
                '2000 of 2000 MiB of cold page cache when it was asked ',
            ),
            (0, 'it is blocked', 'when it was asked to (it is blocked).'),
        ):
            self.reporter.released(
                plan,
                dataclasses.replace(
                    release,
                    dropped_kib=dropped_mib * MIB,
                    not_dropped=not_dropped,
                ),
            )
            dropped, _released = self.log_lines('INFO')[-2:]
            self.assertIn(line, dropped)

    def test_no_more_is_expected_than_the_resident_size_fell(self) -> None:
        self.reporter.released(
            self.plan,
            Release(
                EndReason.DEADLINE, 1 * GIB, 1000 * MIB, 1 * GIB, 3 * GIB, 5
            ),
        )
        self.assertIn('expected to save 1000 MiB', self.log.output)

    def test_what_had_been_sent_before_it_was_released_saves_nothing(
        self,
    ) -> None:
        # A guest gave up memory more slowly than the path took it.
        release = Release(
            EndReason.TRANSFER_ENDED,
            2326 * MIB,
            2303 * MIB,
            280 * MIB,
            746 * MIB,
            27.1,
            sent_kib=2248 * MIB,
        )
        plan = fakes.make_plan(rss_kib=2584 * MIB, mode=Mode.DURING)
        self.reporter.released(plan, release)
        self.assertIn('expected to save 336 MiB', self.log.output)
        # More than it had was sent: what the guest rewrites is sent again.
        again = dataclasses.replace(release, sent_kib=3000 * MIB)
        self.reporter.released(plan, again)
        self.assertIn('expected to save 0 MiB', self.log.output)

    def test_one_line_about_a_release_without_effect(self) -> None:
        self.reporter.released(
            self.plan,
            Release(EndReason.NO_EFFECT, 1 * GIB, 0, 4 * GIB, 4 * GIB, 3),
        )
        self.assertEqual(
            [
                'INFO Stopped releasing memory: the resident size does not '
                'fall after 1024 MiB in 3.0 s. All memory of the guest is '
                'restored.'
            ],
            self.log.output.splitlines(),
        )

    def test_one_line_says_why_all_is_restored_during_the_transfer(
        self,
    ) -> None:
        for end in (
            EndReason.SHUTDOWN,
            EndReason.COPYING_DISKS,
            EndReason.GREW,
        ):
            self.reporter.restored_during_transfer(self.plan, end)
        self.assertEqual(
            [
                'INFO All 4096 MiB of the guest are restored during the '
                f'transfer: {why}.'
                for why in (
                    'nova-compute is stopping',
                    'the disks are still being copied',
                    'the guest takes memory back by itself',
                )
            ],
            self.log.output.splitlines(),
        )

    def test_one_line_and_an_event_about_a_skip(
        self,
    ) -> None:
        self.reporter.skipped(Skip(Reason.NOTHING_FREE, 'figures'))
        self.assertEqual(
            [
                'INFO Skipping memory release: nothing is free beyond the '
                "headroom (figures). See 'nothing_free' in the operations "
                'guide.'
            ],
            self.log.output.splitlines(),
        )
        self.reporter.flush()
        self.create.assert_called_once()
        self.assertEqual(
            'compute_freemem_skip_nothing_free',
            self.create.call_args.args[0].event,
        )

    def test_event_names_fit_into_novas_column(self) -> None:
        for reason in Reason:
            name = events.skip_event(Skip(reason))
            self.assertLessEqual(len(name), 255)
            self.assertRegex(name, r'^[a-z_]+$')

    def test_one_line_about_memory_that_is_restored(self) -> None:
        self.reporter.restored(RestoreResult(4 * GIB, 1 * GIB, 4 * GIB, 2.56))
        self.assertEqual(
            [
                'INFO Restored memory of the guest in 2.6 s: 1048576 -> '
                '4194304 KiB.'
            ],
            self.log.output.splitlines(),
        )

    def test_a_slow_guest_is_a_warning(self) -> None:
        self.reporter.restored(RestoreResult(4 * GIB, 1 * GIB, 2 * GIB, 10))
        (line,) = self.log_lines('WARNING')
        self.assertIn('2097152 of 4194304 KiB after 10 s', line)

    def test_a_guest_that_is_paused_is_one_to_wait_for(self) -> None:
        self.reporter.restore_waits(guests.Situation.PAUSED)
        self.assertEqual(
            [
                'WARNING Restoring memory of the guest waits: the guest is '
                'paused. nova-compute restores it once that has ended.'
            ],
            self.log_lines('WARNING'),
        )

    def test_memory_that_is_not_restored_comes_with_the_command(
        self,
    ) -> None:
        self.reporter.restore_failed(OSError('no way'))
        (line,) = self.log_lines('ERROR')
        self.assertIn('no way', line)
        self.assertIn(f'"nova-freemem restore {UUID}"', line)

    def test_an_entry_that_cannot_be_read_comes_with_the_command(
        self,
    ) -> None:
        reporters.GuestReporter(UUID).journal_unreadable(
            exceptions.JournalUnreadable(
                entry="'<outstanding/>'", problem='its format is not 1'
            )
        )
        (line,) = self.log_lines('ERROR')
        self.assertIn('its format is not 1', line)
        self.assertIn(f'"nova-freemem repair {UUID}"', line)

    def test_pressure_during_the_transfer_is_a_warning(self) -> None:
        self.reporter.restored_during_transfer(self.plan, EndReason.PRESSURE)
        (line,) = self.log_lines('WARNING')
        self.assertIn('came under memory pressure', line)
        self.assertIn('all 4096 MiB', line)

    def test_an_error_says_that_the_migration_continues(self) -> None:
        self.reporter.error('Releasing memory', ZeroDivisionError('oops'))
        (line,) = self.log_lines('ERROR')
        self.assertEqual(
            'ERROR Releasing memory failed: oops. The live migration '
            'continues as Nova does it.',
            line,
        )
        self.assertIn('ZeroDivisionError: oops', self.log.output)

    def test_an_error_that_was_foreseen_is_one_line(self) -> None:
        # A server was deleted while memory of its guest was released.
        self.reporter.error(
            'Releasing memory',
            fakes.libvirt_error(
                exceptions.OperationInvalid, 'domain is not running'
            ),
        )
        (line,) = self.log.output.splitlines()
        self.assertIn('domain is not running', line)


class HistoryTest(ReporterTestCase):
    """What "nova-freemem report" counts."""

    def remembered(self) -> list[dict[str, Any]]:
        """:returns: what was remembered, but for when and of which server"""
        self.reporter.flush()
        records = [call.args[0] for call in self.history.append.call_args_list]
        return [
            {
                name: getattr(record, name)
                for name in ('reason', 'not_sent_kib', 'seconds', 'complete')
                if getattr(record, name) is not None
            }
            for record in records
        ]

    def release(self, end: EndReason) -> None:
        with self.reporter.releasing(self.plan):
            self.reporter.released(
                self.plan,
                Release(end, 3 * GIB, 3 * GIB, 1 * GIB, 1 * GIB, 4.0),
            )

    def assert_remembered(self, not_sent_kib: int, seconds: float) -> None:
        self.reporter.transferred(4.0, True)
        self.assertEqual(
            [
                {
                    'not_sent_kib': not_sent_kib,
                    'seconds': seconds,
                    'complete': True,
                }
            ],
            self.remembered(),
        )

    def test_a_release_saves_what_sending_takes_less_what_it_took(
        self,
    ) -> None:
        self.release(EndReason.TARGET_REACHED)
        # 2 GiB at 1000 Mbit/s take 17.18 s.
        self.assert_remembered(2 * GIB, 13.18)

    def test_a_release_that_was_undone_has_cost_time(self) -> None:
        self.release(EndReason.NO_EFFECT)
        self.assert_remembered(0, -4.0)

    def test_a_release_that_the_transfer_undid_has_cost_time(self) -> None:
        self.release(EndReason.TARGET_REACHED)
        self.reporter.restored_during_transfer(self.plan, EndReason.PRESSURE)
        self.assert_remembered(0, -4.0)

    def test_a_transfer_that_failed_is_remembered_as_such(self) -> None:
        self.release(EndReason.TARGET_REACHED)
        self.reporter.transferred(4.0, False)
        (record,) = self.remembered()
        self.assertFalse(record['complete'])

    def test_a_skip_is_remembered_once_with_its_reason(self) -> None:
        self.reporter.skipped(Skip(Reason.NOTHING_FREE))
        self.reporter.transferred(0.0, True)
        self.assertEqual([{'reason': 'nothing_free'}], self.remembered())

    def test_a_restore_is_remembered_with_whether_it_was_whole(self) -> None:
        for after_kib in (4 * GIB, 2 * GIB):
            with self.reporter.restoring(fakes.make_entry()):
                self.reporter.restored(
                    RestoreResult(4 * GIB, 1 * GIB, after_kib, 2.5)
                )
        with self.reporter.restoring(fakes.make_entry()):
            pass
        self.assertEqual(
            [True, False, False],
            [record['complete'] for record in self.remembered()],
        )
