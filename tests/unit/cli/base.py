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

"""The operator's command, run on a fake host."""

from collections.abc import Callable
import contextlib
import io
from typing import Any

from nova_freemem import clock as clocks
from nova_freemem.cli import main
from nova_freemem.virt import host as hosts
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB

UUID = fakes.UUID
OTHER_UUID = '7d9b6a39-05a5-4f2c-a4d3-56b77be1c4b2'
UNREADABLE = '<outstanding format="2" original_kib="1"/>'


class CommandTestCase(base.TestCase):
    """A host with the guests that a test adds."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = fakes.FakeClock()
        self.host = fakes.FakeHost()
        self.patch_autospec(clocks, 'Clock', return_value=self.clock)
        self.connect = self.patch_autospec(
            hosts.Host, 'at', return_value=self.host
        )

    def add_guest(
        self, uuid: str = UUID, **behaviour: Any
    ) -> fakes.SimulatedGuest:
        """:returns: a guest with 3 of 4 GiB outstanding."""
        guest = fakes.SimulatedGuest(self.clock, **behaviour)
        guest.metadata = fakes.make_entry().to_xml()
        guest.actual_kib = guest.target_kib = guest.definition_kib = 1 * GIB
        guest.touched_kib = 0
        guest.stats_period_seconds = 1
        self.host.domains[uuid] = fakes.FakeGuest(guest, 'source', uuid)
        return guest

    def run_command(self, *words: str) -> int:
        """:returns: the exit code; what it printed is kept."""
        code = self.run_main(main.main, *words)
        self.assertNotIn('Traceback', self.out + self.err)
        return code

    def run_main(
        self, function: Callable[[tuple[str, ...]], int], *words: str
    ) -> int:
        """:returns: the exit code of a program; what it printed is kept."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = function(words)
            except SystemExit as end:  # by argparse, or after a help
                code = end.code or 0
        self.out, self.err = out.getvalue(), err.getvalue()
        return code

    def assert_restored(self, guest: fakes.SimulatedGuest) -> None:
        self.assertEqual(
            (0, None, 4 * GIB, 10, 10),
            (
                guest.missing_kib,
                guest.metadata,
                guest.definition_kib,
                guest.stats_period_seconds,
                guest.definition_stats_period_seconds,
            ),
        )
