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

"""Loading what the operator names."""

from unittest import mock

from stevedore import extension

from nova_freemem import exceptions
from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import guest_agent
from nova_freemem.migrate import engine as engines
from nova_freemem.plan.transfer_meter import Carried
from nova_freemem.release import balloon
from nova_freemem.release import reclaim
from tests import base
from tests.simulation import fakes


class EngineTest(base.ConfTestCase):
    def load(self, text: str) -> engines.Engine:
        return engines.Engine.from_conf(
            self.registered(f'[freemem]\n{text}\n'), '192.0.2.1'
        )

    def problem(self, text: str) -> str:
        return str(
            self.assertRaises(exceptions.ConfigInvalid, self.load, text)
        )

    def test_extensions_are_found_by_name_and_kept_in_order(self) -> None:
        engine = self.load('agent_timeout_seconds = 3')
        self.assertEqual(
            [guest_agent.GuestAgent, balloon_stats.BalloonStats],
            [type(source) for source in engine.sources],
        )
        self.assertEqual(
            [('guest_agent', 3), ('balloon_stats', 3)],
            [
                (source.name, source.timeout_seconds)
                for source in engine.sources
            ],
        )
        self.assertIs(balloon.Balloon, type(engine.releaser))
        self.assertIs(reclaim.GuestReclaim, type(engine.reclaimer))
        self.assertEqual(
            ('guest_reclaim', 3),
            (engine.reclaimer.name, engine.reclaimer.timeout_seconds),
        )
        self.assertEqual(
            ['balloon_stats', 'guest_agent'],
            [
                source.name
                for source in self.load(
                    'acquire = balloon_stats, guest_agent'
                ).sources
            ],
        )

    def test_a_configured_bandwidth_counts(self) -> None:
        rate = self.load('migration_bandwidth_mbps = 10000').bandwidths.to(
            'dest', 0.0
        )
        self.assertEqual(('10000 Mbit/s (configured)'), str(rate))

    def test_another_policy_counts_from_the_next_migration_on(self) -> None:
        engine = self.load('')
        engine.bandwidths.learn('dest', Carried(1000.0, None, 0.0), 0.0)
        changed = fakes.make_policy(migration_bandwidth_mbps=25000)
        following = engine.with_policy(changed)
        self.assertIs(changed, following.policy)
        self.assertEqual(0, engine.policy.migration_bandwidth_mbps)
        self.assertIs(engine.sources, following.sources)
        self.assertEqual(
            '25000 Mbit/s (configured)',
            str(following.bandwidths.to('dest', 0.0)),
        )

    def test_what_was_learnt_outlives_a_change_of_the_policy(self) -> None:
        engine = self.load('migration_bandwidth_mbps = 10000')
        engine.bandwidths.learn('dest', Carried(125000.0, None, 0.0), 0.0)
        following = engine.with_policy(fakes.make_policy())
        self.assertIn('measured', str(following.bandwidths.to('dest', 0.0)))
        self.assertIs(engine.release_rates, following.release_rates)
        self.assertIs(engine.backoff, following.backoff)

    def test_no_guest_is_backed_off_from_to_begin_with(self) -> None:
        self.assertEqual(0, self.load('').backoff.remaining_seconds('uuid', 0))

    def test_a_missing_extension_is_named_with_those_there_are(self) -> None:
        self.assertEqual(
            "[freemem] acquire: 'crystal_ball' is not installed; choose "
            'from balloon_stats, guest_agent',
            self.problem('acquire = guest_agent, crystal_ball'),
        )
        self.assertEqual(
            "[freemem] release: 'vacuum' is not installed; choose from "
            'balloon, guest_reclaim',
            self.problem('release = vacuum'),
        )

    def test_an_operator_may_have_guests_drop_nothing(self) -> None:
        engine = self.load('release = balloon')
        self.assertIs(balloon.Balloon, type(engine.releaser))
        self.assertIsNone(engine.reclaimer)

    def test_what_shrinks_a_guest_is_the_last_that_is_named(self) -> None:
        for names in (
            'guest_reclaim',
            'balloon, guest_reclaim',
            'balloon, balloon',
        ):
            self.assertIn('must be the last', self.problem(f'release={names}'))
        for names in ('', 'guest_reclaim, guest_reclaim, balloon'):
            self.assertIn(
                'one extension or two', self.problem(f'release={names}')
            )

    def test_a_broken_extension_is_named_with_its_error(self) -> None:
        with mock.patch.object(
            extension.ExtensionManager,
            '_load_one_plugin',
            autospec=True,
            side_effect=ImportError('no such thing'),
        ):
            self.assertEqual(
                "[freemem] acquire: 'guest_agent' cannot be loaded: "
                "ImportError('no such thing')",
                self.problem(''),
            )

    def test_nothing_but_the_error_is_logged(self) -> None:
        self.problem('release = vacuum')
        self.assertEqual('', self.log.output)
