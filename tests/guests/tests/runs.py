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

"""Made-up runs, for the tests of their figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.guests import results

_DEFAULTS: dict[str, Any] = {
    'round': 1,
    'killed': 0,
    'failed_allocations': 0,
    'swapped_out_kib': 0,
    'refaulted_kib': 512,
    'stalls': 0,
    'throughput_before': 100.0,
    'throughput_during': 80.0,
    'throughput_after': 100.0,
    'p99_ms_before': 10.0,
    'p99_ms_during': 25.0,
    'p99_ms_after': 10.0,
    'seconds': 16.0,
    'bytes_sent': 2_000_000_000,
    'downtime_ms': 120,
    'work': ((-20.5, 100.0), (-10.5, 80.0), (0.5, 95.0)),
    'load': 0.6,
    'harm': (),
    'wrong': (),
    'told': (),
}


def run(method: str, case: str = 'postgresql', **figures: Any) -> results.Run:
    """:returns: a run with some of its figures chosen."""
    return results.Run(case=case, method=method, **{**_DEFAULTS, **figures})


def guests(runs: Iterable[results.Run]) -> results.Guests:
    """:returns: a measurement of these runs."""
    found = results.Guests(
        started='2026-01-02T03:04:05+00:00',
        seconds=600.0,
        rounds=1,
        machine={'guests run by': 'emulation (TCG)', 'Nova': '34.0.0'},
    )
    for one in runs:
        found = found.with_run(one)
    return found


def both(**figures: Any) -> results.Guests:
    """:returns: a plain run, and one of the plugin with figures chosen."""
    return guests(
        [
            run('plain'),
            run('freemem', **{'bytes_sent': 900_000_000, **figures}),
        ]
    )
