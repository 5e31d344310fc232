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


"""Nothing is lost when something fails in the middle of a migration.

A quick part of the matrix of tests.chaos, which has the rest.
"""

import contextlib
from typing import ClassVar

from tests.chaos import series
from tests.chaos import stage as stages
from tests.chaos import verdict
from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase
from tests.cloud import base


class FaultDuringMigration(base.CloudTestCase):
    """A server that has freed memory is migrated, and something fails."""

    stage: ClassVar[stages.Stage | None] = None

    def setUp(self) -> None:
        super().setUp()
        if FaultDuringMigration.stage is None:
            FaultDuringMigration.stage = self._set_stage()

    def _set_stage(self) -> stages.Stage:
        """Configure the computes for faults, until the last of the tests."""
        stage = stages.Stage(self.cloud)
        done = contextlib.ExitStack()
        self.addClassCleanup(done.close)
        done.callback(stage.start_computes)
        done.callback(stage.unconfigure)
        done.callback(stage.clear)
        done.callback(setattr, FaultDuringMigration, 'stage', None)
        stage.configure()
        stage.start_computes()
        stage.boot()
        return stage

    def assert_nothing_lost(self, phase: Phase, fault: str) -> None:
        """Fail unless a fault meets a phase and everything ends whole."""
        assert self.stage is not None
        (findings,) = series.run([Cell(phase, fault)], self.stage)
        self.assertEqual((), findings.inconclusive)
        (found,) = findings.records
        judged = verdict.judge(found)
        self.assertEqual('whole', judged.word, (judged, found.warnings))

    def test_the_operator_aborts_while_memory_is_released(self) -> None:
        self.assert_nothing_lost(Phase.RELEASING, 'abort')

    def test_the_guest_needs_its_memory_while_it_is_released(self) -> None:
        self.assert_nothing_lost(Phase.RELEASING, 'guest-needs-memory')

    def test_both_nova_computes_are_killed_during_the_transfer(self) -> None:
        self.assert_nothing_lost(Phase.TRANSFER, 'compute-both')

    def test_the_guest_at_the_destination_is_killed_in_the_transfer(
        self,
    ) -> None:
        self.assert_nothing_lost(Phase.TRANSFER, 'qemu-destination')

    def test_libvirtd_restarts_at_the_source_during_the_transfer(self) -> None:
        self.assert_nothing_lost(Phase.TRANSFER, 'libvirtd-source')

    def test_the_operator_restores_memory_while_it_is_released(self) -> None:
        self.assert_nothing_lost(Phase.RELEASING, 'restore-command')

    def test_the_server_is_suspended_while_memory_is_outstanding(
        self,
    ) -> None:
        self.assert_nothing_lost(Phase.OUTSIDE, 'suspend')

    def test_nova_compute_is_killed_once_the_guest_has_landed(self) -> None:
        self.assert_nothing_lost(Phase.LANDED, 'compute-destination')
