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

"""Find the parameters that bring the simulation nearest to a benchmark; pure.

Time in the simulation comes in steps, so that the error has no slope and more
than one valley, and parameters depend on each other (a larger bandwidth and a
later start of the transfer). The downhill simplex of Nelder and Mead asks for
no slope and moves all parameters at once; it is the same each time.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import math

import numpy as np
from scipy import optimize

from tests.bench.capture import Case
from tests.simulation.model import GIB
from tests.simulation.model import MIB
from tests.simulation.model import Model
from tests.simulation.replay import Replay

#: What is fitted, and between which bounds: by the names of :class:`Model`.
BOUNDS: dict[str, tuple[float, float]] = {
    'before_job_seconds': (0.1, 3.0),
    'bandwidth_share': (0.5, 1.0),
    'inflate_kib_per_second': (100 * MIB, 4 * GIB),
    'reclaim_kib_per_second': (50 * MIB, 4 * GIB),
    'look_kib_per_second': (0.25 * GIB, 16 * GIB),
    'busy_balloon_share': (0.2, 1.0),
    'busy_bandwidth_share': (0.5, 1.0),
    'far_end_share': (0.05, 1.0),
    'deflate_kib_per_second': (100 * MIB, 8 * GIB),
}

# The seconds are what the plugin is about; what is sent, and how long it takes
# to restore memory, follow from more than the model knows.
_BYTES_WEIGHT = 0.5
_BACK_WEIGHT = 0.5

# The search is over the logarithms of the parameters. It begins with each of
# them moved by this much, and ends when all that it compares lie this close.
_FIRST_STEP = 0.3
_LAST_STEP = 0.01
_LEAST_GAIN = 1e-6
_MOST_TRIALS = 1500

# Parameters are kept to this many digits.
_DIGITS = 3


@dataclasses.dataclass(frozen=True)
class Held:
    """A case, measured and simulated."""

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
        """How far the seconds until all memory is restored are off."""
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
    """Measure how far a simulation is off: the mean of squared log ratios."""
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
    """Find the parameters.

    :param cases: what was measured.
    :param model: where to begin, and what is not fitted.
    :param bounds: what is fitted, and between what; :data:`BOUNDS`.
    :returns: the parameters by their names.
    """
    bounds = BOUNDS if bounds is None else bounds

    def parameters(point: Sequence[float]) -> dict[str, float]:
        values = map(rounded, np.exp(point))
        return dict(zip(bounds, values, strict=True))

    def error_at(point: Sequence[float]) -> float:
        tried = dataclasses.replace(model, **parameters(point))
        return error(hold(cases, tried))

    low, high = np.log(list(bounds.values())).T
    start = np.log([getattr(model, name) for name in bounds])
    # Away from the nearer bound, so that each is really moved.
    steps = np.where(start < (low + high) / 2, _FIRST_STEP, -_FIRST_STEP)
    found = optimize.minimize(
        error_at,
        start,
        method='Nelder-Mead',
        bounds=list(zip(low, high, strict=True)),
        options={
            'adaptive': True,
            'initial_simplex': [start, *(start + np.diag(steps))],
            'xatol': _LAST_STEP,
            'fatol': _LEAST_GAIN,
            'maxfev': _MOST_TRIALS,
        },
    )
    return parameters(found.x)


def rounded(parameter: float) -> float:
    """Round a parameter to the digits that are kept."""
    return float(f'{parameter:.{_DIGITS}g}')
