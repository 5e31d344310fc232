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

"""The example extension of the manual: installed, loaded and used."""

import configparser
import importlib
import json
import pathlib
import shutil
import sys
from typing import Any

import fixtures

from nova_freemem import clock as clocks
from nova_freemem import conf as freemem_conf
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire
from nova_freemem.acquire import free_memory
from nova_freemem.migrate import engine as engines
from nova_freemem.release import watch
from nova_freemem.release.base import EndReason
from nova_freemem.release.base import Phase
from nova_freemem.release.requests import Requests
from nova_freemem.restore import journal
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

EXAMPLES = (
    pathlib.Path(__file__).parents[2] / 'doc/source/contributor/examples'
)


class ExtensionTestCase(base.ConfTestCase):
    """A test with the example installed as pip installs it."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        setup = configparser.ConfigParser()
        setup.read(EXAMPLES / 'setup.cfg')
        for module in setup['options']['py_modules'].split():
            shutil.copy(EXAMPLES / f'{module}.py', self.folder)
            self.addCleanup(sys.modules.pop, module, None)
        self._write_metadata(
            setup['metadata']['name'], setup['options.entry_points']
        )
        self.useFixture(
            fixtures.MonkeyPatch('sys.path', [str(self.folder), *sys.path])
        )
        importlib.invalidate_caches()
        # stevedore remembers what it found in this process.
        self.useFixture(
            fixtures.MonkeyPatch(
                'stevedore.extension.ExtensionManager.ENTRY_POINT_CACHE', {}
            )
        )
        # A guest of 4 GiB, of which 3.5 GiB are free and were used once.
        self.clock = fakes.FakeClock()
        self.domain = fakes.FakeGuest(fakes.SimulatedGuest(self.clock))

    def _write_metadata(
        self, name: str, groups: configparser.SectionProxy
    ) -> None:
        info = self.folder / f'{name.replace("-", "_")}-1.0.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n'
        )
        (info / 'entry_points.txt').write_text(
            '\n'.join(f'[{group}]{groups[group]}' for group in groups)
        )

    def engine(self, text: str) -> engines.Engine:
        """:returns: a host's engine, by an operator's file."""
        conf = self.conf(f'[freemem]\n{text}\n')
        freemem_conf.register_opts(conf)
        return engines.Engine.from_conf(conf, '192.0.2.1')


class SourceTest(ExtensionTestCase):
    """What the collector of the example knows, and what it does not."""

    def setUp(self) -> None:
        super().setUp()
        self.sources = self.engine('acquire = monitoring, guest_agent').sources
        self.useFixture(
            fixtures.MonkeyPatch('freemem_monitoring.FOLDER', self.folder)
        )

    def collect(self, **figures: Any) -> None:
        """Write what a collector writes."""
        known = {
            'at': self.clock.wall() - 1,
            'total_kib': 4 * GIB,
            'free_kib': 2 * GIB,
            'available_kib': 2 * GIB,
        }
        path = self.folder / f'{self.domain.uuid}.json'
        path.write_text(json.dumps(known | figures))

    def ask(self, count: int = 2) -> free_memory.FreeMemory:
        """:returns: what the first of so many sources answers."""
        return acquire.acquire_from(
            self.sources[:count],
            self.domain,
            4 * GIB,
            self.domain.memory_stats(),
            self.clock,
            clocks.Deadline(self.clock, 10),
        )

    def test_it_is_asked_before_the_guest_agent(self) -> None:
        self.collect()
        memory = self.ask()
        self.assertEqual('monitoring', memory.source)
        self.assertEqual(2 * GIB, memory.free_kib)

    def test_the_guest_agent_is_asked_where_it_knows_nothing(self) -> None:
        for figures in (
            {'at': self.clock.wall() - 60},
            {'free_kib': 'plenty'},
            {'total_kib': 8 * GIB},
        ):
            self.collect(**figures)
            self.assertEqual('guest_agent', self.ask().source, figures)

    def test_a_skip_says_what_was_wrong_with_its_file(self) -> None:
        self.collect(at=self.clock.wall() - 60)
        problem = self.assertRaises(
            exceptions.SourceUnavailable, self.ask, count=1
        )
        self.assertIn('.json is 60 s old', str(problem))

    def test_it_is_not_believed_beyond_what_the_driver_reports(self) -> None:
        self.domain.guest.tells = {'free_kib': 100 * MIB}
        self.collect()
        self.assertEqual(100 * MIB, self.ask().free_kib)


class ReleaserTest(ExtensionTestCase):
    def test_a_release_leaves_a_line_for_each_target(self) -> None:
        releaser = self.engine('release = audited_balloon').releaser
        release = watch.Watch(
            releaser, self.domain, journal.Record(self.domain), self.clock
        )
        plan = fakes.make_plan(rss_kib=self.domain.guest.rss_kib)
        release.start(plan)
        ended = release.until_end(
            plan,
            Phase.BEFORE_TRANSFER,
            Requests(),
            clocks.Deadline(self.clock, 120),
        )
        self.assertEqual(EndReason.TARGET_REACHED, ended.end)
        self.assertEqual(3 * GIB, ended.released_kib)
        release.restore(plan.original_kib)
        self.assertEqual(
            [
                'INFO The guest is asked for a size of 1048576 KiB before'
                ' the transfer.',
                'INFO The guest is asked for a size of 4194304 KiB during'
                ' the transfer.',
            ],
            self.log_lines('INFO'),
        )
