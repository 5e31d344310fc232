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


"""Which faults are met in which phases, and in which order; pure.

The standard library alone: the words of a command are judged with this
before anything is installed.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import functools
import pathlib
import tomllib
import types

from tests.chaos import kinds
from tests.chaos import phases
from tests.chaos.phases import Phase

_LEFT_OUT = pathlib.Path(__file__).with_name('left_out.toml')

# Of a cell (five took 11 to 52 s) and of the lab, on two cores with emulated
# guests.
_CELL_SECONDS = 35
_LAB_SECONDS = 120

# Where most is at stake comes first, for whoever has little time.
_FIRST_PHASES = (
    Phase.TRANSFER,
    Phase.MOVING,
    Phase.LANDED,
    Phase.AT_TARGET,
    Phase.ASSIGNED,
    Phase.NOTED,
    Phase.SWITCH_OVER,
    Phase.ASSIGNING,
    Phase.ASKED,
    Phase.BEFORE,
    Phase.POST_COPY,  # Last: the computes are restarted for it.
)


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One fault at one phase."""

    phase: Phase
    fault: str

    @property
    def kind(self) -> kinds.Kind:
        """What is known of the fault."""
        return kinds.KINDS[self.fault]

    def __str__(self) -> str:
        return f'{self.kind.about} at {self.phase.word}'


@functools.cache
def left_out() -> Mapping[Cell, str]:
    """Tell which cells make no sense or cannot be made real, and why."""
    found = {}
    for entry in tomllib.loads(_LEFT_OUT.read_text())['cells']:
        for word in entry['phases']:
            for fault in entry['faults']:
                cell = Cell(phases.BY_WORD[word], kinds.KINDS[fault].name)
                found[cell] = entry['why']
    return found


def cells(
    chosen_phases: Iterable[Phase] | None = None,
    faults: Iterable[str] | None = None,
) -> list[Cell]:
    """List what there is to run, the most telling first.

    :param chosen_phases: these only; None for all.
    :param faults: these only; None for all.
    """
    wanted_phases = set(
        phases.PHASES if chosen_phases is None else chosen_phases
    )
    wanted_faults = set(kinds.KINDS if faults is None else faults)
    return [
        cell
        for phase in _FIRST_PHASES
        if phase in wanted_phases
        for fault in kinds.KINDS
        if fault in wanted_faults
        and (cell := Cell(phase, fault)) not in left_out()
    ]


#: The phases of a migration without the plugin, with those of one with it
#: that a fault meets at the same point of Nova's own steps.
PLAIN: Mapping[Phase, frozenset[Phase]] = types.MappingProxyType(
    {
        Phase.BEFORE: frozenset(
            {
                Phase.BEFORE,
                Phase.ASKED,
                Phase.NOTED,
                Phase.MOVING,
                Phase.AT_TARGET,
            }
        ),
        Phase.TRANSFER: frozenset(
            {
                Phase.ASKED,
                Phase.NOTED,
                Phase.MOVING,
                Phase.AT_TARGET,
                Phase.TRANSFER,
            }
        ),
        Phase.POST_COPY: frozenset({Phase.POST_COPY}),
        Phase.SWITCH_OVER: frozenset({Phase.SWITCH_OVER}),
        Phase.LANDED: frozenset(
            {
                Phase.SWITCH_OVER,
                Phase.LANDED,
                Phase.ASSIGNING,
                Phase.ASSIGNED,
            }
        ),
    }
)


def plain_cells(chosen: Iterable[Cell]) -> list[Cell]:
    """List the cells whose end is known from a run without the plugin."""
    return [
        cell
        for cell in chosen
        if cell.phase in PLAIN and cell.kind.end is kinds.End.ANY
    ]


def estimate_seconds(count: int, clouds: int) -> float:
    """Foretell how long so many cells take on so many clouds."""
    return _LAB_SECONDS * clouds + count * _CELL_SECONDS / clouds
