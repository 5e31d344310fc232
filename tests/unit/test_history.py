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

"""What became of migrations is kept, whatever becomes of the disk."""

import datetime
import os
import pathlib
import threading

import fixtures
from hypothesis import given
from hypothesis import strategies

from nova_freemem import history as histories
from nova_freemem.history import Kind
from nova_freemem.history import Record
from tests import base

NOW = datetime.datetime(2026, 11, 2, 8, tzinfo=datetime.UTC)
RELEASE = Record(NOW, Kind.RELEASE, 'a server', None, 1024, -1.5, True)
SKIP = Record(NOW, Kind.SKIP, 'a server', 'nothing_free')


def later(record: Record, seconds: float) -> Record:
    at = record.at + datetime.timedelta(seconds=seconds)
    return Record(at, record.kind, record.server, record.reason)


class HistoryTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.file = self.folder / histories.FILE
        self.older = self.folder / histories.OLDER
        self.history = histories.History(str(self.folder))

    def read(self) -> tuple[list[Record], int]:
        return histories.read(str(self.folder))

    def test_what_is_written_is_read(self) -> None:
        for record in (RELEASE, SKIP):
            self.history.append(record)
        self.assertEqual(([RELEASE, SKIP], 0), self.read())

    def test_nothing_written_is_an_empty_history(self) -> None:
        self.assertEqual(([], 0), self.read())

    def test_a_torn_line_tears_no_other(self) -> None:
        self.history.append(SKIP)
        with self.file.open('a') as file:
            file.write(RELEASE.to_line()[:40])
        self.history.append(RELEASE)
        self.assertEqual(([SKIP, RELEASE], 1), self.read())

    def test_lines_that_are_no_records_are_left_out(self) -> None:
        for line in (
            '[]',
            '{"at": "yesterday", "kind": "skip", "server": ""}',
            SKIP.to_line().replace('skip', 'dance'),
            SKIP.to_line().replace('+00:00', ''),
            SKIP.to_line().replace('reason', 'because'),
            RELEASE.to_line().replace('1024', '"much"'),
            RELEASE.to_line().replace('-1.5', 'NaN'),
            '[' * 100000,
            '\0',
        ):
            self.file.write_text(f'{line}\n')
            self.assertEqual(([], 1), self.read(), line[:80])

    def test_fields_of_a_later_version_are_ignored(self) -> None:
        line = SKIP.to_line().replace('{', '{"more": 1, ')
        self.assertEqual(SKIP, Record.from_line(line))

    @given(strategies.text(max_size=200))
    def test_no_line_breaks_the_report(self, line: str) -> None:
        try:
            Record.from_line(line)
        except ValueError:
            return

    def test_it_is_bounded_and_keeps_the_newest(self) -> None:
        self.patch(histories, 'MOST_BYTES', 1000)
        records = [later(SKIP, number) for number in range(50)]
        for record in records:
            self.history.append(record)
        for file in (self.file, self.older):
            self.assertLess(file.stat().st_size, 1200)
        kept, _ = self.read()
        self.assertGreater(len(kept), 8)
        self.assertEqual(records[-len(kept) :], kept)

    def test_another_process_that_writes_meanwhile_loses_nothing(self) -> None:
        self.patch(histories, 'MOST_BYTES', 500)
        other = histories.History(str(self.folder))
        opened = os.open
        seen = []

        def open_and_let_the_other_fill_it(*args: object) -> int:
            descriptor = opened(*args)
            if not seen:
                seen.append(True)
                while not self.older.exists():
                    other.append(SKIP)
            return descriptor

        self.patch(os, 'open', open_and_let_the_other_fill_it)
        self.history.append(RELEASE)
        records, unreadable = self.read()
        self.assertIn(RELEASE, records)
        self.assertEqual(0, unreadable)
        self.assertGreater(self.older.stat().st_size, 500)

    def test_threads_of_two_computes_write_whole_lines(self) -> None:
        def write() -> None:
            history = histories.History(str(self.folder))
            for _ in range(200):
                history.append(SKIP)

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(([SKIP] * 600, 0), self.read())

    def test_a_missing_folder_is_one_warning(self) -> None:
        history = histories.History(str(self.folder / 'none'))
        history.append(SKIP)
        history.append(SKIP)
        (line,) = self.log_lines('WARNING')
        self.assertIn('none/nova-freemem-history.jsonl', line)

    def test_a_full_disk_is_one_warning_each_time_it_is_full(self) -> None:
        write = os.write
        full = self.patch_autospec(
            os, 'write', side_effect=OSError(28, 'No space left on device')
        )
        self.history.append(SKIP)
        self.history.append(SKIP)
        full.side_effect = write
        self.history.append(SKIP)
        full.side_effect = lambda file, data: write(file, data[:10])
        self.history.append(SKIP)
        self.assertEqual(2, len(self.log_lines('WARNING')))
        full.side_effect = write
        self.history.append(RELEASE)
        self.assertEqual(([SKIP, RELEASE], 1), self.read())
