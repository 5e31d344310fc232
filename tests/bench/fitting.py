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

"""Find the figures by which the simulation comes nearest to a benchmark; pure.

One figure after the other is moved to where the error is least, over and over
until that gains nothing. Some depend on each other (a faster link and a later
start of the transfer), so that a walk follows, on which several are moved at
once; it is the same each time.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import math
import random

from tests.bench.capture import Case
from tests.simulation.model import GIB
from tests.simulation.model import MIB
from tests.simulation.model import Model
from tests.simulation.replay import Replay

#: What is fitted, and between which bounds: by the names of :class:`Model`.
BOUNDS: dict[str, tuple[float, float]] = {
    'before_job_seconds': (0.1, 3.0),
    'carried_share': (0.5, 1.0),
    'inflate_kib_per_second': (100 * MIB, 4 * GIB),
    'reclaim_kib_per_second': (50 * MIB, 4 * GIB),
    'look_kib_per_second': (0.25 * GIB, 16 * GIB),
    'busy_balloon_share': (0.2, 1.0),
    'busy_link_share': (0.5, 1.0),
    'far_end_share': (0.05, 1.0),
    'deflate_kib_per_second': (100 * MIB, 8 * GIB),
}

# The seconds are what the plugin is about; what is sent, and what it takes to
# give back, follow from more than the model knows.
_BYTES_WEIGHT = 0.5
_BACK_WEIGHT = 0.5

# A coarse look over the bounds, and a fine one around the best of it: time in
# the simulation comes in steps, so that the error has more than one valley.
_COARSE_STEPS = 6
_FINE_SHARE = 0.02
_MOST_ROUNDS = 3
_LEAST_GAIN_SHARE = 0.01
_GOLDEN = (math.sqrt(5) - 1) / 2

# Of the walk: how far a figure is moved at a time, and how often.
_WALK_SHARE = 0.1
_WALK_STEPS = 300

# Figures are kept to this many digits.
_DIGITS = 3


@dataclasses.dataclass(frozen=True)
class Held:
    """A case, and what the simulation makes of it."""

    case: Case
    replay: Replay

    @property
    def seconds_error(self) -> float:
        """How far the simulated seconds are off, as a share."""
        return self.replay.seconds / self.case.seconds.median - 1

    @property
    def megabytes_error(self) -> float:
        """How far what is sent is off, as a share."""
        return self.replay.megabytes / self.case.megabytes.median - 1

    @property
    def back_error(self) -> float | None:
        """How far the seconds until all is given back are off."""
        if self.case.back_seconds is None or self.replay.back_seconds is None:
            return None
        return self.replay.back_seconds / self.case.back_seconds.median - 1


def hold(cases: Iterable[Case], model: Model) -> list[Held]:
    """Simulate what was measured."""
    return [
        Held(case, case.situation.migrate(case.method, model))
        for case in cases
    ]


def error(held: Sequence[Held]) -> float:
    """Tell how far a simulation is off: the mean of squared log ratios."""
    return sum(map(_squares, held)) / len(held)


def _squares(held: Held) -> float:
    back = held.back_error
    return (
        math.log1p(held.seconds_error) ** 2
        + _BYTES_WEIGHT * math.log1p(held.megabytes_error) ** 2
        + _BACK_WEIGHT * math.log1p(back or 0.0) ** 2
    )


def fit(
    cases: Sequence[Case],
    model: Model,
    bounds: dict[str, tuple[float, float]] | None = None,
) -> dict[str, float]:
    """Find the figures.

    :param cases: what was measured.
    :param model: where to begin, and what is not fitted.
    :param bounds: what is fitted, and between what; :data:`BOUNDS`.
    :returns: the figures by their names.
    """
    bounds = BOUNDS if bounds is None else bounds
    figures = {name: getattr(model, name) for name in bounds}

    def error_with(**changes: float) -> float:
        tried = dataclasses.replace(model, **{**figures, **changes})
        return error(hold(cases, tried))

    least = math.inf
    for _ in range(_MOST_ROUNDS):
        before = least
        for name, limits in bounds.items():
            least, figures[name] = _least(
                lambda value, name=name: error_with(**{name: value}),
                limits,
                figures[name],
            )
        if least >= before * (1 - _LEAST_GAIN_SHARE):
            break
    chance = random.Random(0)
    for _ in range(_WALK_STEPS):
        changes = _moved(figures, bounds, chance)
        found = error_with(**changes)
        if found < least:
            least = found
            figures.update(changes)
    return figures


def _moved(
    figures: dict[str, float],
    bounds: dict[str, tuple[float, float]],
    chance: random.Random,
) -> dict[str, float]:
    """Move a few figures a little, within their bounds."""
    names = chance.sample(list(bounds), min(chance.randint(1, 3), len(bounds)))
    return {
        name: rounded(
            min(
                max(
                    figures[name] * math.exp(chance.gauss(0, _WALK_SHARE)),
                    bounds[name][0],
                ),
                bounds[name][1],
            )
        )
        for name in names
    }


def _least(
    function: Callable[[float], float],
    limits: tuple[float, float],
    known: float,
) -> tuple[float, float]:
    """Find where a function is least, on a scale of ratios.

    :param known: a place to look at besides.
    :returns: the least value, and where it is.
    """
    low, high = limits
    step = (high / low) ** (1 / _COARSE_STEPS)
    seen: dict[float, float] = {}

    def look(place: float) -> float:
        place = rounded(place)
        if place not in seen:
            seen[place] = function(place)
        return seen[place]

    look(known)
    for number in range(_COARSE_STEPS + 1):
        look(low * step**number)
    at = min(seen, key=seen.__getitem__)
    a, b = max(low, at / step), min(high, at * step)
    while b / a > 1 + _FINE_SHARE:
        left, right = b * (a / b) ** _GOLDEN, a * (b / a) ** _GOLDEN
        a, b = (a, right) if look(left) <= look(right) else (left, b)
    at = min(seen, key=seen.__getitem__)
    return seen[at], at


def rounded(figure: float) -> float:
    """Round a figure to what is kept of it."""
    return float(f'{figure:.{_DIGITS}g}')
