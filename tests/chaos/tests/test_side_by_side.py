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

"""Cells on several clouds: each is run once, whatever becomes of a cloud."""

from __future__ import annotations

import pathlib
import threading

from tests import base
from tests.chaos import matrix
from tests.chaos import side_by_side
from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase
from tests.chaos.record import Findings
from tests.chaos.tests import records as chaos_records
from tests.lab import steps

_CELLS = matrix.cells([Phase.RELEASING, Phase.LANDED])
_POISON = Cell(Phase.RELEASING, 'qemu-source')


class FakeWorker:
    """Runs cells without a cloud, and ends at one that kills it."""

    made: list[FakeWorker]

    def __init__(self, number: int, plugin: bool) -> None:
        self.log = pathlib.Path(f'/cloud-{number}.log')
        self.ran: list[Cell] = []
        self.ended = threading.Event()
        self.interrupted = threading.Event()
        self.made.append(self)

    def wait_up(self) -> bool:
        return True

    def run(self, cell: Cell) -> Findings | None:
        self.ran.append(cell)
        if cell == _POISON:
            return None
        found = chaos_records.moved(phase=cell.phase.word, fault=cell.fault)
        return Findings({}).plus(found)

    def end(self) -> None:
        self.ended.set()

    def interrupt(self) -> None:
        self.interrupted.set()


class FakeWorkerThatNeverComesUp(FakeWorker):
    """Its cloud cannot be brought up."""

    def wait_up(self) -> bool:
        return False


class SideBySideTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        FakeWorker.made = []
        self.worker = self.patch_autospec(
            side_by_side, 'Worker', side_effect=FakeWorker
        )

    def find(self, count: int) -> Findings:
        found = Findings({})
        for one in side_by_side.run(_CELLS, count, plugin=True):
            found = found.plus_all(one)
        return found

    def test_each_cell_is_run_once_and_the_clouds_end(self) -> None:
        found = self.find(3)
        ran = [cell for one in FakeWorker.made for cell in one.ran]
        self.assertEqual(sorted(_CELLS), sorted(ran))
        self.assertEqual(3, len(FakeWorker.made))
        self.assertTrue(all(one.ended.is_set() for one in FakeWorker.made))
        known = {one.cell for one in (*found.records, *found.inconclusive)}
        self.assertEqual(set(_CELLS), known)

    def test_a_cell_that_ends_its_cloud_is_shown_and_others_go_on(
        self,
    ) -> None:
        (failure,) = self.find(3).inconclusive
        self.assertEqual(_POISON, failure.cell)
        self.assertRegex(failure.why, 'its cloud has ended; see /cloud-.*log')

    def test_the_loss_of_all_clouds_names_their_logs(self) -> None:
        self.worker.side_effect = FakeWorkerThatNeverComesUp
        with self.assertRaisesRegex(steps.LabError, 'cloud-1.log, .*cloud-2'):
            self.find(2)

    def test_an_interrupted_run_takes_the_clouds_down(self) -> None:
        clouds = side_by_side.run(_CELLS, 2, plugin=True)
        next(iter(clouds))
        clouds.close()
        for one in FakeWorker.made:
            self.assertTrue(one.interrupted.is_set())
            self.assertTrue(one.ended.wait(10))
