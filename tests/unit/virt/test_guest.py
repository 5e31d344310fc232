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

"""The seam to libvirt: what is called, and what its errors mean."""

import functools
import json
from unittest import mock

import libvirt
import libvirt_qemu
from lxml import etree

from nova_freemem import exceptions
from nova_freemem.virt import domain_xml
from nova_freemem.virt import errors
from nova_freemem.virt import guest as guests
from nova_freemem.virt import swap
from nova_freemem.virt.guest import Outgoing
from nova_freemem.virt.guest import Situation
from nova_freemem.virt.transfer_progress import TransferProgress
from tests import base
from tests.fuzz import oracle
from tests.simulation import fakes

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG


def libvirt_error(
    code: int, text: str = 'it would not'
) -> libvirt.libvirtError:
    """:returns: an error as the binding raises it."""
    error = libvirt.libvirtError(text)
    error.err = (
        code,
        libvirt.VIR_FROM_QEMU,
        text,
        libvirt.VIR_ERR_ERROR,
        text,
        None,
        None,
        -1,
        -1,
    )
    return error


@functools.cache
def make_handle() -> mock.Mock:
    """:returns: a stand-in for a domain; making one takes long."""
    return mock.create_autospec(libvirt.virDomain, instance=True)


class GuestTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.handle = make_handle()
        self.handle.reset_mock(return_value=True, side_effect=True)
        self.handle.XMLDesc.return_value = fakes.DOMAIN_XML
        self.handle.controlInfo.return_value = [
            libvirt.VIR_DOMAIN_CONTROL_OK,
            0,
            0,
        ]
        self.guest = guests.Guest(self.handle)


class CallsTest(GuestTestCase):
    def test_only_a_running_guest_is_running(self) -> None:
        for state in range(libvirt.VIR_DOMAIN_PMSUSPENDED + 1):
            self.handle.state.return_value = [state, 1]
            self.assertEqual(
                state == libvirt.VIR_DOMAIN_RUNNING, self.guest.is_running()
            )

    def test_it_is_running_or_paused(self) -> None:
        self.handle.jobStats.return_value = {'type': 0}
        for state, situation in (
            (libvirt.VIR_DOMAIN_RUNNING, Situation.RUNNING),
            (libvirt.VIR_DOMAIN_PAUSED, Situation.PAUSED),
            (libvirt.VIR_DOMAIN_CRASHED, Situation.PAUSED),
        ):
            self.handle.state.return_value = [state, 1]
            self.assertIs(situation, self.guest.situation())

    def test_it_has_a_job_while_libvirt_says_so(self) -> None:
        self.handle.state.return_value = [libvirt.VIR_DOMAIN_RUNNING, 1]
        for kind in (
            libvirt.VIR_DOMAIN_JOB_BOUNDED,
            libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
        ):
            self.handle.jobStats.return_value = {'type': kind}
            self.assertIs(Situation.HAS_JOB, self.guest.situation())

    def test_it_has_a_job_at_the_destination_of_its_migration(self) -> None:
        self.handle.state.return_value = [libvirt.VIR_DOMAIN_RUNNING, 1]
        self.handle.jobStats.side_effect = libvirt_error(
            libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
            'migration statistics are available only on the source host',
        )
        self.assertIs(Situation.HAS_JOB, self.guest.situation())
        self.assertTrue(self.guest.is_arriving())

    def test_a_guest_that_leaves_or_stays_does_not_arrive(self) -> None:
        for job in (libvirt.VIR_DOMAIN_JOB_UNBOUNDED, 0):
            self.handle.jobStats.side_effect = None
            self.handle.jobStats.return_value = {'type': job}
            self.assertFalse(self.guest.is_arriving())

    def test_it_has_a_job_by_the_reason_it_is_paused_or_runs_for(self) -> None:
        for state, reason in (
            (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION),
            (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP),
            (
                libvirt.VIR_DOMAIN_PAUSED,
                libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED,
            ),
            (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY),
        ):
            self.handle.state.return_value = [state, reason]
            self.assertIs(Situation.HAS_JOB, self.guest.situation())
        self.handle.jobStats.assert_not_called()

    def test_it_has_a_job_while_qemu_answers_nobody(self) -> None:
        self.handle.state.return_value = [libvirt.VIR_DOMAIN_RUNNING, 1]
        self.handle.jobStats.return_value = {'type': 0}
        self.handle.controlInfo.return_value = [
            libvirt.VIR_DOMAIN_CONTROL_OCCUPIED,
            0,
            guests.OCCUPIED_MILLISECONDS,
        ]
        self.assertIs(Situation.HAS_JOB, self.guest.situation())
        self.handle.jobStats.assert_not_called()

    def test_a_question_that_qemu_is_answering_is_no_job(self) -> None:
        self.handle.state.return_value = [libvirt.VIR_DOMAIN_RUNNING, 1]
        self.handle.jobStats.return_value = {'type': 0}
        for state, milliseconds in (
            (
                libvirt.VIR_DOMAIN_CONTROL_OCCUPIED,
                guests.OCCUPIED_MILLISECONDS - 1,
            ),
            (libvirt.VIR_DOMAIN_CONTROL_JOB, 60_000),
        ):
            self.handle.controlInfo.return_value = [state, 0, milliseconds]
            self.assertIs(Situation.RUNNING, self.guest.situation())

    def test_what_would_wait_for_a_job_is_not_begun(self) -> None:
        self.handle.state.return_value = [libvirt.VIR_DOMAIN_RUNNING, 1]
        self.handle.jobStats.return_value = {'type': 0}
        self.guest.need_no_job()
        self.handle.jobStats.return_value = {
            'type': libvirt.VIR_DOMAIN_JOB_UNBOUNDED
        }
        error = self.assertRaises(
            exceptions.DomainBusy, self.guest.need_no_job
        )
        self.assertIn('a call that QEMU does not answer', str(error))

    def test_a_job_that_cannot_be_read_is_an_error(self) -> None:
        self.handle.state.return_value = [libvirt.VIR_DOMAIN_RUNNING, 1]
        self.handle.jobStats.side_effect = libvirt_error(
            libvirt.VIR_ERR_OPERATION_TIMEOUT
        )
        self.assertRaises(exceptions.DomainBusy, self.guest.situation)

    def test_it_is_known_by_its_uuid(self) -> None:
        self.handle.UUIDString.return_value = 'an-uuid'
        self.assertEqual('an-uuid', self.guest.uuid)

    def test_a_domain_without_a_definition_is_not_persistent(self) -> None:
        for answer, is_persistent in ((0, False), (1, True)):
            self.handle.isPersistent.return_value = answer
            self.assertIs(is_persistent, self.guest.is_persistent())

    def test_xml_is_the_live_one(self) -> None:
        self.assertEqual('4194304', self.guest.xml().findtext('./memory'))
        self.handle.XMLDesc.assert_called_once_with(0)

    def test_balloon_is_set_live(self) -> None:
        self.guest.set_balloon_kib(1024)
        self.handle.setMemoryFlags.assert_called_once_with(1024, LIVE)

    def test_definition_can_be_set_as_well(self) -> None:
        self.guest.set_balloon_kib(1024, definition=True)
        self.handle.setMemoryFlags.assert_called_once_with(1024, LIVE | CONFIG)

    def test_metadata_is_written_live_and_erased_everywhere(self) -> None:
        self.guest.write_metadata('<outstanding/>')
        self.guest.erase_metadata()
        element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        self.assertEqual(
            [
                mock.call(
                    element,
                    '<outstanding/>',
                    'freemem',
                    guests.METADATA_URI,
                    LIVE,
                ),
                mock.call(
                    element,
                    None,
                    'freemem',
                    guests.METADATA_URI,
                    LIVE | CONFIG,
                ),
            ],
            self.handle.setMetadata.call_args_list,
        )

    def test_metadata_is_read_from_the_running_domain(self) -> None:
        self.handle.metadata.return_value = '<outstanding/>'
        self.assertEqual('<outstanding/>', self.guest.read_metadata())
        self.handle.metadata.assert_called_once_with(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT, guests.METADATA_URI, LIVE
        )

    def test_absent_metadata_is_none_and_erasing_it_no_error(self) -> None:
        absent = libvirt_error(libvirt.VIR_ERR_NO_DOMAIN_METADATA)
        self.handle.metadata.side_effect = absent
        self.handle.setMetadata.side_effect = absent
        self.assertIsNone(self.guest.read_metadata())
        self.guest.erase_metadata()

    def test_agent_is_asked_with_a_timeout(self) -> None:
        ask = self.patch_autospec(
            libvirt_qemu, 'qemuAgentCommand', return_value='{"return": {}}'
        )
        self.assertEqual('{"return": {}}', self.guest.agent_command('{}', 5))
        ask.assert_called_once_with(self.handle, '{}', 5, 0)

    def test_the_statistics_period_can_be_set(self) -> None:
        self.guest.set_stats_period_seconds(1)
        self.guest.set_stats_period_seconds(10, definition=True)
        self.assertEqual(
            [mock.call(1, LIVE), mock.call(10, LIVE | CONFIG)],
            self.handle.setMemoryStatsPeriod.call_args_list,
        )

    def test_what_was_sent_is_read_from_the_job(self) -> None:
        self.handle.jobStats.return_value = {
            'type': 2,
            'memory_processed': 3 * 1024 * 1024,
        }
        self.assertEqual(
            TransferProgress(3072.0), self.guest.transfer_progress()
        )

    def test_what_is_left_and_what_was_zero_is_read(self) -> None:
        self.handle.jobStats.return_value = {
            'type': 2,
            'memory_processed': 3 * 1024 * 1024,
            'memory_remaining': 2 * 1024 * 1024,
            'memory_constant': 5,
            'memory_page_size': 4096,
            'memory_iteration': 2,
            'auto_converge_throttle': 30,
        }
        self.assertEqual(
            TransferProgress(3072.0, 2048.0, 20.0, 2, 30),
            self.guest.transfer_progress(),
        )

    def test_while_disks_are_copied_nothing_of_memory_is_sent(self) -> None:
        """As libvirt 11.3 shows it: of a disk with 4 GB, 22 MB are left."""
        self.handle.jobStats.return_value = {
            'type': 2,
            'operation': libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT,
            'memory_total': 0,
            'memory_processed': 0,
            'memory_remaining': 0,
            'disk_total': 4253548544,
            'disk_processed': 4231528448,
            'disk_remaining': 22020096,
        }
        self.assertEqual(
            TransferProgress(0.0, 0.0, disks_remaining_kib=21504.0),
            self.guest.transfer_progress(),
        )
        self.assertIs(Outgoing.COPYING_DISKS, self.guest.outgoing_migration())

    def test_what_is_not_an_amount_was_not_sent(self) -> None:
        for value in (None, '7', -1, 2.5, 10**400):
            self.handle.jobStats.return_value = {'memory_processed': value}
            self.assertIsNone(self.guest.transfer_progress())

    def test_where_there_is_no_job_nothing_was_sent(self) -> None:
        self.handle.jobStats.return_value = {'type': 0}
        self.assertIsNone(self.guest.transfer_progress())


class OutgoingMigrationTest(GuestTestCase):
    """What libvirt 11.3 answers while a guest leaves."""

    def outgoing(self, **stats: object) -> Outgoing:
        self.handle.jobStats.return_value = stats
        return self.guest.outgoing_migration()

    def test_no_job_is_no_migration(self) -> None:
        self.assertEqual(Outgoing.NONE, self.outgoing(type=0))

    def test_it_is_starting_until_something_is_sent(self) -> None:
        for stats in (
            {},
            {'memory_processed': 0, 'disk_processed': 0},
            {'memory_processed': 'much'},
        ):
            self.assertEqual(
                Outgoing.STARTING, self.outgoing(type=2, operation=5, **stats)
            )

    def test_disks_come_first(self) -> None:
        self.assertEqual(
            Outgoing.COPYING_DISKS,
            self.outgoing(
                type=2, operation=5, memory_processed=0, disk_processed=1
            ),
        )

    def test_memory_is_being_sent(self) -> None:
        self.assertEqual(
            Outgoing.SENDING_MEMORY,
            self.outgoing(
                type=2, operation=5, memory_processed=1, disk_processed=1
            ),
        )

    def test_another_job_is_no_migration(self) -> None:
        backup = libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP
        self.assertEqual(
            Outgoing.NONE,
            self.outgoing(type=2, operation=backup, disk_processed=1),
        )

    def test_a_libvirt_that_does_not_say_which_job_is_believed(self) -> None:
        self.assertEqual(Outgoing.STARTING, self.outgoing(type=2))


class SwappedTest(GuestTestCase):
    def test_what_the_host_has_swapped_out_is_held_by_it(self) -> None:
        self.patch_autospec(swap, 'swapped_kib', return_value=300)
        self.handle.memoryStats.return_value = {'actual': 4096, 'rss': 1000}
        stats = self.guest.memory_stats()
        assert stats is not None
        self.assertEqual(1300, stats.rss_kib)

    def test_an_rss_that_is_not_reported_stays_so(self) -> None:
        self.patch_autospec(swap, 'swapped_kib', return_value=300)
        self.handle.memoryStats.return_value = {'actual': 4096}
        stats = self.guest.memory_stats()
        assert stats is not None
        self.assertIsNone(stats.rss_kib)


class OomKillsTest(GuestTestCase):
    """What libvirt has no name for, QEMU's monitor tells."""

    def setUp(self) -> None:
        super().setUp()
        self.ask = self.patch_autospec(libvirt_qemu, 'qemuMonitorCommand')

    def answer(self, **stats: object) -> None:
        self.ask.return_value = json.dumps({'return': {'stats': stats}})

    def test_the_balloon_is_asked_by_the_name_that_libvirt_gave_it(
        self,
    ) -> None:
        for kills in (0, 2):
            self.answer(**{'stat-oom-kills': kills})
            self.assertEqual(kills, self.guest.oom_kills())
        self.assertEqual(
            {
                'execute': 'qom-get',
                'arguments': {
                    'path': '/machine/peripheral/balloon0',
                    'property': 'guest-stats',
                },
            },
            json.loads(self.ask.call_args.args[1]),
        )
        self.assertEqual(1, self.handle.XMLDesc.call_count)

    def test_a_kernel_that_does_not_report_it_is_asked_once(self) -> None:
        # QEMU's -1, for what a guest does not report.
        self.answer(**{'stat-oom-kills': (1 << 64) - 1})
        for _ in range(2):
            self.assertIsNone(self.guest.oom_kills())
        self.ask.assert_called_once()

    def test_a_qemu_that_does_not_know_it_is_asked_once(self) -> None:
        for answer in (
            '{"return": {"stats": {"stat-free-memory": 1}}}',
            '{"return": {"stats": []}}',
            '{"return": []}',
            '{"error": {"class": "GenericError", "desc": "no such device"}}',
            'not JSON',
        ):
            guest = guests.Guest(self.handle)
            self.ask.reset_mock()
            self.ask.return_value = answer
            for _ in range(2):
                self.assertIsNone(guest.oom_kills(), answer)
            self.ask.assert_called_once()

    def test_one_that_did_not_answer_is_asked_again(self) -> None:
        self.ask.side_effect = libvirt_error(
            libvirt.VIR_ERR_INTERNAL_ERROR, 'the monitor is closed'
        )
        self.assertIsNone(self.guest.oom_kills())
        self.ask.side_effect = None
        self.answer(**{'stat-oom-kills': 3})
        self.assertEqual(3, self.guest.oom_kills())

    def test_a_job_that_was_waited_for_is_not_waited_for_again(self) -> None:
        self.ask.side_effect = libvirt_error(
            libvirt.VIR_ERR_OPERATION_TIMEOUT, 'the monitor is busy'
        )
        self.assertRaises(exceptions.DomainBusy, self.guest.oom_kills)

    def test_a_guest_without_a_balloon_is_not_asked(self) -> None:
        self.handle.XMLDesc.return_value = '<domain><devices/></domain>'
        self.assertIsNone(self.guest.oom_kills())
        self.ask.assert_not_called()


class SteerBalloonTest(GuestTestCase):
    """The balloon moves by QEMU's monitor while a transfer runs."""

    def setUp(self) -> None:
        super().setUp()
        self.ask = self.patch_autospec(
            libvirt_qemu, 'qemuMonitorCommand', return_value='{"return": {}}'
        )

    def test_the_monitor_gets_bytes(self) -> None:
        self.guest.steer_balloon_kib(1024)
        self.ask.assert_called_once_with(
            self.handle,
            '{"execute": "balloon", "arguments": {"value": 1048576}}',
            0,
        )

    def test_libvirts_own_call_is_not_made(self) -> None:
        self.guest.steer_balloon_kib(1024)
        self.handle.setMemoryFlags.assert_not_called()

    def error(self) -> exceptions.FreememError:
        return self.assertRaises(
            exceptions.LibvirtError, self.guest.steer_balloon_kib, 1024
        )

    def test_what_qemu_refuses_is_an_error(self) -> None:
        self.ask.return_value = json.dumps(
            {'error': {'class': 'GenericError', 'desc': 'no balloon device'}}
        )
        self.assertEqual(
            'libvirt could not set the balloon during the transfer: '
            '\'{"error": {"class": '
            '"GenericError", "desc": "no balloon device"}}\'',
            str(self.error()),
        )

    def test_what_qemu_answers_need_not_be_json(self) -> None:
        for reply in ('', '[]', '{}', '7', '\x1b[2J', '[' * 99_999):
            self.ask.return_value = reply
            error = self.error()
            self.assertIs(errors.NotUnderstood, type(error))
            oracle.check_error(error)

    def test_what_libvirt_refuses_is_an_error(self) -> None:
        for code, meaning in (
            (42, exceptions.DomainGone),
            (55, exceptions.OperationInvalid),
            (1, exceptions.LibvirtError),
        ):
            self.ask.side_effect = libvirt_error(code)
            self.assertIs(meaning, type(self.error()))


class ErrorsTest(GuestTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.agent_command = self.patch_autospec(
            libvirt_qemu, 'qemuAgentCommand'
        )

    def error(
        self, code: int, text: str = 'it would not'
    ) -> exceptions.FreememError:
        self.handle.setMemoryFlags.side_effect = libvirt_error(code, text)
        return self.assertRaises(
            exceptions.LibvirtError, self.guest.set_balloon_kib, 1024
        )

    def agent_error(self, error: Exception) -> exceptions.FreememError:
        self.agent_command.side_effect = error
        return self.assertRaises(
            exceptions.LibvirtError, self.guest.agent_command, '{}', 5
        )

    def test_each_code_has_its_meaning(self) -> None:
        for code, meaning in (
            (8, exceptions.TargetRefused),
            (42, exceptions.DomainGone),
            (55, exceptions.OperationInvalid),
            (68, exceptions.DomainBusy),
            (1, exceptions.LibvirtError),
            (38, exceptions.LibvirtError),
        ):
            self.assertIs(meaning, type(self.error(code)), code)

    def test_each_code_of_the_agent_has_its_meaning(self) -> None:
        for code, meaning in (
            (42, exceptions.DomainGone),
            (55, exceptions.AgentUnresponsive),
            (74, exceptions.AgentUnresponsive),
            (86, exceptions.AgentUnresponsive),
            (112, exceptions.AgentUnresponsive),
            (68, exceptions.AgentUnresponsive),
            (113, exceptions.AgentCommandRefused),
            (1, exceptions.LibvirtError),
        ):
            error = self.agent_error(libvirt_error(code))
            self.assertIs(meaning, type(error), code)

    def test_an_error_without_a_code_is_a_libvirt_error(self) -> None:
        self.handle.state.side_effect = libvirt.libvirtError('lost')
        error = self.assertRaises(
            exceptions.LibvirtError, self.guest.is_running
        )
        self.assertEqual(
            "libvirt could not read the state: 'lost'", str(error)
        )

    def test_the_message_says_what_failed_and_why(self) -> None:
        self.assertEqual(
            "libvirt could not set the balloon: 'it would not' (error 68)",
            str(self.error(68)),
        )

    def test_a_guest_cannot_write_into_the_log_by_its_errors(self) -> None:
        error = libvirt_error(113, 'no\n2026 ERROR nova \x1b[2J' + 'x' * 9999)
        message = str(self.agent_error(error))
        self.assertNotIn('\n', message)
        self.assertNotIn('\x1b', message)
        self.assertLess(len(message), 400)

    def test_not_even_the_trace_shows_what_the_guest_wrote(self) -> None:
        # reporter.error() logs traces, and those show what an error comes
        # from: libvirt's own error, with megabytes of the agent's.
        error = libvirt_error(113, 'no\n2026 ERROR nova \x1b[2J' + 'x' * 9999)
        oracle.check_error(self.agent_error(error))

    def test_what_is_escaped_is_cut_all_the_same(self) -> None:
        # Each of these takes ten characters.
        error = self.agent_error(libvirt_error(113, '\U000e0001' * 9999))
        self.assertLess(len(str(error)), 300)

    def test_xml_that_cannot_be_parsed_is_a_libvirt_error(self) -> None:
        for text in ('', 'domain', '<domain>', '\ud800', '<a>&b;</a>'):
            self.handle.XMLDesc.return_value = text
            error = self.assertRaises(exceptions.LibvirtError, self.guest.xml)
            self.assertEqual(
                "libvirt could not read the XML of the domain: 'not XML'",
                str(error),
            )

    def test_figures_that_are_not_numbers_are_a_libvirt_error(self) -> None:
        for wrong in (
            '',
            'often',
            '-1',
            '1.5',
            '1_0',
            ' 1',
            '\u0661',
            '9' * 5000,
            str(1 << 64),
        ):
            description = etree.fromstring(
                f'<domain><memory>{wrong}</memory>'
                f'<currentMemory>{wrong}</currentMemory><devices><memballoon>'
                f'<stats period="{wrong}"/></memballoon></devices></domain>'
            )
            for read in (
                domain_xml.stats_period_seconds,
                domain_xml.memory_kib,
                domain_xml.current_memory_kib,
            ):
                self.assertRaises(exceptions.LibvirtError, read, description)

    def test_an_answer_that_is_not_utf8_is_an_unresponsive_agent(self) -> None:
        error = self.agent_error(
            UnicodeDecodeError('utf-8', b'\xff', 0, 1, 'invalid')
        )
        self.assertIs(exceptions.AgentUnresponsive, type(error))

    def test_every_call_translates(self) -> None:
        error = libvirt_error(libvirt.VIR_ERR_NO_DOMAIN)
        for name in (
            'state',
            'XMLDesc',
            'memoryStats',
            'metadata',
            'setMetadata',
            'setMemoryFlags',
            'jobStats',
            'setMemoryStatsPeriod',
        ):
            getattr(self.handle, name).side_effect = error
        for call in (
            self.guest.is_running,
            self.guest.xml,
            self.guest.memory_stats,
            self.guest.read_metadata,
            self.guest.erase_metadata,
            lambda: self.guest.write_metadata('<outstanding/>'),
            lambda: self.guest.fresh_memory_stats(fakes.FakeClock()),
            lambda: self.guest.set_balloon_kib(1024),
            lambda: self.guest.set_stats_period_seconds(1),
            self.guest.transfer_progress,
            self.guest.outgoing_migration,
        ):
            self.assertRaises(exceptions.DomainGone, call)


class FreshStatsTest(GuestTestCase):
    """A balloon driver that answers at once, and reported 5 s ago.

    As QEMU does, a report is kept until the next one replaces it, with the
    second it came in.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.started_at = self.clock.now()
        self.answers_after_seconds: float | None = 0.0
        self.free_kib = 2
        self.report()
        self.clock.wait(5.0)
        self.handle.memoryStats.side_effect = lambda: {
            'actual': 4,
            'unused': self.reported_kib,
            'last_update': self.updated_at,
        }
        self.handle.setMemoryStatsPeriod.side_effect = self.set_period
        self.handle.jobStats.return_value = {
            'type': libvirt.VIR_DOMAIN_JOB_NONE
        }

    def report(self) -> None:
        self.reported_kib = self.free_kib
        self.updated_at = int(self.clock.wall())

    def set_period(self, seconds: int, flags: int) -> int:
        if seconds and self.answers_after_seconds is not None:
            if self.answers_after_seconds:
                self.clock.after(self.answers_after_seconds, self.report)
            else:
                self.report()
        return 0

    def ask(self) -> tuple[int | None, float]:
        """:returns: what is said to be free, and the seconds it took."""
        started_at = self.clock.now()
        stats = self.guest.fresh_memory_stats(self.clock)
        return (
            None if stats is None else stats.free_kib,
            self.clock.now() - started_at,
        )

    def periods(self) -> list[int]:
        return [
            call.args[0]
            for call in self.handle.setMemoryStatsPeriod.call_args_list
        ]

    def test_fresh_statistics_come_at_once_and_the_period_is_kept(
        self,
    ) -> None:
        self.free_kib = 1
        self.assertEqual((1, 0.0), self.ask())
        self.assertEqual([0, 10, 10], self.periods())

    def test_a_guest_without_period_stays_without(self) -> None:
        self.handle.XMLDesc.return_value = fakes.DOMAIN_XML.replace(
            "<stats period='10'/>", ''
        )
        self.assertIsNotNone(self.guest.fresh_memory_stats(self.clock))
        self.assertEqual([0, 1, 0], self.periods())

    def test_statistics_that_a_killed_process_left_off_are_on_again(
        self,
    ) -> None:
        self.handle.XMLDesc.side_effect = lambda flags: (
            fakes.DOMAIN_XML
            if flags & libvirt.VIR_DOMAIN_XML_INACTIVE
            else fakes.DOMAIN_XML.replace("<stats period='10'/>", '')
        )
        self.assertIsNotNone(self.guest.fresh_memory_stats(self.clock))
        self.assertEqual([0, 10, 10], self.periods())

    def test_statistics_are_waited_for(self) -> None:
        self.answers_after_seconds, self.free_kib = 0.1, 1
        free_kib, seconds = self.ask()
        self.assertEqual(1, free_kib)
        self.assertAlmostEqual(
            0.1, seconds, delta=guests.FRESH_STATS_POLL_SECONDS
        )

    def test_a_report_of_the_same_second_before_the_request_is_not_believed(
        self,
    ) -> None:
        """Reported at .1, asked at .9 of a second."""
        self.clock.wait(0.1)
        self.report()
        self.clock.wait(0.8)
        self.answers_after_seconds, self.free_kib = 0.05, 1
        free_kib, seconds = self.ask()
        self.assertEqual(1, free_kib)
        self.assertAlmostEqual(
            0.05, seconds, delta=guests.FRESH_STATS_POLL_SECONDS
        )

    def test_a_guest_that_reports_the_same_is_asked_in_the_next_second(
        self,
    ) -> None:
        self.clock.wait(0.4)
        self.report()
        self.clock.wait(0.1)
        free_kib, seconds = self.ask()
        self.assertEqual(2, free_kib)
        self.assertAlmostEqual(
            0.5, seconds, delta=2 * guests.FRESH_STATS_POLL_SECONDS
        )
        self.assertEqual([0, 10, 0, 10, 10], self.periods())

    def test_an_answer_is_current_for_a_moment(self) -> None:
        self.ask()
        asked = len(self.periods())
        self.clock.wait(0.05)
        self.assertEqual((2, 0.0), self.ask())
        self.assertEqual(asked, len(self.periods()))
        self.clock.wait(guests.FRESH_STATS_LAST_SECONDS)
        self.free_kib = 1
        self.assertEqual((1, 0.0), self.ask())

    def test_frozen_statistics_are_none_and_cost_two_seconds_at_most(
        self,
    ) -> None:
        self.answers_after_seconds = None
        for age_seconds, longest_seconds in ((0, 2.0), (1, 1.0), (None, 1.0)):
            self.updated_at = (
                0
                if age_seconds is None
                else int(self.clock.wall()) - age_seconds
            )
            free_kib, seconds = self.ask()
            self.assertIsNone(free_kib)
            self.assertLessEqual(
                seconds, longest_seconds + guests.FRESH_STATS_POLL_SECONDS
            )
            self.assertEqual(10, self.periods()[-1])

    def test_without_a_balloon_there_is_no_wait(self) -> None:
        self.handle.memoryStats.side_effect = lambda: {'rss': 1}
        self.assertEqual((None, 0.0), self.ask())
        self.assertEqual([], self.periods())

    def test_a_balloon_that_vanishes_ends_the_wait(self) -> None:
        self.handle.memoryStats.side_effect = [
            {'actual': 4, 'last_update': self.updated_at},
            {'rss': 1},
        ]
        self.assertEqual((None, 0.0), self.ask())

    def test_an_error_on_the_way_leaves_the_period_as_it_was(self) -> None:
        error = libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR)
        self.handle.memoryStats.side_effect = [
            {'actual': 4, 'last_update': self.updated_at},
            error,
        ]
        self.assertRaises(
            exceptions.LibvirtError, self.guest.fresh_memory_stats, self.clock
        )
        self.assertEqual(10, self.periods()[-1])
        self.handle.memoryStats.side_effect = lambda: {'actual': 4}
        self.handle.setMemoryStatsPeriod.side_effect = [0, error, 0]
        self.assertRaises(
            exceptions.LibvirtError, self.guest.fresh_memory_stats, self.clock
        )
        self.assertEqual([0, 10, 10], self.periods()[-3:])

    def test_in_a_migration_what_it_reports_on_its_own_has_to_do(
        self,
    ) -> None:
        """libvirt lets nobody ask it then: that would take 30 s."""
        self.handle.jobStats.return_value = {
            'type': libvirt.VIR_DOMAIN_JOB_UNBOUNDED
        }
        for age_seconds, free_kib in ((0, 2), (2, 2), (4, None), (None, None)):
            self.updated_at = (
                0
                if age_seconds is None
                else int(self.clock.wall()) - age_seconds
            )
            self.assertEqual((free_kib, 0.0), self.ask())
        self.assertEqual([], self.periods())

    def test_a_job_that_holds_the_domain_is_waited_for_once(self) -> None:
        """Each such call takes 30 s; the next request sets the period."""
        busy = libvirt_error(libvirt.VIR_ERR_OPERATION_TIMEOUT)
        for answers in ([busy], [0, busy]):
            self.handle.setMemoryStatsPeriod.reset_mock()
            self.handle.setMemoryStatsPeriod.side_effect = answers
            self.assertRaises(
                exceptions.DomainBusy,
                self.guest.fresh_memory_stats,
                self.clock,
            )
            self.assertEqual([0, 10][: len(answers)], self.periods())
