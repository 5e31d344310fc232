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

from unittest import mock

from nova import context
from nova import objects
import testtools

from nova_freemem import exceptions
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Release
from nova_freemem.report import reporter as reporters
from nova_freemem.restore.restoration import RestoreResult
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

UUID = '2c5d6a2e-6a0f-4f0e-9a55-3f6a1c7b9d10'


class ReportTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        objects.register_all()
        event = objects.InstanceActionEvent
        self.start = self.patch_autospec(event, 'event_start')
        self.finish = self.patch_autospec(event, 'event_finish')
        self.context = context.RequestContext(is_admin=False)
        self.reporter = reporters.Reporter(
            self.context, objects.Instance(uuid=UUID), 'host1'
        )
        self.plan = fakes.make_plan(
            expected_saving_kib=2 * GIB, expected_saving_seconds=17.25
        )

    def events(self) -> list[str]:
        return [call.args[2] for call in self.start.call_args_list]

    def test_one_line_tells_of_a_release(self) -> None:
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
                'INFO Released 3072 of 4096 MiB before live migration in 7.7 s '
                '(all of it; asked guest_agent); expected to save 2048 MiB and '
                '17.2 s of transfer (1000 Mbit/s assumed): the resident size '
                'fell by 2900 MiB to 1100 MiB.'
            ],
            self.log.output.splitlines(),
        )

    def test_no_more_is_promised_than_the_host_has_gained(self) -> None:
        self.reporter.released(
            self.plan,
            Release(
                EndReason.DEADLINE, 1 * GIB, 1000 * MIB, 1 * GIB, 3 * GIB, 5
            ),
        )
        self.assertIn('expected to save 1000 MiB', self.log.output)

    def test_one_line_tells_that_a_release_was_of_no_use(self) -> None:
        self.reporter.released(
            self.plan,
            Release(EndReason.NO_EFFECT, 1 * GIB, 0, 4 * GIB, 4 * GIB, 3),
        )
        self.assertEqual(
            [
                'INFO Live migration carries all memory of the guest: the host '
                'gains nothing from what the guest gives after 1024 MiB in '
                '3.0 s.'
            ],
            self.log.output.splitlines(),
        )

    def test_one_line_and_an_event_tell_why_a_guest_is_left_alone(
        self,
    ) -> None:
        self.reporter.skipped(Skip(Reason.NOTHING_FREE, 'figures'))
        self.assertEqual(
            [
                'INFO Live migration carries all memory of the guest: nothing '
                'is free beyond its headroom (figures).'
            ],
            self.log.output.splitlines(),
        )
        self.start.assert_called_once_with(
            self.context,
            UUID,
            'compute_freemem_skip_nothing_free',
            want_result=False,
            host='host1',
        )
        self.finish.assert_called_once_with(
            self.context,
            UUID,
            'compute_freemem_skip_nothing_free',
            want_result=False,
        )

    def test_an_event_is_a_success_even_around_a_fault(self) -> None:
        with (
            testtools.ExpectedException(ZeroDivisionError),
            self.reporter.event(reporters.RELEASE_EVENT),
        ):
            raise ZeroDivisionError
        self.assertEqual(['compute_freemem_release'], self.events())
        self.assertEqual(1, self.finish.call_count)

    def test_event_names_fit_into_novas_column(self) -> None:
        for reason in Reason:
            name = reporters.SKIP_EVENT.format(reason=reason.name.lower())
            self.assertLessEqual(len(name), 255)
            self.assertRegex(name, r'^[a-z_]+$')

    def test_an_event_that_cannot_be_recorded_stops_nobody(self) -> None:
        self.start.side_effect = self.finish.side_effect = OSError('no rabbit')
        done = mock.Mock()
        with self.reporter.event(reporters.RESTORE_EVENT):
            done()
        done.assert_called_once_with()
        self.assertEqual([], self.log_lines('ERROR'))

    def test_one_line_tells_that_memory_is_back(self) -> None:
        self.reporter.restored(RestoreResult(4 * GIB, 1 * GIB, 4 * GIB, 2.56))
        self.assertEqual(
            [
                'INFO Gave memory back to the guest in 2.6 s: 1048576 -> '
                '4194304 KiB.'
            ],
            self.log.output.splitlines(),
        )

    def test_a_slow_guest_is_warned_of(self) -> None:
        self.reporter.restored(RestoreResult(4 * GIB, 1 * GIB, 2 * GIB, 10))
        (line,) = self.log_lines('WARNING')
        self.assertIn('2097152 of 4194304 KiB after 10 s', line)

    def test_memory_not_given_back_comes_with_the_command_that_mends_it(
        self,
    ) -> None:
        self.reporter.restore_failed(OSError('no way'))
        (line,) = self.log_lines('ERROR')
        self.assertIn('no way', line)
        self.assertIn(f'"nova-freemem restore {UUID}"', line)

    def test_an_entry_nobody_can_read_comes_with_the_command_that_settles(
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

    def test_a_guest_that_needed_its_memory_is_warned_of(self) -> None:
        self.reporter.pressure_during_transfer(self.plan)
        (line,) = self.log_lines('WARNING')
        self.assertIn('needed its memory', line)
        self.assertIn('all 4096 MiB', line)

    def test_a_fault_says_that_the_migration_goes_on(self) -> None:
        self.reporter.error('Asking the guest', ZeroDivisionError('oops'))
        (line,) = self.log_lines('ERROR')
        self.assertEqual(
            'ERROR Asking the guest failed: oops. The live '
            'migration goes on as Nova does it.',
            line,
        )
        self.assertIn('ZeroDivisionError: oops', self.log.output)

    def test_a_fault_that_was_foreseen_is_one_line(self) -> None:
        # A server was deleted while memory was taken from its guest.
        self.reporter.error(
            'Releasing memory of the guest',
            fakes.libvirt_fault(
                exceptions.OperationInvalid, 'domain is not running'
            ),
        )
        (line,) = self.log.output.splitlines()
        self.assertIn('domain is not running', line)
