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

"""What the operator wrote, as one policy."""

from nova_freemem import exceptions
from nova_freemem import policy
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB


class PolicyTest(base.ConfTestCase):
    def read(self, text: str) -> policy.Policy:
        return policy.Policy.from_conf(self.registered(f'[freemem]\n{text}\n'))

    def problem(self, text: str) -> str:
        return str(
            self.assertRaises(exceptions.ConfigInvalid, self.read, text)
        )

    def test_defaults(self) -> None:
        self.assertEqual(fakes.make_policy(enabled=False), self.read(''))

    def test_every_option_arrives(self) -> None:
        self.assertEqual(
            policy.Policy(
                True,
                ('balloon_stats',),
                'other',
                'before',
                'free',
                10,
                64,
                2048,
                25000,
                1,
                2,
                3,
                30,
                1,
                False,
            ),
            self.read(
                'enabled = true\n'
                'acquire = balloon_stats\nrelease = other\n'
                'mode = before\nreclaim = free\n'
                'headroom_percent = 10\nheadroom_min_mib = 64\n'
                'headroom_windows_mib = 2048\n'
                'migration_bandwidth_mbps = 25000\n'
                'min_saving_mib = 1\nagent_timeout_seconds = 2\n'
                'deadline_seconds = 3\n'
                'reconcile_interval_seconds = 30\nrestore_workers = 1\n'
                'require_destination_trait = false'
            ),
        )

    def test_a_wrong_value_is_named_with_its_option_and_bounds(self) -> None:
        for option, low, high in (
            ('headroom_percent', 1, 90),
            ('headroom_min_mib', 32, 1048576),
            ('headroom_windows_mib', 32, 1048576),
            ('migration_bandwidth_mbps', 0, 1000000),
            ('min_saving_mib', 1, 1048576),
            ('agent_timeout_seconds', 1, 60),
            ('deadline_seconds', 2, 3600),
            ('reconcile_interval_seconds', 5, 3600),
            ('restore_workers', 1, 64),
        ):
            for value in (
                str(low - 1),
                str(high + 1),
                'some',
                '1.5',
                '',
                '9' * 5000,
            ):
                self.assertEqual(
                    f'[freemem] {option}: {value[:40]!r} is not a whole '
                    f'number from {low} to {high}',
                    self.problem(f'{option} = {value}'),
                )

    def test_the_bounds_themselves_are_allowed(self) -> None:
        for value in (1, 90):
            self.assertEqual(
                value,
                self.read(f'headroom_percent = {value}').headroom_percent,
            )

    def test_a_value_that_is_not_a_choice(self) -> None:
        for option in ('mode', 'reclaim'):
            for value in ('always', ''):
                self.assertRegex(
                    self.problem(f'{option} = {value}'),
                    rf'^\[freemem\] {option}: Valid values are \[.*\], but '
                    f"found '{value}'$",
                )

    def test_options_that_contradict_each_other(self) -> None:
        self.assertEqual(
            '[freemem] agent_timeout_seconds: 5 must be below '
            'deadline_seconds, which is 4',
            self.problem('deadline_seconds = 4'),
        )

    def test_acquire_must_name_a_source(self) -> None:
        self.assertEqual(
            '[freemem] acquire: must name at least one source',
            self.problem('acquire ='),
        )

    def test_enabled_is_true_or_false(self) -> None:
        for text, enabled in (
            ('', False),
            ('enabled = true', True),
            ('enabled = false', False),
        ):
            self.assertEqual(enabled, self.read(text).enabled)
        problem = self.problem('enabled = maybe')
        self.assertIn('enabled', problem)
        self.assertIn('maybe', problem)

    def test_a_value_that_refers_to_no_option(self) -> None:
        self.assertEqual(
            '[freemem] mode: cannot be read: no such option fastest in group '
            '[DEFAULT]',
            self.problem('mode = $fastest'),
        )

    def test_changes_are_told_option_by_option(self) -> None:
        before = self.read('')
        self.assertEqual('', before.changes(before))
        self.assertEqual(
            'enabled: False -> True, headroom_percent: 12 -> 7',
            self.read('enabled = true\nheadroom_percent = 7').changes(before),
        )

    def test_headroom_is_a_share_but_never_below_the_floor(self) -> None:
        headroom = fakes.make_policy(
            headroom_percent=10, headroom_min_mib=128
        ).headroom_kib
        self.assertEqual(GIB // 2, headroom(5 * GIB))
        self.assertEqual(128 * MIB, headroom(1 * GIB))
        self.assertEqual(128 * MIB, headroom(0))

    def test_windows_keeps_more(self) -> None:
        headroom = fakes.make_policy(
            headroom_percent=5, headroom_windows_mib=1024
        ).headroom_kib
        self.assertEqual(1 * GIB, headroom(4 * GIB, windows=True))
        self.assertEqual(2 * GIB, headroom(40 * GIB, windows=True))

    def test_windows_never_keeps_less(self) -> None:
        headroom = fakes.make_policy(
            headroom_min_mib=512, headroom_windows_mib=64
        ).headroom_kib
        self.assertEqual(512 * MIB, headroom(1 * GIB, windows=True))
