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

"""What becomes of a run, as the benchmark goes on."""

from __future__ import annotations

import argparse
import pathlib
from unittest import mock

import fixtures

from tests import base
from tests.bench import __main__ as main
from tests.bench import base as bench_base
from tests.bench import matrix
from tests.bench import methods
from tests.bench import results
from tests.bench import runner
from tests.bench import surroundings
from tests.bench.tests import runs as bench_runs
from tests.lab import network
from tests.lab import room
from tests.lab import steps


class RunsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.patch_autospec(room, 'hosts').return_value = [
            mock.Mock(),
            mock.Mock(),
        ]
        self.patch_autospec(network, 'set_link')
        self.patch_autospec(surroundings, 'describe').return_value = {}
        kit = self.patch_autospec(methods, 'kit')
        kit.return_value.make = dict.fromkeys(matrix.METHODS)
        kit.return_value.bandwidth.return_value = '1000 Mbit/s (configured)'
        self.runs = self.patch_autospec(runner, 'run')

    def bench(self) -> results.Bench:
        """:returns: two rounds of plain and xbzrle."""
        turns = matrix.schedule(bench_runs.FREED, ['plain', 'xbzrle'], 2)
        request = argparse.Namespace(rounds=2, json=self.folder / 'bench.json')
        return main._measure_all(request, list(turns))

    def test_a_method_that_cannot_is_not_asked_again(self) -> None:
        def run(turn: matrix.Turn, *_others: object) -> results.Run:
            if turn.method == 'xbzrle':
                raise bench_base.Unable('libvirt refuses it')
            return bench_runs.run('plain', 30.0, number=turn.round)

        self.runs.side_effect = run
        bench = self.bench()
        self.assertEqual(3, self.runs.call_count)
        self.assertEqual(2, len(bench.runs))
        (unable,) = bench.unable
        self.assertEqual(
            ('xbzrle', 'libvirt refuses it'), (unable.method, unable.why)
        )
        self.assertEqual((), bench.failures)

    def test_a_run_that_fails_is_made_again_in_the_next_round(self) -> None:
        self.runs.side_effect = steps.LabError('boot', 'it has ended')
        bench = self.bench()
        self.assertEqual(4, self.runs.call_count)
        self.assertEqual(4, len(bench.failures))
        self.assertEqual((), bench.unable)
