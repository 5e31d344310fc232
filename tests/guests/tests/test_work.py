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

"""The logs of work, and what a guest says about its harm."""

from __future__ import annotations

from typing import ClassVar

import ddt

from tests import base
from tests.guests import harm
from tests.guests import work

# Of load.py, 20 pieces of work of 1 to 20 ms in two seconds, one of which has
# failed; the last line is being written.
LOG = (
    ''.join(f'{100 + n / 10:.3f} {1000 * (n + 1)}\n' for n in range(19))
    + '101.900 failed\n102.0'
)
# client, number, microseconds, script, seconds, microseconds
PGBENCH = '0 199 2241 0 1175850568 995598\n0 200 2465 0 1175850569 998079\n'


class WorkTest(base.TestCase):
    def test_throughput_and_latency_are_those_of_the_while(self) -> None:
        pieces = work.parse(LOG)
        self.assertEqual(20, len(pieces))
        self.assertEqual(work.Pace(10.0, 10.0, 0), work.pace(pieces, 100, 101))
        self.assertEqual(work.Pace(9.0, 19.0, 1), work.pace(pieces, 101, 102))

    def test_one_slow_piece_of_two_hundred_is_not_the_p99(self) -> None:
        log = ''.join(
            f'100.5 {90_000 if n == 7 else 2_000}\n' for n in range(200)
        )
        self.assertEqual(2.0, work.pace(work.parse(log), 100, 101).p99_ms)

    def test_a_while_without_work_has_no_latency(self) -> None:
        pace = work.pace(work.parse(LOG), 200, 201)
        self.assertEqual(work.Pace(0.0, None, 0), pace)

    def test_pgbenchs_log_is_read_as_well(self) -> None:
        first, second = work.parse(PGBENCH)
        self.assertEqual(work.Piece(1175850568.995598, 2.241), first)
        self.assertEqual(2.465, second.milliseconds)

    def test_seconds_without_work_are_shown_as_such(self) -> None:
        seconds = work.each_second(work.parse(LOG), 100, 103)
        self.assertEqual([(0.5, 10), (1.5, 9), (2.5, 0)], list(seconds))


@ddt.ddt
class HarmTest(base.TestCase):
    COUNTERS: ClassVar[dict[str, int]] = {
        'pswpout': 0,
        'workingset_refault_file': 5,
        'allocstall_normal': 1,
        'allocstall_movable': 0,
    }

    def account(
        self, *lines: str, inactive: frozenset[str] = frozenset(), **more: int
    ) -> harm.Account:
        journal = ('kernel: Linux version 6.1', *lines)
        return harm.Account({**self.COUNTERS, **more}, journal, inactive)

    def test_a_guest_that_is_unharmed(self) -> None:
        found = harm.between(
            self.account(), self.account('sshd: Accepted publickey for root')
        )
        self.assertEqual(harm.Harm(0, 0, 0, 0, 0, ()), found)

    @ddt.data(
        'kernel: Out of memory: Killed process 7 (redis) total-vm:1kB',
        'kernel: Memory cgroup out of memory: Killed process 7 (java)',
        'earlyoom[9]: sending SIGTERM to process 7 uid 0 "python3": badness 9',
        'systemd-oomd[9]: Killed /system.slice/load.service due to memory'
        ' used (1) / total (1)',
    )
    def test_who_kills_does_not_matter(self, line: str) -> None:
        found = harm.between(self.account(), self.account(line))
        self.assertEqual((1, (line,)), (found.killed, found.lines))

    def test_earlyoom_that_starts_has_killed_nobody(self) -> None:
        line = (
            'earlyoom[9]: sending SIGTERM when mem <= 10.00% and swap <='
            ' 10.00%,'
        )
        found = harm.between(self.account(), self.account(line))
        self.assertEqual(0, found.killed)

    def test_a_service_that_was_killed_counts_once(self) -> None:
        line = 'kernel: Out of memory: Killed process 7 (redis-server)'
        after = self.account(line, inactive=frozenset({'redis-server'}))
        self.assertEqual(1, harm.between(self.account(), after).killed)

    def test_a_service_that_ends_by_itself_counts(self) -> None:
        after = self.account(inactive=frozenset({'nginx', 'earlyoom'}))
        before = self.account(inactive=frozenset({'earlyoom'}))
        found = harm.between(before, after)
        self.assertEqual(
            (1, ('nginx has ended',)), (found.killed, found.lines)
        )

    @ddt.data(
        'kernel: kworker: page allocation failure: order:5, mode:0x40cc0',
        'bash: fork: retry: Cannot allocate memory',
    )
    def test_memory_that_is_refused_counts(self, line: str) -> None:
        found = harm.between(self.account(), self.account(line))
        self.assertEqual(1, found.failed_allocations)

    def test_what_happened_before_does_not_count(self) -> None:
        line = 'kernel: Out of memory: Killed process 7 (redis-server)'
        found = harm.between(self.account(line), self.account(line, pswpout=2))
        self.assertEqual((0, 8), (found.killed, found.swapped_out_kib))

    def test_stalls_and_refaults_are_since_the_first_look(self) -> None:
        after = self.account(allocstall_movable=3, workingset_refault_file=15)
        found = harm.between(self.account(), after)
        self.assertEqual((3, 40), (found.stalls, found.refaulted_kib))
