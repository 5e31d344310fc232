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


"""A random walk through phases and faults, the same for the same seed."""

from collections.abc import Iterator
from collections.abc import Sequence
import random

from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase


def steps(seed: int, cells: Sequence[Cell]) -> Iterator[Cell]:
    """Choose cells for ever, all of them about as often; pure.

    :param seed: the same number chooses the same cells.
    :param cells: what to choose from. Those in post-copy are left out:
        nova-compute would have to be restarted for each of them. So are those
        with several guests: the others would have to be booted.
    """
    chooser = random.Random(seed)
    choice = [
        cell
        for cell in cells
        if cell.phase is not Phase.POST_COPY and not cell.kind.several
    ]
    choice.sort()
    while True:
        chooser.shuffle(choice)
        yield from choice
