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


"""Which faults are injected in which phases, and in which order; pure.

The standard library alone: a command line is checked with this before
anything is installed.
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

# A cell (five took 11 to 52 s), and the lab around it, on two cores with
# emulated guests.
_CELL_SECONDS = 35
_LAB_SECONDS = 120

# The phases in which most can be lost come first.
_FIRST_PHASES = (
    Phase.TRANSFER,
    Phase.RELEASING,
    Phase.LANDED,
    Phase.RELEASED,
    Phase.RESTORED,
    Phase.JOURNALED,
    Phase.SWITCH_OVER,
    Phase.RESTORING,
    Phase.ACQUIRING,
    Phase.BEFORE,
    Phase.OUTSIDE,
    Phase.POST_COPY,  # Last: the computes are restarted for it.
)


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One fault at one phase."""

    phase: Phase
    fault: str

    @property
    def kind(self) -> kinds.Kind:
        """The fault itself."""
        return kinds.KINDS[self.fault]

    def __str__(self) -> str:
        return f'{self.kind.about} at {self.phase.word}'


@functools.cache
def left_out() -> Mapping[Cell, str]:
    """Return the cells that make no sense or cannot be had, and why."""
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
    """List the cells to run, the most important first.

    :param chosen_phases: these only; None for all.
    :param faults: these only; None for all.
    """
    wanted_phases = set(
        phases.PHASES if chosen_phases is None else chosen_phases
    )
    wanted_faults = set(kinds.KINDS if faults is None else faults)
    found = [
        cell
        for phase in _FIRST_PHASES
        if phase in wanted_phases
        for fault in kinds.KINDS
        if fault in wanted_faults
        and (cell := Cell(phase, fault)) not in left_out()
    ]
    # Those with several guests together: the others are booted once.
    return sorted(
        found, key=lambda cell: (_is_in_post_copy(cell), cell.kind.several)
    )


def _is_in_post_copy(cell: Cell) -> bool:
    return cell.phase is Phase.POST_COPY


#: The phases of a migration without the plugin, each with those of one with
#: the plugin at which Nova itself does the same.
WITHOUT_PLUGIN: Mapping[Phase, frozenset[Phase]] = types.MappingProxyType(
    {
        Phase.BEFORE: frozenset(
            {
                Phase.BEFORE,
                Phase.ACQUIRING,
                Phase.JOURNALED,
                Phase.RELEASING,
                Phase.RELEASED,
            }
        ),
        Phase.TRANSFER: frozenset(
            {
                Phase.ACQUIRING,
                Phase.JOURNALED,
                Phase.RELEASING,
                Phase.RELEASED,
                Phase.TRANSFER,
            }
        ),
        Phase.OUTSIDE: frozenset({Phase.OUTSIDE}),
        Phase.POST_COPY: frozenset({Phase.POST_COPY}),
        Phase.SWITCH_OVER: frozenset({Phase.SWITCH_OVER}),
        Phase.LANDED: frozenset(
            {
                Phase.SWITCH_OVER,
                Phase.LANDED,
                Phase.RESTORING,
                Phase.RESTORED,
            }
        ),
    }
)


def cells_without_plugin(chosen: Iterable[Cell]) -> list[Cell]:
    """List the cells that are worth running without the plugin."""
    return [
        cell
        for cell in chosen
        if cell.phase in WITHOUT_PLUGIN and cell.kind.end is kinds.End.ANY
    ]


def estimate_seconds(count: int, clouds: int) -> float:
    """Estimate how long so many cells take on so many clouds."""
    return _LAB_SECONDS * clouds + count * _CELL_SECONDS / clouds
