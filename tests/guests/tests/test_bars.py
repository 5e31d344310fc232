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

"""What must hold, of made-up runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import ddt

from tests import base
from tests.guests import bars
from tests.guests import results
from tests.guests.tests import runs


def missed(guests: results.Guests) -> list[str]:
    return [one.bar.what for one in bars.judge(guests) if one.is_met is False]


@ddt.ddt
class BarsTest(base.TestCase):
    def test_a_guest_whose_users_notice_nothing_meets_all(self) -> None:
        verdicts = bars.judge(runs.both())
        self.assertEqual({True}, {one.is_met for one in verdicts})
        self.assertEqual(8, len(verdicts))

    @ddt.unpack
    @ddt.data(
        ({'killed': 1}, 'killed, more than plain'),
        ({'failed_allocations': 1}, 'failed allocations, more than plain'),
        ({'swapped_out_kib': 4}, 'KiB swapped out, more than plain'),
        (
            {'wrong': ('the guest was restarted',)},
            'guests that are not intact, more than plain',
        ),
        (
            {'throughput_during': 75.0},
            "throughput lost during, of plain's",
        ),
        (
            {'throughput_after': 94.0},
            "throughput lost in the 60 s after, of plain's",
        ),
        ({'p99_ms_after': 12.5}, "p99 in the 60 s after, of plain's"),
        ({'bytes_sent': 1_300_000_000}, "bytes, of plain's"),
    )
    def test_what_users_would_notice_misses_its_bar(
        self, figures: dict[str, Any], what: str
    ) -> None:
        self.assertEqual([what], missed(runs.both(**figures)))

    def test_what_hurts_a_plain_migration_too_is_not_the_plugins(self) -> None:
        hurt = {'killed': 2, 'swapped_out_kib': 400}
        guests = runs.guests(
            [
                runs.run('plain', **hurt),
                runs.run('freemem', bytes_sent=900_000_000, **hurt),
            ]
        )
        self.assertEqual([], missed(guests))

    def test_a_quick_run_tells_what_hurts_and_not_how_quick_a_guest_is(
        self,
    ) -> None:
        run = runs.run('freemem', killed=1, told=('Released 387 of ...',))
        quick = dataclasses.replace(runs.guests([run]), quick=True)
        self.assertEqual(['killed'], missed(quick))
        self.assertEqual(
            [1, 0, 0, 0, 0], [one.figure for one in bars.judge(quick)]
        )

    def test_a_quick_run_without_a_release_shows_nothing(self) -> None:
        run = runs.run('freemem', told=('Skipping memory release: ...',))
        quick = dataclasses.replace(runs.guests([run]), quick=True)
        self.assertEqual(['no release'], missed(quick))

    def test_one_method_alone_is_not_judged(self) -> None:
        guests = runs.guests([runs.run('freemem')])
        self.assertEqual({None}, {one.is_met for one in bars.judge(guests)})

    def test_work_that_has_stopped_in_both_is_not_judged(self) -> None:
        nothing = {'throughput_after': 0.0, 'p99_ms_after': None}
        guests = runs.guests(
            [runs.run('plain', **nothing), runs.run('freemem', **nothing)]
        )
        found = {
            one.bar.what: one.is_met
            for one in bars.judge(guests)
            if 'after' in one.bar.what
        }
        self.assertEqual({None}, set(found.values()))
