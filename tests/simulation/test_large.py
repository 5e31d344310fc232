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

"""What the manual says of large guests is what the plugin does to them."""

import dataclasses
import pathlib
import tempfile

from tests import base
from tests.simulation import large

_MANUAL = pathlib.Path(__file__).parents[2] / 'doc/source/admin'


class LargeGuestsTest(base.TestCase):
    def test_the_table_of_the_manual_is_that_of_today(self) -> None:
        documented = (_MANUAL / 'large-guests.inc').read_text().splitlines()
        cells = list(large.simulate(sizes_gib=(64,)))
        rows = [
            line.split()
            for line in large.tables(cells).splitlines()
            if 'Gb/s' in line
        ]
        self.assertEqual(len(cells), len(rows))
        self.assertEqual(
            rows,
            [line.split() for line in documented if line.startswith('   64')],
        )

    def test_the_picture_has_a_cell_for_each_guest_and_path(self) -> None:
        cells = [
            large.Cell(scenario, size, *path, {'plain': 9, 'auto': 3}, {})
            for scenario in large.SCENARIOS
            for size in large.SIZES_GIB
            for path in large.PATHS
        ]
        cells[0] = dataclasses.replace(
            cells[0], seconds={'plain': 400.0, 'auto': 100.0}
        )
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, 'large.svg')
            large.draw(cells, file)
            picture = file.read_text()
        self.assertEqual(len(cells) - 1, picture.count('9 → 3 s'))
        self.assertEqual(1, picture.count('400 → 100 s'))
