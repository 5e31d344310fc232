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

"""The operator sees what the migrations of a host have saved."""

import datetime
import json
import pathlib
from typing import Any

import fixtures
from oslo_config import cfg

from nova_freemem import history as histories
from nova_freemem.history import Kind
from nova_freemem.history import Record
from tests.unit.cli import base

NOW = datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.UTC)
GIB = 1024 * 1024


class ReportTest(base.CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.conf = self.folder / 'nova.conf'
        self.conf.write_text(f'[DEFAULT]\nstate_path = {self.folder}\n')
        self.history = histories.History(str(self.folder))

    def remember(self, kind: Kind, days: int = 0, **outcome: Any) -> None:
        at = NOW + datetime.timedelta(days=days)
        self.history.append(Record(at, kind, 'a server', **outcome))

    def remember_a_drain(self) -> None:
        for gib, seconds in ((3, 20.0), (2, -0.5)):
            self.remember(
                Kind.RELEASE,
                not_sent_kib=gib * GIB,
                seconds=seconds,
                complete=True,
            )
        self.remember(
            Kind.RELEASE, not_sent_kib=GIB, seconds=9.0, complete=False
        )
        for reason in ('nothing_free', 'no_balloon', 'nothing_free'):
            self.remember(Kind.SKIP, reason=reason)
        for complete in (True, True, False):
            self.remember(Kind.RESTORE, complete=complete)

    def report(self, *words: str) -> int:
        return self.run_command(
            'report', '--config-file', str(self.conf), *words
        )

    def rows(self, *words: str) -> list[list[Any]]:
        self.assertEqual(0, self.report('-f', 'json', *words))
        return [list(row.values()) for row in json.loads(self.out)]

    def test_migrations_are_counted_and_savings_summed(self) -> None:
        self.remember_a_drain()
        self.assertEqual(
            [
                ['released', None, 2, 5.0, 19.5],
                ['failed', None, 1, None, None],
                ['skipped', 'no_balloon', 1, None, None],
                ['skipped', 'nothing_free', 2, None, None],
                ['restored', None, 2, None, None],
                ['slow', None, 1, None, None],
                ['total', None, 6, 5.0, 19.5],
            ],
            self.rows(),
        )
        self.assertEqual('', self.err)

    def test_files_in_a_folder_of_configuration_count(self) -> None:
        self.remember_a_drain()
        folder = self.folder / 'nova.conf.d'
        folder.mkdir()
        self.conf.rename(folder / 'last.conf')
        self.conf.write_text('[DEFAULT]\nstate_path = /nowhere\n')
        self.assertEqual(6, self.rows('--config-dir', str(folder))[-1][2])

    def test_people_and_spreadsheets_get_the_same(self) -> None:
        self.remember_a_drain()
        self.assertEqual(0, self.report())
        self.assertRegex(self.out, r'total +\| n/a +\| +6 \| +5.0 \| +19.5 ')
        self.assertEqual(0, self.report('-f', 'csv'))
        self.assertIn('"total","n/a",6,5.0,19.5\n', self.out)

    def test_what_was_before_is_left_out(self) -> None:
        for days in (0, 1, 2):
            self.remember(Kind.SKIP, days, reason='nothing_free')
        for since, count in (
            ('2026-11-01', 3),
            ('2026-11-03T08:00Z', 2),
            ('2026-11-03T08:00:00+01:00', 2),
            ('2026-11-03 08:00:01Z', 1),
            ('2030-01-01', 0),
        ):
            self.assertEqual(count, self.rows('--since', since)[-1][2], since)

    def test_a_time_that_is_none_is_refused(self) -> None:
        for since in ('yesterday', '', '0001-01-01T00:00+23:59'):
            self.assertEqual(2, self.report('--since', since), since)
            self.assertIn('is not a time such as 2026-11-20', self.err)

    def test_a_host_without_history_is_one_line(self) -> None:
        self.assertEqual([['total', None, 0, 0.0, 0.0]], self.rows())
        self.assertIn(f'there is no history in {self.folder}', self.err)
        self.assertEqual(1, len(self.err.splitlines()))

    def test_lines_that_cannot_be_read_are_counted(self) -> None:
        self.remember_a_drain()
        with (self.folder / histories.FILE).open('a') as file:
            file.write('{"at')
        self.assertEqual(6, self.rows()[-1][2])
        self.assertRegex(self.err, '^nova-freemem: 1 lines of the history in')

    def assert_refused(self, *words: str) -> None:
        self.assertEqual(2, self.report())
        (line,) = self.err.splitlines()
        for word in words:
            self.assertIn(word, line)
        self.assertEqual('', self.out)

    def test_a_folder_or_file_that_cannot_be_read_is_one_line(self) -> None:
        (self.folder / histories.FILE).mkdir()
        self.assert_refused(histories.FILE)
        self.conf.write_text('[DEFAULT]\nstate_path = /nowhere\n')
        self.assert_refused('/nowhere')

    def test_a_configuration_that_does_not_tell_is_one_line(self) -> None:
        self.conf.write_text('[DEFAULT]\n')
        self.assert_refused('no state_path')
        self.conf.write_text('[DEFAULT\n')
        self.assert_refused('cannot be read')
        self.conf.unlink()
        self.assert_refused('nova.conf')

    def test_a_host_without_nova_conf_is_one_line(self) -> None:
        for name in ('find_config_files', 'find_config_dirs'):
            self.patch_autospec(cfg, name, return_value=[])
        self.assertEqual(2, self.run_command('report'))
        self.assertIn('there is no nova.conf', self.err)
