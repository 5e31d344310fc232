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

"""Made-up runs of a benchmark and errors of libvirt, for its tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import libvirt

from tests.bench import matrix
from tests.bench import results

FREED = matrix.Cell('freed', False, 1000)
HOT = matrix.Cell('cache-hot', False, 1000)

_DEFAULTS: dict[str, Any] = {
    'delay_seconds': 0.1,
    'bytes_sent': 400_000_000,
    'downtime_ms': 120,
    'rss_before_kib': 3_500_000,
    'rss_after_kib': 600_000,
    'balloon_before_kib': 4_194_304,
    'balloon_after_kib': 4_194_304,
    'back_seconds': 2.0,
    'oom_kills': 0,
    'swapped_out_pages': 0,
    'refaulted_pages': 0,
    'pace': results.Pace(before=100e6, during=60e6, after=98e6),
    'work': ((-1.25, 60e6), (0.25, 98e6)),
    'cpu_seconds': 0.05,
    'load': 0.6,
    'wrong': (),
    'told': ('Skipping memory release: nothing is free.',),
}


def run(
    method: str,
    seconds: float,
    cell: matrix.Cell = FREED,
    number: int = 1,
    **figures: Any,
) -> results.Run:
    """:returns: a run with some of its figures chosen."""
    return results.Run(
        scenario=cell.scenario,
        reporting=cell.reporting,
        migration_bandwidth_mbps=cell.migration_bandwidth_mbps,
        method=method,
        round=number,
        seconds=seconds,
        **{**_DEFAULTS, **figures},
    )


def bench(
    runs: Iterable[results.Run],
    failures: Iterable[results.Failure] = (),
    rounds: int = 3,
    unable: Iterable[results.Failure] = (),
) -> results.Bench:
    """:returns: a benchmark of these runs."""
    return results.Bench(
        started='2026-01-02T03:04:05+00:00',
        seconds=600.0,
        memory_mib=4096,
        rounds=rounds,
        machine={'guests run by': 'emulation (TCG)', 'Nova': '34.0.0'},
        assumed_bandwidths={'1 Gb/s': '1000 Mbit/s configured'},
        runs=tuple(runs),
        failures=tuple(failures),
        unable=tuple(unable),
    )


def three_rounds() -> results.Bench:
    """:returns: plain at 30 s and auto at 6 s, with one slow round each."""
    plain, auto = (29.0, 30.0, 40.0), (6.0, 5.0, 20.0)
    return bench(
        run(method, seconds, number=number)
        for method, all_seconds in (('plain', plain), ('auto', auto))
        for number, seconds in enumerate(all_seconds, 1)
    )


def libvirt_error(code: int) -> libvirt.libvirtError:
    """:returns: an error as libvirt raises it."""
    error = libvirt.libvirtError('made up')
    error.err = (code, 0, 'made up', 0, '', None, None, 0, 0)
    return error
