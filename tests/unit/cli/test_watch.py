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

"""The operator looks at the migrations of a host while they run."""

import argparse
import io

from rich import console

from nova_freemem import exceptions
from nova_freemem.cli import watch
from nova_freemem.cli.watch import Row
from nova_freemem.cli.watch import Sample
from nova_freemem.virt.guest import Outgoing
from nova_freemem.virt.memory_stats import MemoryStats
from nova_freemem.virt.transfer_progress import TransferProgress
from tests import base as tests_base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB
from tests.unit.cli import base
from tests.unit.cli.base import OTHER_UUID
from tests.unit.cli.base import UUID

ENTRY = fakes.make_entry()
SMALL = MemoryStats(actual_kib=1 * GIB, rss_kib=900 * MIB)
SENDING = Sample(
    10.0,
    Outgoing.SENDING_MEMORY,
    entry=ENTRY,
    is_from_here=True,
    stats=SMALL,
    progress=TransferProgress(sent_kib=100 * MIB, remaining_kib=800 * MIB),
)


def sending(at_seconds: float, sent_mib: int, remaining_mib: int) -> Sample:
    progress = TransferProgress(sent_mib * MIB, remaining_mib * MIB)
    return Sample(
        at_seconds,
        Outgoing.SENDING_MEMORY,
        entry=ENTRY,
        is_from_here=True,
        stats=SMALL,
        progress=progress,
    )


class RowTest(tests_base.TestCase):
    """From what was seen to what is shown."""

    def cells(self, before: Sample | None, now: Sample) -> tuple[str, ...]:
        row = watch.make_row(before, now)
        assert row is not None
        return row.cells()

    def test_a_transfer_shows_how_fast_it_is_and_when_it_ends(self) -> None:
        self.assertEqual(
            (
                *('out', 'transferring', '1024 of 4096', '900'),
                *('200', '839', '7'),
            ),
            self.cells(sending(10, 100, 800), sending(11, 200, 700)),
        )

    def test_the_first_look_knows_no_bandwidth(self) -> None:
        self.assertEqual(('100', 'n/a', 'n/a'), self.cells(None, SENDING)[-3:])

    def test_neither_does_one_at_another_transfer_or_at_the_same_time(
        self,
    ) -> None:
        for before in (sending(9, 900, 1), sending(10, 50, 1)):
            row = watch.make_row(before, SENDING)
            self.assertIsNone(row.kib_per_second)

    def test_a_transfer_that_stands_still_has_no_end(self) -> None:
        cells = self.cells(sending(10, 100, 800), sending(11, 100, 800))
        self.assertEqual(('0', 'n/a'), cells[-2:])

    def phase(self, now: Sample, before: Sample | None = None) -> object:
        row = watch.make_row(before, now)
        return None if row is None else (row.direction, row.phase)

    def test_each_step_of_a_migration_has_its_words(self) -> None:
        larger = MemoryStats(actual_kib=2 * GIB)
        for sample, words in (
            (Sample(1), None),
            (Sample(1, stats=SMALL), None),
            (Sample(1, is_arriving=True), ('in', 'arriving')),
            (
                Sample(1, entry=ENTRY, is_from_here=True, stats=SMALL),
                ('out', 'releasing'),
            ),
            (Sample(1, Outgoing.STARTING), ('out', 'starting the transfer')),
            (Sample(1, Outgoing.COPYING_DISKS), ('out', 'copying disks')),
            (SENDING, ('out', 'transferring')),
            (Sample(1, entry=ENTRY, stats=SMALL), ('in', 'restoring')),
            (
                Sample(2, entry=ENTRY, is_from_here=True, stats=larger),
                ('out', 'restoring'),
            ),
        ):
            before = Sample(0, entry=ENTRY, is_from_here=True, stats=SMALL)
            self.assertEqual(words, self.phase(sample, before))

    def test_what_is_not_known_is_shown_as_such(self) -> None:
        self.assertEqual(('n/a',) * 5, Row('in', 'arriving').cells()[2:])

    def test_a_table_has_a_row_for_each_guest(self) -> None:
        shown = console.Console(file=io.StringIO(), width=200)
        shown.print(
            watch.make_table([(UUID, watch.make_row(None, SENDING))], 200)
        )
        text = shown.file.getvalue()
        for words in (UUID, 'left seconds', 'transferring', '1024 of 4096'):
            self.assertIn(words, text)

    def test_eighty_columns_have_room_for_all_of_it(self) -> None:
        shown = console.Console(file=io.StringIO(), width=80)
        row = watch.make_row(sending(10, 100, 800), sending(11, 200, 700))
        shown.print(watch.make_table([(UUID, row)], 80))
        text = shown.file.getvalue()
        for word in ('transferring', '1024', '4096', '900', '839', 'seconds'):
            self.assertIn(word, text)
        self.assertNotIn('…', text)


class WatchTest(base.CommandTestCase):
    def lines(self) -> list[str]:
        """:returns: what was printed, without the time."""
        return [line.partition(' ')[2] for line in self.out.splitlines()]

    def test_a_host_without_migrations_is_one_line(self) -> None:
        self.add_guest().metadata = None
        self.assertEqual(0, self.run_command('watch'))
        self.assertEqual(
            'No guest of this host is being migrated.\n', self.out
        )

    def test_a_line_each_second_until_nothing_has_run_for_a_while(
        self,
    ) -> None:
        guest = self.add_guest()
        began_at = self.clock.now()
        self.clock.after(2.5, lambda: setattr(guest, 'metadata', None))
        self.assertEqual(0, self.run_command('watch'))
        self.assertEqual(
            [
                f"{UUID} direction='in' phase='restoring' has_mib='1024 of "
                "4096' resident_mib='n/a' sent_mib='n/a' "
                "mbps='n/a' left_seconds='n/a'"
            ]
            * 3,
            [
                line.replace(self.resident(line), 'n/a')
                for line in self.lines()
            ],
        )
        self.assertLess(self.clock.now() - began_at, 15)

    def resident(self, line: str) -> str:
        return line.partition("resident_mib='")[2].partition("'")[0]

    def test_it_goes_on_until_it_is_interrupted(self) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        self.clock.after(100, interrupt)
        self.assertEqual(0, self.run_command('watch', '--follow'))
        self.assertGreaterEqual(self.clock.now(), 100)

    def test_one_server_can_be_watched(self) -> None:
        for uuid in (UUID, OTHER_UUID):
            guest = self.add_guest(uuid)
            self.clock.after(
                1.5, lambda guest=guest: setattr(guest, 'metadata', None)
            )
        self.assertEqual(0, self.run_command('watch', UUID, '--interval', '1'))
        self.assertEqual(
            {UUID}, {line.partition(' ')[0] for line in self.lines()}
        )

    def test_a_server_that_is_not_here_is_one_line(self) -> None:
        self.assertEqual(1, self.run_command('watch', UUID))
        self.assertEqual(1, len(self.err.splitlines()))
        self.assertEqual('', self.out)

    def test_a_guest_that_leaves_meanwhile_does_not_hide_the_others(
        self,
    ) -> None:
        self.add_guest(UUID)
        guest = self.add_guest(OTHER_UUID)
        self.clock.after(0.5, lambda: setattr(guest, 'metadata', None))
        self.patch_autospec(
            self.host.domains[UUID],
            'outgoing_migration',
            side_effect=fakes.libvirt_error(exceptions.DomainGone, 'gone'),
        )
        self.assertEqual(0, self.run_command('watch'))
        self.assertEqual([OTHER_UUID], [line[:36] for line in self.lines()])

    def test_an_entry_that_cannot_be_read_is_none(self) -> None:
        guest = self.add_guest()
        guest.metadata = base.UNREADABLE
        guest.transferred_kib = 4 * MIB
        sample = watch.take_sample(
            self.host.domains[UUID], 'host1', self.clock
        )
        self.assertIsNone(sample.entry)
        self.assertEqual(Outgoing.SENDING_MEMORY, sample.outgoing)
        self.assertEqual(4 * MIB, sample.progress.sent_kib)

    def test_a_guest_that_arrives_is_asked_nothing_more(self) -> None:
        guest = self.add_guest()
        guest.host = 'another'
        domain = self.host.domains[UUID]
        sample = watch.take_sample(domain, 'host1', self.clock)
        self.assertTrue(sample.is_arriving)
        self.assertEqual([], domain.called('memory_stats'))

    def test_libvirt_that_fails_is_one_line(self) -> None:
        self.host.fault = fakes.libvirt_error(
            exceptions.LibvirtError, 'no connection'
        )
        self.assertEqual(1, self.run_command('watch'))
        self.assertIn('no connection', self.err)

    def test_an_interval_that_is_none_is_refused(self) -> None:
        for interval in ('0', '-1', '3601', 'often'):
            self.assertEqual(
                2, self.run_command('watch', '--interval', interval)
            )
        self.assertRaises(argparse.ArgumentTypeError, watch.interval, '0')

    def test_on_a_terminal_it_is_a_table(self) -> None:
        guest = self.add_guest()
        self.clock.after(0.5, lambda: setattr(guest, 'metadata', None))
        terminal = _Terminal()
        self.patch(io, 'StringIO', lambda: terminal)
        self.assertEqual(0, self.run_command('watch'))
        self.assertIn('restoring', self.out)
        self.assertNotIn("phase='", self.out)


class _Terminal(io.StringIO):
    """What is printed to, as if it were a terminal."""

    def isatty(self) -> bool:
        return True
