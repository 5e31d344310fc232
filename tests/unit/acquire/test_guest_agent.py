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

"""What the guest agent reports, and all the ways in which it may not."""

import json
import re
import time
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import strategies

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import guest_agent
from nova_freemem.acquire.free_memory import FreeMemory
from tests import base
from tests.simulation import fakes
from tests.simulation.agent import MEMORY_RECLAIM
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

EXEC = frozenset({'guest-exec', 'guest-exec-status'})
FILES = frozenset({'guest-file-open', 'guest-file-read', 'guest-file-close'})


def replied(value: Any) -> str:
    return json.dumps({'return': value})


def output(text: str) -> list[str | Exception]:
    """:returns: the replies of an agent whose cat prints this."""
    return [
        replied({'pid': 1}),
        replied(
            {'exited': True, 'exitcode': 0, 'out-data': fakes.encoded(text)}
        ),
    ]


class AgentTestCase(GuestTestCase):
    timeout_seconds = 5
    deadline_seconds = 120

    def ask(self) -> FreeMemory:
        source = guest_agent.GuestAgent('guest_agent', self.timeout_seconds)
        memory = source.acquire(
            self.domain,
            self.clock,
            clocks.Deadline(self.clock, self.deadline_seconds),
        )
        memory.check(self.guest.memory_kib)
        return memory

    def problem(self) -> str:
        return str(self.assertRaises(exceptions.SourceUnavailable, self.ask))


class AcquireTest(AgentTestCase):
    def test_two_round_trips_report_everything(self) -> None:
        memory = self.ask()
        self.assertEqual(4 * GIB, memory.total_kib)
        self.assertEqual(3 * GIB + 512 * MIB, memory.free_kib)
        self.assertEqual(3 * GIB + 512 * MIB, memory.available_kib)
        self.assertEqual(64 * MIB, memory.page_cache_kib)
        self.assertEqual(0.0005, memory.memory_pressure_share)
        self.assertEqual((4 * MIB, 896), memory.free_blocks[-1])
        self.assertEqual(
            ['guest-exec', 'guest-exec-status'], self.guest.agent.commands
        )

    def test_a_guest_with_nodes_is_asked_for_each_of_them(self) -> None:
        tables = (fakes.CAPTURED / 'debian-12-two-nodes.tables').read_text()
        for number in range(2):
            self.guest.agent.files[guest_agent.NODE.format(number)] = ''.join(
                re.findall(rf'(?m)^Node {number} .*\n', tables)
            ).encode()
        self.assertEqual((), self.ask().nodes)
        self.guest.xml = self.guest.xml.replace(
            '</domain>',
            "<cpu><numa><cell id='0'/><cell id='1'/></numa></cpu></domain>",
        )
        for blocked in (frozenset(), EXEC):
            self.guest.agent.blocked = blocked
            self.assertEqual(
                [415580, 446720], [node.free_kib for node in self.ask().nodes]
            )

    def test_a_guest_with_very_many_nodes_is_not_asked_for_them(self) -> None:
        cells = '<cell/>' * (guest_agent.MOST_NODES + 1)
        self.guest.xml = self.guest.xml.replace(
            '</domain>', f'<cpu><numa>{cells}</numa></cpu></domain>'
        )
        self.guest.agent.files[guest_agent.NODE.format(0)] = (
            fakes.CAPTURED / 'debian-12-two-nodes.tables'
        ).read_bytes()
        self.assertEqual((), self.ask().nodes)

    def test_an_idle_guest_is_not_waited_for(self) -> None:
        started_at = self.clock.now()
        self.ask()
        self.assertEqual(started_at, self.clock.now())

    def test_where_programs_are_blocked_files_are_read(self) -> None:
        self.guest.agent.blocked = EXEC
        self.assertEqual(3 * GIB + 512 * MIB, self.ask().free_kib)
        self.assertEqual({}, self.guest.agent.handles)

    def test_a_file_that_is_missing_is_absent(self) -> None:
        self.guest.agent.blocked = EXEC
        self.guest.cold_kib = 100 * MIB
        self.assertEqual(100 * MIB, self.ask().cold_cache_kib)
        with mock.patch.object(
            guest_agent, 'OTHERS', ('/proc/nothing', guest_agent.OVERCOMMIT)
        ):
            memory = self.ask()
        self.assertEqual(3 * GIB + 412 * MIB, memory.free_kib)
        self.assertEqual(0, memory.cold_cache_kib)
        self.assertIsNone(memory.memory_pressure_share)

    def test_where_only_the_status_is_blocked_files_are_read(self) -> None:
        self.guest.agent.blocked = frozenset({'guest-exec-status'})
        self.assertEqual(3 * GIB + 512 * MIB, self.ask().free_kib)

    def test_where_all_is_blocked_the_agent_refuses(self) -> None:
        self.guest.agent.blocked = EXEC | FILES
        error = self.assertRaises(exceptions.AgentCommandRefused, self.ask)
        self.assertIn('guest-file-open has been disabled', str(error))

    def test_a_file_that_cannot_be_read_is_closed(self) -> None:
        self.guest.agent.blocked = EXEC | {'guest-file-read'}
        self.assertRaises(exceptions.AgentCommandRefused, self.ask)
        self.assertEqual({}, self.guest.agent.handles)

    def test_an_unresponsive_agent_is_not_sent_the_close(self) -> None:
        # libvirt would first ping the agent, for 10 s.
        self.guest.agent.script = [
            fakes.libvirt_error(exceptions.AgentCommandRefused, 'blocked'),
            replied(1000),
            fakes.libvirt_error(exceptions.AgentUnresponsive, 'hangs'),
        ]
        self.assertRaises(exceptions.AgentUnresponsive, self.ask)
        self.assertEqual('guest-file-read', self.guest.agent.commands[-1])

    def test_a_file_that_cannot_be_closed_was_read_all_the_same(self) -> None:
        self.guest.agent.blocked = EXEC | {'guest-file-close'}
        self.assertEqual(3 * GIB + 512 * MIB, self.ask().free_kib)

    def test_a_slow_cat_is_waited_for(self) -> None:
        self.guest.agent.polls = 3
        started_at = self.clock.now()
        self.ask()
        self.assertAlmostEqual(
            3 * guest_agent.EXEC_POLL_SECONDS, self.clock.now() - started_at
        )


class WriteTest(GuestTestCase):
    """The one file of a guest that is written."""

    def setUp(self) -> None:
        super().setUp()
        self.guest.cold_kib, self.guest.touched_kib = GIB, 2 * GIB
        self.guest.drop_kib_per_second = GIB
        self.agent = guest_agent.Conversation(
            'reclaim',
            5,
            self.domain,
            self.clock,
            clocks.Deadline(self.clock, 60),
        )

    def write(self, content: bytes = b'1024K swappiness=0') -> None:
        with self.agent.opened(MEMORY_RECLAIM, 'r+') as handle:
            self.agent.write(handle, content)

    def test_it_is_written_once_the_agent_is_told_to_flush(self) -> None:
        self.write()
        self.assertEqual(
            ['open', 'write', 'flush', 'close'],
            [
                name.removeprefix('guest-file-')
                for name in self.guest.agent.commands
            ],
        )
        self.assertEqual(['1024K swappiness=0'], self.guest.asked_to_drop)
        # The kernel drops half as much again.
        self.assertEqual(GIB - 1536, self.guest.cold_kib)

    def test_what_the_kernel_refuses_is_refused_and_the_file_closed(
        self,
    ) -> None:
        self.guest.takes_swappiness = False
        self.assertRaises(exceptions.AgentCommandRefused, self.write)
        self.assertEqual({}, self.guest.agent.handles)

    def test_a_file_that_is_missing_is_not_made(self) -> None:
        self.guest.drop_kib_per_second = 0
        self.assertRaises(exceptions.AgentCommandRefused, self.write)
        self.assertEqual(['guest-file-open'], self.guest.agent.commands)

    def test_an_agent_that_wrote_less_is_not_understood(self) -> None:
        self.guest.agent.script = [replied(1000), replied({'count': 3})]
        error = self.assertRaises(exceptions.SourceUnavailable, self.write)
        self.assertIn('did not write all', str(error))


class NonsenseTest(AgentTestCase):
    def assert_nonsense(self, problem: str, *replies: str | Exception) -> None:
        self.guest.agent.script = list(replies)
        self.assertEqual(f'guest_agent: {problem}', self.problem())

    def test_not_json(self) -> None:
        for reply in (
            '',
            'None',
            'yes',
            '{"return": ',
            '{"return": NaN0}',
            '{"return": ' + '9' * 5000 + '}',
        ):
            self.assert_nonsense('the answer to guest-exec is not JSON', reply)

    def test_nothing_returned(self) -> None:
        for reply in ('[]', 'null', '7', '"return"', '{"error": {}}'):
            self.assert_nonsense(
                'the answer to guest-exec lacks "return"', reply
            )

    def test_a_list_where_an_object_belongs(self) -> None:
        self.assert_nonsense('the answer lacks "pid"', replied([{'pid': 1}]))

    def test_no_pid(self) -> None:
        for value in (
            {},
            {'pid': '1'},
            {'pid': None},
            {'pid': 1.5},
            {'pid': True},
            {'pid': -1},
            {'pid': 10**4000},
        ):
            self.assert_nonsense('the answer lacks "pid"', replied(value))

    def test_no_status(self) -> None:
        self.assert_nonsense(
            'the answer lacks "exited"',
            replied({'pid': 1}),
            replied({'exited': 1}),
        )

    def test_no_output(self) -> None:
        self.assert_nonsense(
            'the answer lacks "out-data"',
            replied({'pid': 1}),
            replied({'exited': True}),
        )

    def test_output_that_is_not_base64(self) -> None:
        for text in ('?', 'QQ', 'Q Q=', '\ud800', 'ünïcode'):
            self.assert_nonsense(
                'the answer is not base64',
                replied({'pid': 1}),
                replied({'exited': True, 'out-data': text}),
            )

    def test_output_of_something_else(self) -> None:
        for text in (
            '',
            'MemTotal:  many kB\nMemFree: 1 kB\n',
            'MemTotal:  4096 kB\n',
            'MemTotal:  -4096 kB\nMemFree:  1 kB\n',
            'MemTotal:  ' + '9' * 16 + ' kB\nMemFree:  1 kB\n',
            'MemTotal:  4096\nMemFree:  1\n',
            '\xff\0' * 99,
        ):
            self.assert_nonsense(
                'the answer of the agent lacks MemTotal or MemFree',
                *output(text),
            )

    def test_larger_than_the_guest(self) -> None:
        self.guest.agent.script = output(
            'MemTotal:  8388608 kB\nMemFree:  8388608 kB\n'
        )
        self.assertIn('a total of 8.38861e+06 KiB', self.problem())

    def test_more_free_than_total(self) -> None:
        self.guest.agent.script = output(
            'MemTotal:  4096 kB\nMemFree:  4097 kB\n'
        )
        self.assertIn('free of 4097 KiB', self.problem())

    def test_more_in_blocks_than_the_guest_has(self) -> None:
        self.guest.agent.script = output(
            'MemTotal:  4096 kB\nMemFree:  1 kB\n'
            f'Node 0, zone Normal {"9" * 12}\n'
        )
        self.assertIn('free blocks of', self.problem())

    def test_a_megabyte_of_base64(self) -> None:
        started_at = time.process_time()
        self.assert_nonsense(
            'the answer to guest-exec-status has 1398163 characters',
            *output('A' * 1024 * 1024),
        )
        self.assertLess(time.process_time() - started_at, 1)

    def test_deep_nesting(self) -> None:
        for brackets in ('[]', '{}'):
            opening = '[' if brackets == '[]' else '{"a":'
            self.assert_nonsense(
                'the answer to guest-exec is not JSON', opening * 20_000
            )

    def test_an_invalid_handle(self) -> None:
        for value in ({'handle': 3}, True, -1, 1 << 63, '3'):
            self.assert_nonsense(
                'the agent returned no file handle',
                fakes.libvirt_error(exceptions.AgentCommandRefused, 'blocked'),
                replied(value),
            )

    def test_the_message_stays_short_whatever_the_agent_says(self) -> None:
        self.guest.agent.script = output(
            f'MemTotal:  {"9" * 15} kB\nMemFree:  {"9" * 15} kB\n'
        )
        self.assertLess(len(self.problem()), 200)


class TimeTest(AgentTestCase):
    def assert_ends_within(self, seconds: float) -> None:
        started_at = self.clock.now()
        self.assertRaises(exceptions.FreememError, self.ask)
        self.assertLessEqual(self.clock.now() - started_at, seconds)

    def test_an_agent_that_hangs_costs_one_timeout(self) -> None:
        self.guest.agent.latency_seconds = 3600
        self.assert_ends_within(5)

    def test_a_cat_that_never_ends_costs_one_timeout(self) -> None:
        self.guest.agent.polls = 1 << 40
        self.assert_ends_within(5 + guest_agent.EXEC_POLL_SECONDS)

    def test_the_deadline_holds_for_a_cat_that_never_ends(self) -> None:
        self.deadline_seconds = 2
        self.guest.agent.polls = 1 << 40
        self.assert_ends_within(2 + guest_agent.EXEC_POLL_SECONDS)

    def test_the_deadline_holds_for_many_slow_answers(self) -> None:
        self.deadline_seconds, self.timeout_seconds = 2, 1
        self.guest.agent.blocked = EXEC
        self.guest.agent.latency_seconds = 0.9
        # The command under way when it passes, and closing the file.
        self.assert_ends_within(2 + 0.9 + 0.9)

    def test_no_answer_is_waited_for_beyond_the_deadline(self) -> None:
        self.deadline_seconds = 3
        self.guest.agent.latency_seconds = 3600
        self.assert_ends_within(3)


json_values = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(),
    lambda inner: (
        strategies.lists(inner)
        | strategies.dictionaries(
            strategies.sampled_from(
                ['return', 'pid', 'exited', 'out-data', 'buf-b64', 'error']
            )
            | strategies.text(),
            inner,
        )
    ),
    max_leaves=8,
)
replies = strategies.one_of(
    strategies.text(strategies.characters(codec=None)),
    json_values.map(json.dumps),
    json_values.map(replied),
    strategies.just(replied({'pid': 1})),
    strategies.just(replied(1000)),
    strategies.text().map(lambda text: output(text)[1]),
    strategies.text().map(
        lambda text: replied({'buf-b64': fakes.encoded(text)})
    ),
    strategies.sampled_from(
        [
            fakes.libvirt_error(kind, 'x')
            for kind in (
                exceptions.AgentCommandRefused,
                exceptions.AgentUnresponsive,
                exceptions.DomainGone,
                exceptions.LibvirtError,
            )
        ]
    ),
)


class HostileAgentTest(base.TestCase):
    @hypothesis.given(
        script=strategies.lists(replies, min_size=1, max_size=10),
        latency_seconds=strategies.floats(0, 2),
        deadline_seconds=strategies.integers(2, 30),
    )
    def test_no_other_exception_escapes_and_time_is_bounded(
        self,
        script: list[str | Exception],
        latency_seconds: float,
        deadline_seconds: int,
    ) -> None:
        clock = fakes.FakeClock()
        guest = fakes.SimulatedGuest(
            clock,
            agent=fakes.SimulatedAgent(
                script=script, latency_seconds=latency_seconds
            ),
        )
        source = guest_agent.GuestAgent('guest_agent', 1)
        started_at = clock.now()
        try:
            source.acquire(
                fakes.FakeGuest(guest),
                clock,
                clocks.Deadline(clock, deadline_seconds),
            ).check(guest.memory_kib)
        except exceptions.FreememError as error:
            self.assertLess(len(str(error)), 1000)
        # One command under way when it passes, and closing the file.
        self.assertLessEqual(clock.now() - started_at, deadline_seconds + 2)
