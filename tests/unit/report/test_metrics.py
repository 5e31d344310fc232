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

"""Prometheus sees what became of this host's migrations, and who waits."""

import datetime
import pathlib

import fixtures
from hypothesis import given
from hypothesis import strategies
from prometheus_client import parser

from nova_freemem.history import Kind
from nova_freemem.history import Record
from nova_freemem.plan.reasons import Reason
from nova_freemem.report import metrics
from tests import base

NOW = datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.UTC)


def release(seconds: float, complete: bool = True) -> Record:
    return Record(NOW, Kind.RELEASE, 'a server', None, 2048, seconds, complete)


class MetricsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.file = self.folder / 'nova_freemem.prom'
        self.metrics = metrics.Metrics(str(self.file))
        self.log = self.useFixture(fixtures.FakeLogger())

    def read(self) -> dict[str, float]:
        """:returns: what Prometheus' own parser finds, but for zeros."""
        return {
            ' '.join((sample.name, *filter(None, sample.labels.values()))): (
                sample.value
            )
            for family in parser.text_string_to_metric_families(
                self.file.read_text()
            )
            for sample in family.samples
            if sample.value
        }

    def test_releases_count_with_what_they_saved_and_what_they_cost(
        self,
    ) -> None:
        for seconds in (3.0, 1.5, -0.5):
            self.metrics.append(release(seconds))
        self.assertEqual(
            {
                'nova_freemem_migrations_total released': 3,
                'nova_freemem_not_sent_bytes_total': 3 * 2048 * 1024,
                'nova_freemem_saved_seconds_total': 4.5,
                'nova_freemem_lost_seconds_total': 0.5,
            },
            self.read(),
        )

    def test_a_transfer_that_failed_has_saved_nothing(self) -> None:
        self.metrics.append(release(3.0, complete=False))
        self.assertEqual(
            {'nova_freemem_migrations_total failed': 1}, self.read()
        )

    def test_each_reason_of_a_skip_counts_on_its_own(self) -> None:
        for reason in ('nothing_free', 'nothing_free', 'no_source'):
            self.metrics.append(Record(NOW, Kind.SKIP, 'a server', reason))
        self.assertEqual(
            {
                'nova_freemem_migrations_total skipped nothing_free': 2,
                'nova_freemem_migrations_total skipped no_source': 1,
            },
            self.read(),
        )

    def test_guests_that_landed_count(self) -> None:
        for complete in (True, False, True):
            self.metrics.append(
                Record(NOW, Kind.RESTORE, 'a server', complete=complete)
            )
        self.assertEqual(
            {
                'nova_freemem_restores_total restored': 2,
                'nova_freemem_restores_total slow': 1,
            },
            self.read(),
        )

    def test_how_many_wait_is_absent_until_it_is_known(self) -> None:
        self.metrics.append(release(1.0))
        self.assertNotIn('outstanding_guests', self.file.read_text())
        for guests in (2, 0):
            self.metrics.outstanding(guests)
            self.assertIn(
                f'nova_freemem_outstanding_guests {guests:.1f}\n',
                self.file.read_text(),
            )

    def test_every_counter_begins_at_zero(self) -> None:
        self.metrics.outstanding(0)
        written = self.file.read_text()
        self.assertEqual({}, self.read())
        for reason in Reason:
            self.assertIn(f'"{reason.name.lower()}"}} 0.0\n', written)

    @given(
        strategies.lists(
            strategies.floats(-1e6, 1e6).map(release), min_size=1, max_size=20
        )
    )
    def test_no_counter_ever_falls(self, records: list[Record]) -> None:
        before: dict[str, float] = {}
        kept = metrics.Metrics(str(self.file))
        for record in records:
            kept.append(record)
            now = self.read()
            for name, value in before.items():
                self.assertGreaterEqual(now[name], value, name)
            before = now

    def test_a_folder_that_is_missing_is_reported_once(self) -> None:
        kept = metrics.Metrics(str(self.folder / 'none' / 'file.prom'))
        for _ in range(2):
            kept.append(release(1.0))
        self.assertEqual(1, self.log.output.count('Could not write'))
        (self.folder / 'none').mkdir()
        kept.append(release(1.0))
        (self.folder / 'none' / 'file.prom').unlink()
        (self.folder / 'none').rmdir()
        kept.append(release(1.0))
        self.assertEqual(2, self.log.output.count('Could not write'))
