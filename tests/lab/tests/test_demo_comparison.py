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

"""What the demo says of two migrations, and of the guest."""

import dataclasses
import io
import json
import unittest

from rich import console

from tests.lab import comparison
from tests.lab import observation
from tests.lab import picture
from tests.lab import records
from tests.lab import witness
from tests.lab.tests import test_observation as observed

WITHOUT = comparison.Run(
    scenario='memory dirtied and freed',
    plugin=False,
    seconds_release=0.0,
    seconds_transfer=29.90041,
    seconds_total=29.90041,
    seconds_restore=0.0,
    bytes_sent=3_400_000_000,
    downtime_ms=140,
    rss_before_kib=3_500_000,
    balloon_before_kib=4_194_304,
    balloon_after_kib=4_194_304,
    guest_intact=True,
)
WITH = dataclasses.replace(
    WITHOUT,
    plugin=True,
    seconds_release=5.0,
    seconds_transfer=2.5,
    seconds_total=8.97012,
    seconds_restore=2.0,
    bytes_sent=221_000_000,
)
DURING = comparison.Beside(
    nova_seconds=33,
    job_bytes=3_390_000_000,
    rss_after_kib=3_450_000,
    cpu_seconds=0.4,
)
FIELDS = (
    'scenario plugin seconds_release seconds_transfer seconds_total'
    ' seconds_restore bytes_sent downtime_ms rss_before_kib'
    ' balloon_before_kib balloon_after_kib guest_intact'
)


def printed(what: object) -> str:
    paper = console.Console(file=io.StringIO(), width=100)
    paper.print(what)
    return paper.file.getvalue()


class ComparisonTest(unittest.TestCase):
    def table(self, with_plugin: comparison.Run) -> str:
        without = (WITHOUT, DURING)
        return printed(comparison.table('two', without, (with_plugin, DURING)))

    def test_the_json_has_exactly_the_promised_fields(self) -> None:
        objects = json.loads(comparison.to_json([WITHOUT, WITH]))
        for one in objects:
            self.assertEqual(FIELDS.split(), list(one))
        self.assertEqual([False, True], [one['plugin'] for one in objects])
        self.assertEqual(8.97, objects[1]['seconds_total'])

    def test_the_headline_says_what_is_left_to_pay(self) -> None:
        line = comparison.headline(WITHOUT, WITH)
        self.assertIn('6.5% of the bytes', line)
        self.assertIn('30.0% of the seconds', line)

    def test_a_release_that_did_not_happen_is_said_in_so_many_words(
        self,
    ) -> None:
        idle = dataclasses.replace(WITH, seconds_release=0.0)
        line = comparison.headline(WITHOUT, idle)
        self.assertIn('Nothing was released', line)

    def test_a_phase_that_did_not_happen_shows_as_a_dash(self) -> None:
        shown = self.table(WITH)
        (release,) = (line for line in shown.splitlines() if 'release' in line)
        self.assertEqual(['-', '5.0'], release.split()[4:7:2])

    def test_memory_that_never_came_back_shows_as_a_dash(self) -> None:
        lost = dataclasses.replace(WITH, seconds_restore=None)
        shown = self.table(lost)
        (restore,) = (line for line in shown.splitlines() if 'restore' in line)
        self.assertEqual(['-', '-'], restore.split()[4:7:2])

    def test_counters_that_agree_are_not_spoken_of(self) -> None:
        self.assertIsNone(comparison.disagreement(WITHOUT, DURING))

    def test_counters_that_disagree_are_named(self) -> None:
        sentence = comparison.disagreement(WITH, DURING)
        self.assertIn('221 MB', sentence)
        self.assertIn('3,390 MB', sentence)


class EventsTest(unittest.TestCase):
    def test_an_event_that_has_not_ended_has_no_time_of_its_end(self) -> None:
        event = records.Event(
            action='live-migration',
            name='compute_freemem_release',
            host='freemem-host1',
            start='2026-01-02T03:04:05.000000',
            finish='2026-01-02T03:04:09.000000',
            result='Success',
        )
        events = [event, event._replace(finish=None, result=None)]
        lines = printed(comparison.events_table('vm', events)).splitlines()
        ended, running = (line for line in lines if 'release' in line)
        self.assertEqual(
            ['03:04:05', '03:04:09', 'Success'], ended.split()[-3:]
        )
        self.assertEqual('03:04:05', running.split()[-1])


class WitnessTest(unittest.TestCase):
    before = witness.Witness(
        boot_id='5e9f',
        checksum=77,
        mismatches=0,
        total_kib=4_020_000,
        balloon_kib=4_194_304,
        definition_kib=4_194_304,
    )

    def after(self, **changed: object) -> witness.Witness:
        return dataclasses.replace(self.before, **changed)

    def test_a_guest_that_worked_on_is_intact(self) -> None:
        self.assertEqual([], witness.changes(self.before, self.after()))
        self.assertEqual([], witness.losses(self.before, self.after()))

    def test_a_guest_that_was_restarted_is_not_intact(self) -> None:
        after = self.after(boot_id='0a11')
        self.assertEqual(1, len(witness.changes(self.before, after)))

    def test_memory_that_changed_is_noticed(self) -> None:
        for wrong in ({'checksum': 78}, {'mismatches': 1}):
            after = self.after(**wrong)
            self.assertEqual(1, len(witness.changes(self.before, after)))

    def test_one_kibibyte_less_is_a_loss(self) -> None:
        for where in ('total_kib', 'balloon_kib', 'definition_kib'):
            after = self.after(**{where: getattr(self.before, where) - 1})
            (sentence,) = witness.losses(self.before, after)
            self.assertIn('KiB before', sentence)


class PictureTest(unittest.TestCase):
    def test_both_migrations_are_drawn_into_a_png(self) -> None:
        runs = []
        for seen in (observed.plain(), observed.shrunk()):
            phases = observation.find(seen, observed.ORIGINAL_KIB)
            runs.append((seen, phases))
        image = io.BytesIO()
        picture.draw(*runs, 'two migrations', image)
        self.assertTrue(image.getvalue().startswith(b'\x89PNG'))
