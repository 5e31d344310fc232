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

"""Thousands of migrations of simulated guests, by the package itself."""

import dataclasses
import inspect
import os
from typing import Any

import fixtures
import hypothesis
from hypothesis import strategies

from nova_freemem import exceptions
from nova_freemem.plan import planner
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.release_rate import ReleaseRate
from nova_freemem.release import stop_rules
from nova_freemem.release import watch
from nova_freemem.release.base import EndReason
from nova_freemem.release.requests import Request
from nova_freemem.report import reporter as reporters
from tests import base
from tests.simulation import cloud as clouds
from tests.simulation import fakes
from tests.simulation.fake_clock import FakeClock
from tests.simulation.fake_clock import FakeThread
from tests.simulation.guest import Load
from tests.simulation.model import GIB
from tests.simulation.model import MIB
from tests.simulation.model import Model

MODEL = Model()

MIGRATIONS = int(os.environ.get('SIMULATED_MIGRATIONS', '1000'))

# The longest a guest may have less than its headroom without getting
# all its memory back: its statistics are up to a period old when a tick sees
# them, and time is cut into steps.
STARVING_SECONDS = (
    watch.STATS_PERIOD_SECONDS + watch.TICK_SECONDS + 2 * MODEL.step_seconds
)

# What a guest of 4 GiB keeps lasts until it gets everything back, where it
# needs no more than this while the balloon takes memory from it; beyond it,
# its own balloon has to give way ('autodeflate', which Nova 32 and later
# set), or it swaps.
KEEPS_KIB = 4 * GIB * 5 // 100 * (1 + planner.SLACK_SHARE)
SEEN_IN_TIME_KIB_PER_SECOND = (
    KEEPS_KIB
    - MODEL.watermark_kib
    - MODEL.inflate_kib_per_second * watch.TICK_SECONDS
) / STARVING_SECONDS


FREED = Load(500 * MIB, freed_kib=3 * GIB)
COLD_CACHE = Load(500 * MIB, cold_kib=3 * GIB)
FRAGMENTED = Load(500 * MIB, fragments_kib=3 * GIB)
FRESH = Load(300 * MIB)
FULL = Load(3900 * MIB)
HOT_CACHE = Load(500 * MIB, hot_kib=2 * GIB, cold_kib=1 * GIB)


class SimulationTestCase(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = FakeClock()
        self.useFixture(
            fixtures.MonkeyPatch('threading.Thread', self.make_thread)
        )

    def make_thread(self, **kwargs: Any) -> FakeThread:
        return self.clock.thread(**kwargs)

    def make_cloud(
        self,
        load: Load,
        memory_kib: int = 4 * GIB,
        model: Model = MODEL,
        **kwargs: Any,
    ) -> clouds.Cloud:
        self.clock = FakeClock()
        return clouds.Cloud(self.clock, model, memory_kib, load, **kwargs)

    def assert_well(self, cloud: clouds.Cloud) -> None:
        """See that a guest is as it was, and that nothing went wrong."""
        self.assertTrue(cloud.is_whole())
        self.assertEqual(([], []), (cloud.reporter.errors, cloud.clock.errors))
        self.assertLessEqual(cloud.starved_seconds, STARVING_SECONDS)


class ScenarioTest(SimulationTestCase):
    """The benchmark's guests of 4 GiB, at a bandwidth of 1 Gb/s."""

    def compare(
        self, load: Load, **behaviour: Any
    ) -> tuple[clouds.Outcome, clouds.Outcome, clouds.Cloud]:
        """:returns: a plain migration, one by ``auto``, and its cloud."""
        plain = self.make_cloud(
            load, policy={'min_saving_mib': 1 << 20}, **behaviour
        ).migrate()
        cloud = self.make_cloud(load, **behaviour)
        ours = cloud.migrate()
        self.assert_well(cloud)
        return plain, ours, cloud

    def assert_saves(self, share: float, load: Load, **behaviour: Any) -> None:
        plain, ours, cloud = self.compare(load, **behaviour)
        self.assertLess(ours.seconds, share * plain.seconds)
        self.assertLess(ours.sent_kib, share * plain.sent_kib)
        self.assertEqual([], cloud.reporter.reasons)

    def assert_skipped(
        self, reason: Reason, load: Load, **behaviour: Any
    ) -> None:
        plain, ours, cloud = self.compare(load, **behaviour)
        self.assertAlmostEqual(plain.seconds, ours.seconds)
        self.assertLess(ours.delay_seconds, 0.15)
        self.assertEqual([reason], cloud.reporter.reasons)

    def test_a_guest_that_freed_memory(self) -> None:
        self.assert_saves(0.40, Load(500 * MIB, freed_kib=3 * GIB))

    def test_a_guest_with_cold_page_cache(self) -> None:
        self.assert_saves(
            0.55, Load(500 * MIB, cold_kib=3 * GIB), reports=True
        )

    def test_a_guest_whose_kernel_drops_it_first(self) -> None:
        # What it keeps available is sent as well, where it reports nothing.
        for reports, share in ((False, 0.96), (True, 0.7)):
            load = Load(500 * MIB, cold_kib=3 * GIB)
            _plain, alone, _cloud = self.compare(load, reports=reports)
            _plain, ours, cloud = self.compare(
                load,
                reports=reports,
                drop_kib_per_second=1600 * MIB,
                dropping_balloon_share=0.5,
            )
            self.assertLess(ours.seconds, share * alone.seconds)
            self.assertLess(ours.sent_kib, share * alone.sent_kib)
            self.assertGreater(len(cloud.guest.asked_to_drop), 3)

    def test_a_guest_whose_free_memory_is_fragmented(self) -> None:
        self.assert_saves(
            0.45, Load(500 * MIB, fragments_kib=3 * GIB), reports=True
        )

    def test_a_guest_whose_qemu_has_much_for_itself(self) -> None:
        # What was free was nonresident, and is given up first; a database
        # ran in the guest whose release was given up for that.
        for used_mib, cold_mib in ((1000, 650), (800, 800)):
            self.assert_saves(
                0.90,
                Load(used_mib * MIB, cold_kib=cold_mib * MIB),
                memory_kib=2 * GIB,
                reports=True,
                model=dataclasses.replace(MODEL, qemu_kib=255 * MIB),
            )

    def test_a_busy_guest(self) -> None:
        self.assert_saves(
            0.6,
            Load(1 * GIB, freed_kib=2 * GIB, rewrites_kib_per_second=50 * MIB),
        )

    def test_a_fresh_guest_is_skipped(self) -> None:
        self.assert_skipped(Reason.NOT_WORTHWHILE, Load(300 * MIB))

    def test_a_full_guest_is_skipped(self) -> None:
        self.assert_skipped(Reason.NOTHING_FREE, Load(3900 * MIB))

    def test_hot_cache_is_not_touched(self) -> None:
        _plain, _ours, cloud = self.compare(
            Load(500 * MIB, hot_kib=2 * GIB, cold_kib=1 * GIB)
        )
        self.assertEqual(2 * GIB, cloud.guest.hot_kib)

    def test_a_guest_is_skipped_where_the_network_is_faster_than_the_balloon(
        self,
    ) -> None:
        fast = dataclasses.replace(MODEL, bandwidth_kib_per_second=12 * GIB)
        self.assert_skipped(
            Reason.NOT_WORTHWHILE,
            Load(500 * MIB, freed_kib=3 * GIB),
            model=fast,
            migration_bandwidth_mbps=100_000,
        )

    def test_before_sends_less_and_takes_longer_than_during(self) -> None:
        load = Load(500 * MIB, cold_kib=3 * GIB)
        anywhere = dataclasses.replace(MODEL, far_end_share=0.5)
        during = self.make_cloud(
            load, model=anywhere, policy={'mode': 'during'}
        ).migrate()
        cloud = self.make_cloud(
            load, model=anywhere, policy={'mode': 'before'}
        )
        before = cloud.migrate()
        self.assert_well(cloud)
        self.assertLess(before.sent_kib, during.sent_kib)
        self.assertGreater(before.seconds, during.seconds)

    def test_what_is_released_during_a_transfer_is_looked_at_again(
        self,
    ) -> None:
        load, seconds = Load(500 * MIB, freed_kib=3 * GIB), {}
        for look in (1 * GIB, 1000 * GIB):
            model = dataclasses.replace(MODEL, look_kib_per_second=look)
            for mode in ('before', 'during'):
                seconds[mode, look] = (
                    self.make_cloud(load, model=model, policy={'mode': mode})
                    .migrate()
                    .seconds
                )
        self.assertEqual(
            seconds['before', 1000 * GIB], seconds['before', 1 * GIB]
        )
        self.assertAlmostEqual(
            seconds['during', 1000 * GIB] + 3,
            seconds['during', 1 * GIB],
            delta=0.5,
        )

    def test_the_bandwidth_is_learnt(self) -> None:
        cloud = self.make_cloud(
            Load(2 * GIB, freed_kib=1 * GIB), migration_bandwidth_mbps=0
        )
        cloud.migrate()
        self.assertAlmostEqual(
            MODEL.bandwidth_kib_per_second,
            cloud.engines['source']
            .bandwidths.to('dest', cloud.clock.now())
            .kib_per_second,
            delta=0.02 * MODEL.bandwidth_kib_per_second,
        )


class DisksTest(SimulationTestCase):
    """The same, with disks that are copied before memory is sent."""

    def migrate(
        self, load: Load, disks_seconds: float, **kwargs: Any
    ) -> tuple[clouds.Outcome, clouds.Cloud]:
        """:returns: what came of a migration, and its cloud."""
        cloud = self.make_cloud(load, disks_seconds=disks_seconds, **kwargs)
        outcome = cloud.migrate()
        self.assert_well(cloud)
        return outcome, cloud

    def test_with_disks_a_release_costs_no_time_of_its_own(self) -> None:
        for load in (FREED, COLD_CACHE, FRAGMENTED):
            shared = self.make_cloud(load).migrate()
            plain, _ = self.migrate(
                load, 60.0, policy={'min_saving_mib': 1 << 20}
            )
            ours, cloud = self.migrate(load, 60.0)
            self.assertEqual([], cloud.reporter.reasons)
            self.assertLess(ours.seconds - 60.0, 0.75 * shared.seconds, load)
            self.assertLess(ours.seconds - 60.0, 0.4 * (plain.seconds - 60.0))
            self.assertLess(ours.sent_kib, 0.35 * plain.sent_kib)

    def test_tiny_disks_cost_no_more_than_none(self) -> None:
        for load in (FREED, COLD_CACHE, FRAGMENTED, FRESH, FULL, HOT_CACHE):
            for disks_seconds in (0.05, 0.5, 1.0, 3.0):
                plain, _ = self.migrate(
                    load, disks_seconds, policy={'min_saving_mib': 1 << 20}
                )
                ours, _ = self.migrate(load, disks_seconds)
                self.assertLessEqual(
                    ours.seconds, 1.03 * plain.seconds + 0.15, load
                )

    def test_a_guest_that_needs_its_memory_in_the_copy_has_it(self) -> None:
        for seconds in (1.0, 30.0, 57.0, 59.5, 61.0):
            needs = dataclasses.replace(
                FREED, wants_kib=2 * GIB, wants_after_seconds=seconds
            )
            _, cloud = self.migrate(needs, 60.0, autodeflate=True)
            self.assertEqual(0, cloud.guest.short_kib, seconds)

    def test_a_migration_that_fails_at_any_moment_of_it(self) -> None:
        for seconds in (0.0, 1.0, 30.0, 58.0, 60.0, 61.0, 64.0):
            cloud = self.make_cloud(FREED, disks_seconds=60.0)
            outcome = cloud.migrate(fails_after_seconds=seconds)
            self.assertFalse(outcome.succeeded)
            self.assert_well(cloud)


class TroubleTest(SimulationTestCase):
    def migrate(self, load: Load, **kwargs: Any) -> clouds.Cloud:
        cloud = self.make_cloud(load, **kwargs)
        self.assertTrue(cloud.migrate().succeeded)
        self.clock.wait(60)
        self.assert_well(cloud)
        return cloud

    def test_a_guest_that_needs_memory_at_a_bad_moment_gets_it(self) -> None:
        for mode in ('before', 'during'):
            for seconds in range(12):
                cloud = self.migrate(
                    Load(
                        500 * MIB,
                        freed_kib=3 * GIB,
                        wants_kib=2 * GIB,
                        wants_after_seconds=seconds,
                        wants_kib_per_second=SEEN_IN_TIME_KIB_PER_SECOND,
                    ),
                    policy={'mode': mode},
                )
                self.assertEqual(0, cloud.guest.short_kib)

    def test_one_that_needs_it_faster_deflates_its_balloon_itself(
        self,
    ) -> None:
        for seconds in range(12):
            cloud = self.migrate(
                Load(
                    500 * MIB,
                    freed_kib=3 * GIB,
                    wants_kib=2 * GIB,
                    wants_after_seconds=seconds,
                    wants_kib_per_second=2 * GIB,
                ),
                autodeflate=True,
            )
            self.assertEqual(0, cloud.guest.short_kib)

    def test_an_agent_that_lies_does_no_harm(self) -> None:
        cloud = self.migrate(Load(2500 * MIB, hot_kib=1 * GIB), lies=5.0)
        self.assertEqual([EndReason.PRESSURE], cloud.reporter.ends)

    def test_a_guest_that_was_under_pressure_is_skipped_next_time(
        self,
    ) -> None:
        cloud = self.migrate(Load(2500 * MIB, hot_kib=1 * GIB), lies=5.0)
        cloud.guest.host = 'source'
        cloud.migrate()
        self.assertEqual([Reason.BACKING_OFF], cloud.reporter.reasons)

    def test_a_guest_that_releases_only_a_part(self) -> None:
        cloud = self.migrate(
            Load(500 * MIB, freed_kib=3 * GIB), inflates_down_to_kib=2 * GIB
        )
        self.assertEqual([], cloud.reporter.reasons)

    def test_a_host_that_gains_nothing(self) -> None:
        cloud = self.migrate(
            Load(500 * MIB, freed_kib=3 * GIB), discards=False
        )
        self.assertEqual([EndReason.NO_EFFECT], cloud.reporter.ends)

    def test_statistics_that_never_refresh(self) -> None:
        cloud = self.migrate(Load(500 * MIB, freed_kib=3 * GIB), frozen=True)
        self.assertEqual([Reason.NO_BALLOON_DRIVER], cloud.reporter.reasons)

    def test_statistics_that_freeze_during_the_release(self) -> None:
        for seconds in (0.5, 1, 2, 3):
            cloud = self.make_cloud(
                Load(2 * GIB, freed_kib=1 * GIB, hot_kib=800 * MIB), lies=5.0
            )
            self.clock.after(
                seconds,
                lambda guest=cloud.guest: setattr(guest, 'frozen', True),
            )
            cloud.migrate()
            self.assert_well(cloud)
            self.assertEqual([EndReason.PRESSURE], cloud.reporter.ends)

    def test_statistics_that_freeze_before_the_transfer_starts(self) -> None:
        """What was given up before counts during the transfer as well.

        Over 2 Gb/s the transfer does not wait for all of it.
        """
        model = dataclasses.replace(
            MODEL,
            bandwidth_kib_per_second=2 * MODEL.bandwidth_kib_per_second,
        )
        for seconds in (0.3, 0.5, 0.7):
            cloud = self.make_cloud(
                Load(2 * GIB, freed_kib=1 * GIB, hot_kib=800 * MIB),
                model=model,
                migration_bandwidth_mbps=2000,
                lies=5.0,
            )
            cloud.know(ReleaseRate(busy_share=1.0, look_kib_per_second=GIB**2))
            self.clock.after(
                seconds,
                lambda guest=cloud.guest: setattr(guest, 'frozen', True),
            )
            outcome = cloud.migrate()
            self.assertLess(outcome.delay_seconds, 1.0)
            self.assert_well(cloud)
            self.assertEqual([EndReason.PRESSURE], cloud.reporter.ends)

    def test_without_an_answer_of_the_agent_the_statistics_are_used(
        self,
    ) -> None:
        for agent in (
            {'latency_seconds': 3600.0},
            {'polls': 1 << 40},
            {'latency_seconds': 4.0},
        ):
            cloud = self.make_cloud(Load(500 * MIB, freed_kib=3 * GIB))
            cloud.guest.agent = fakes.SimulatedAgent(**agent)
            outcome = cloud.migrate()
            self.assert_well(cloud)
            self.assertLess(outcome.delay_seconds, 15)
            self.assertEqual([], cloud.reporter.reasons)

    def test_an_agent_that_dies_between_two_answers(self) -> None:
        cloud = self.make_cloud(Load(500 * MIB, freed_kib=3 * GIB))
        cloud.guest.agent.script = [
            '{"return": {"pid": 1}}',
            fakes.libvirt_error(exceptions.AgentUnresponsive, 'gone'),
        ]
        cloud.migrate()
        self.assert_well(cloud)
        self.assertEqual([], cloud.reporter.reasons)

    def test_a_balloon_that_overshoots_its_target(self) -> None:
        for mode in ('before', 'during'):
            cloud = self.make_cloud(
                Load(500 * MIB, freed_kib=3 * GIB),
                policy={'mode': mode},
                overshoots_kib=64 * MIB,
            )
            cloud.migrate()
            self.assertTrue(cloud.is_whole())
            self.assertEqual([], cloud.reporter.errors)
            self.assertIn(
                cloud.reporter.ends,
                (
                    [EndReason.NOT_OURS],
                    [EndReason.TARGET_REACHED],
                    [EndReason.RESIDENT_RELEASED],
                    [EndReason.TRANSFER_ENDED],
                ),
            )

    def test_a_guest_with_outstanding_memory_is_skipped(self) -> None:
        entry = self.older_entry()
        cloud = self.make_cloud(Load(500 * MIB, freed_kib=3 * GIB))
        cloud.guest.metadata = entry
        cloud.guest.actual_kib = cloud.guest.target_kib = 3 * GIB
        cloud.guest.touched_kib = 2 * GIB
        self.assertTrue(cloud.migrate().succeeded)
        self.assertEqual([Reason.OUTSTANDING_MEMORY], cloud.reporter.reasons)
        self.assert_well(cloud)

    def older_entry(self) -> str:
        cloud = self.make_cloud(Load(500 * MIB, freed_kib=3 * GIB))
        seen = []
        self.clock.after(2, lambda: seen.append(cloud.guest.metadata))
        cloud.migrate()
        (entry,) = seen
        return entry

    def test_a_balloon_that_somebody_else_moves(self) -> None:
        for target_kib in (4 * GIB, 2 * GIB, 600 * MIB):
            for seconds in (1, 3, 4.5):
                cloud = self.make_cloud(Load(300 * MIB, freed_kib=3 * GIB))
                guest = cloud.guest
                self.clock.after(
                    seconds,
                    lambda guest=guest, kib=target_kib: setattr(
                        guest, 'target_kib', kib
                    ),
                )
                cloud.migrate()
                self.assertTrue(cloud.is_whole())
                self.assertEqual([], cloud.reporter.errors)

    def test_a_transfer_that_fails_at_any_moment(self) -> None:
        for tenths in range(0, 40, 2):
            cloud = self.make_cloud(Load(500 * MIB, freed_kib=3 * GIB))
            self.assertFalse(
                cloud.migrate(fails_after_seconds=tenths / 10).succeeded
            )
            self.clock.wait(1)  # for the last batch of its balloon
            self.assert_well(cloud)
            self.assertEqual('source', cloud.guest.host)


gib_shares = strategies.floats(0, 1)


@strategies.composite
def loads(draw: strategies.DrawFn, memory_kib: int) -> Load:
    """:returns: something a guest of that size can be doing."""
    left_kib = memory_kib - 64 * MIB
    amounts = {}
    for name in draw(
        strategies.permutations(
            ['used_kib', 'hot_kib', 'cold_kib', 'freed_kib', 'fragments_kib']
        )
    ):
        amounts[name] = int(left_kib * draw(gib_shares))
        left_kib -= amounts[name]
    return Load(
        **amounts,
        rewrites_kib_per_second=draw(strategies.integers(0, 40)) * MIB,
        wants_kib=int(memory_kib * draw(gib_shares)),
        wants_after_seconds=draw(strategies.floats(0, 40)),
        wants_kib_per_second=draw(strategies.integers(10, 1000)) * MIB,
    )


memory_kib = strategies.integers(2, 64).map(lambda eighths: eighths * GIB // 8)
guests = memory_kib.flatmap(
    lambda kib: strategies.tuples(strategies.just(kib), loads(kib))
)
models = strategies.builds(
    Model,
    inflate_kib_per_second=strategies.integers(50, 2000).map(
        lambda mib: mib * MIB
    ),
    reclaim_kib_per_second=strategies.integers(30, 1000).map(
        lambda mib: mib * MIB
    ),
    bandwidth_kib_per_second=strategies.sampled_from(
        [60 * MIB, 119 * MIB, 1190 * MIB, 11900 * MIB]
    ),
    busy_bandwidth_share=strategies.sampled_from([1.0, 1.0, 0.8]),
    busy_balloon_share=strategies.sampled_from([1.0, 1.0, 0.6]),
    look_kib_per_second=strategies.sampled_from(
        [0.5 * GIB, 1.9 * GIB, 16 * GIB]
    ),
    far_end_share=gib_shares,
    agent_seconds=strategies.sampled_from([0.0, 0.02, 0.3, 3600.0]),
)
behaviours = strategies.fixed_dictionaries(
    {
        'reports': strategies.booleans(),
        'touched_first': strategies.booleans(),
        'discards': strategies.booleans(),
        'autodeflate': strategies.booleans(),
        'overshoots_kib': strategies.sampled_from([0, 0, 0, 8 * MIB]),
        'lies': strategies.sampled_from([1.0, 1.0, 0.5, 1.5, 100.0]),
        'inflates_down_to_kib': strategies.sampled_from([0, 0, 1 * GIB]),
        'drop_kib_per_second': strategies.sampled_from(
            [0, 0, 100 * MIB, 1600 * MIB, 16 * GIB]
        ),
        'dropping_balloon_share': strategies.sampled_from([1.0, 0.3]),
        'takes_swappiness': strategies.booleans(),
        'swap_kib': strategies.sampled_from([0, 1 * GIB]),
    }
)
policies = strategies.fixed_dictionaries(
    {
        'mode': strategies.sampled_from(['auto', 'before', 'during']),
        'reclaim': strategies.sampled_from(['free', 'cold', 'available']),
    }
)


class PropertiesTest(SimulationTestCase):
    @hypothesis.settings(max_examples=300)
    @hypothesis.given(
        guest=guests,
        model=models,
        behaviour=behaviours,
        policy=policies,
        request=strategies.sampled_from([None, None, *Request]),
        request_after_seconds=strategies.floats(0, 10),
        fails_after_seconds=strategies.none() | strategies.floats(0, 20),
    )
    def test_no_guest_starves_or_keeps_a_trace(
        self,
        guest: tuple[int, Load],
        model: Model,
        behaviour: dict[str, Any],
        policy: dict[str, Any],
        **fate: Any,
    ) -> None:
        size_kib, load = guest
        cloud = self.make_cloud(
            load, size_kib, model, policy=policy, **behaviour
        )
        cloud.migrate(**fate)
        self.clock.wait(1)  # for the last batch of its balloon
        self.assert_well(cloud)

    @hypothesis.settings(max_examples=200)
    @hypothesis.given(
        guest=guests,
        model=models,
        behaviour=behaviours,
        configured=strategies.booleans(),
    )
    def test_during_costs_no_more_than_asking_the_guest(
        self,
        guest: tuple[int, Load],
        model: Model,
        behaviour: dict[str, Any],
        configured: bool,
    ) -> None:
        size_kib, load = guest
        load = dataclasses.replace(load, wants_kib=0)
        mbit = int(model.bandwidth_kib_per_second * 8 * 1024 / 10**6)
        migration_bandwidth_mbps = mbit if configured else 1000
        plain = self.make_cloud(
            load,
            size_kib,
            model,
            migration_bandwidth_mbps=migration_bandwidth_mbps,
            policy={'min_saving_mib': 1 << 20},
            **behaviour,
        ).migrate()
        cloud = self.make_cloud(
            load,
            size_kib,
            model,
            migration_bandwidth_mbps=migration_bandwidth_mbps,
            policy={'mode': 'during'},
            **behaviour,
        )
        ours = cloud.migrate()
        # Without the plugin nobody asks the guest; the agent is asked twice,
        # or once where it does not answer.
        asking_seconds = min(
            2 * model.agent_seconds, cloud.policy.agent_timeout_seconds
        )
        self.assertLessEqual(ours.delay_seconds, asking_seconds + 1e-6)
        # Where nothing that the balloon takes was resident, and it moves all
        # the while, the transfer has the network to itself for no moment.
        apart_seconds = model.before_job_seconds + model.downtime_seconds
        slowed = slowed_by(model, load.rewrites_kib_per_second)
        # QEMU looks at all that it takes once more; the network is not idle
        # meanwhile where the guest rewrites memory.
        free_share = model.busy_bandwidth_share - (
            load.rewrites_kib_per_second / model.bandwidth_kib_per_second
        )
        look_seconds = size_kib / model.look_kib_per_second / free_share
        plain_seconds = plain.seconds - plain.delay_seconds - apart_seconds
        self.assertLessEqual(
            ours.seconds - ours.delay_seconds - apart_seconds,
            plain_seconds * slowed + look_seconds + 2 * model.step_seconds,
        )
        self.assertLessEqual(
            ours.sent_kib,
            plain.sent_kib * slowed
            + load.rewrites_kib_per_second * look_seconds
            + 2 * model.step_seconds * model.bandwidth_kib_per_second
            + 1,
        )

    @hypothesis.settings(max_examples=200)
    @hypothesis.given(guest=guests, model=models)
    def test_auto_that_knows_its_rates_costs_no_more_than_asking(
        self, guest: tuple[int, Load], model: Model
    ) -> None:
        size_kib, load = guest
        load = dataclasses.replace(load, wants_kib=0)
        model = dataclasses.replace(
            model,
            busy_bandwidth_share=1.0,
            busy_balloon_share=1.0,
        )
        mbit = int(model.bandwidth_kib_per_second * 8 * 1024 / 10**6)
        plain = self.make_cloud(
            load,
            size_kib,
            model,
            migration_bandwidth_mbps=mbit,
            policy={'min_saving_mib': 1 << 20},
        ).migrate()
        cloud = self.make_cloud(
            load,
            size_kib,
            model,
            migration_bandwidth_mbps=mbit,
            policy={'mode': 'auto'},
        )
        cloud.know(
            ReleaseRate(
                model.inflate_kib_per_second,
                model.reclaim_kib_per_second,
                model.busy_balloon_share,
                model.look_kib_per_second,
            )
        )
        ours = cloud.migrate()
        asking_seconds = min(
            2 * model.agent_seconds, fakes.make_policy().agent_timeout_seconds
        )
        # What it takes in the last second, QEMU looks at once more.
        look_seconds = (
            stop_rules.LEAD_SECONDS
            * max(model.inflate_kib_per_second, model.reclaim_kib_per_second)
            / model.look_kib_per_second
        )
        self.assertLessEqual(
            ours.seconds,
            plain.seconds
            + asking_seconds
            + look_seconds
            + 2 * model.step_seconds,
        )


def slowed_by(model: Model, rewrites_kib_per_second: float) -> float:
    """:returns: how much longer a transfer takes while a balloon moves."""
    alone = model.bandwidth_kib_per_second - rewrites_kib_per_second
    together = (
        model.bandwidth_kib_per_second * model.busy_bandwidth_share
        - rewrites_kib_per_second
    )
    hypothesis.assume(together > 0)
    return alone / together


class DriftTest(SimulationTestCase):
    """One guest is migrated many times, and loses nothing.

    The environment variable SIMULATED_MIGRATIONS says how many times, 1000 if
    it is not set: 10000 take about half a minute of a processor.
    """

    def test_many_migrations_do_not_drift_by_a_kibibyte(self) -> None:
        fast = dataclasses.replace(
            MODEL, bandwidth_kib_per_second=500 * MIB, step_seconds=0.25
        )
        cloud = self.make_cloud(
            Load(100 * MIB), 1 * GIB, fast, policy={'mode': 'during'}
        )
        for number in range(MIGRATIONS):
            cloud.guest.touched_kib = 800 * MIB + number
            cloud.clock.wait(1)  # for the last batch of its balloon
            if not cloud.is_whole():
                self.fail(f'after {number}')
            cloud.migrate(fails_after_seconds=0.2 if number % 7 == 0 else None)
        self.assert_well(cloud)
        self.assertEqual([], cloud.reporter.reasons)

    def test_a_driver_that_stops_short_is_released_each_time(self) -> None:
        """Of the 4 KiB that it always leaves in the balloon none add up."""
        cloud = self.make_cloud(
            Load(100 * MIB), 1 * GIB, deflates_up_to_kib=1 * GIB - 4
        )
        for _number in range(5):
            cloud.guest.touched_kib = 800 * MIB
            cloud.migrate()
            cloud.clock.wait(1)
            cloud.guest.check()
            self.assertEqual(4, cloud.guest.missing_kib)
            self.assertEqual(1 * GIB, cloud.guest.target_kib)
            self.assertEqual(1 * GIB, cloud.guest.definition_kib)
            self.assertIsNone(cloud.guest.metadata)
        self.assertEqual([], cloud.reporter.reasons)
        self.assertEqual(5, len(cloud.reporter.ends))


class StandInsTest(base.TestCase):
    """What stands for the package's own looks like it."""

    def test_the_reporter_takes_what_the_real_one_does(self) -> None:
        for name, method in inspect.getmembers(
            reporters.Reporter, inspect.isfunction
        ):
            if not name.startswith('_'):
                self.assertEqual(
                    list(inspect.signature(method).parameters),
                    list(
                        inspect.signature(
                            getattr(clouds.Reporter, name)
                        ).parameters
                    ),
                    name,
                )

    def test_the_model_has_sane_figures(self) -> None:
        for field in dataclasses.fields(Model):
            self.assertGreater(getattr(MODEL, field.name), 0)
