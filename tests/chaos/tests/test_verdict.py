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


"""When a guest or its migration counts as lost."""

from __future__ import annotations

from typing import Any

import ddt

from tests import base
from tests.chaos import verdict
from tests.chaos.tests import records as chaos_records
from tests.chaos.tests.records import WHOLE_KIB
from tests.chaos.tests.records import after
from tests.chaos.tests.records import nova

_AWAY = nova(status=None, host=None, migration='error', allocations={})


@ddt.ddt
class VerdictTest(base.TestCase):
    def judge(self, **figures: Any) -> verdict.Verdict:
        return verdict.judge(chaos_records.moved(**figures))

    def test_a_guest_that_arrived_with_everything_is_whole(self) -> None:
        judged = self.judge()
        self.assertEqual(('whole', 'moved'), (judged.word, judged.went))

    @ddt.unpack
    @ddt.data(
        (after(balloon_kib=WHOLE_KIB - 1), 'memory by its balloon'),
        (after(definition_kib=WHOLE_KIB + 4), 'memory at its next start'),
        (after(total_kib=1), 'memory its kernel manages'),
        (
            after(period_seconds=(1, 10)),
            'statistics are updated every (1, 10) s',
        ),
        (after(checksum=18), 'the checksum'),
        (after(mismatches=1), 'found changed 1 times'),
        (after(boot_id='second'), 'the guest was restarted'),
        (after(oom_kills=2), 'killed 2 processes'),
        (None, 'does not answer'),
    )
    def test_a_guest_that_lost_something_is_lost(
        self, now: Any, why: str
    ) -> None:
        judged = self.judge(after=now)
        self.assertEqual('lost', judged.word)
        self.assertIn(why, '; '.join(judged.wrong))

    @ddt.unpack
    @ddt.data(
        ({'journal_entry': True}, 'journal entry is still there'),
        ({'whole_seconds': None}, 'not whole 30 s after'),
        ({'runs_on': ('host1', 'host2')}, 'runs on host1 and host2'),
    )
    def test_memory_that_stays_outstanding_is_a_loss(
        self, figures: dict[str, Any], why: str
    ) -> None:
        self.assertIn(why, '; '.join(self.judge(**figures).wrong))

    def test_a_guest_that_does_not_answer_rightly_keeps_its_entry(
        self,
    ) -> None:
        stuck: dict[str, Any] = {
            'fault': 'server-deleted',
            'phase': 'post-copy',
            'injected_in': ('post-copy', 'post-copy'),
            'after': None,
            'whole_seconds': None,
        }
        alone = chaos_records.moved(**stuck, plugin=False)
        record = chaos_records.moved(**stuck, journal_entry=True)
        self.assertEqual(
            (
                'the guest does not answer',
                'it was not whole 30 s after both hosts had recovered',
                'the server has not been deleted',
            ),
            verdict.judge(record).wrong,
        )
        self.assertEqual(
            'lost without the plugin too', verdict.judge(record, [alone]).word
        )
        back = chaos_records.moved(
            **stuck | {'after': after(), 'journal_entry': True}
        )
        self.assertIn(
            'its journal entry is still there',
            verdict.judge(back, [alone]).wrong,
        )

    def test_a_fault_of_the_guest_alone_lets_the_migration_complete(
        self,
    ) -> None:
        for now in (
            nova(migration='error'),
            nova(status='ERROR'),
            nova(task='migrating'),
            nova(allocations={'server on a': 768, 'migration on b': 768}),
        ):
            self.assertEqual('lost', self.judge(nova=now).word)
            judged = self.judge(nova=now, fault='compute-source')
            self.assertEqual('whole', judged.word)

    def test_an_aborted_migration_leaves_nothing_behind(self) -> None:
        stayed: dict[str, Any] = {'fault': 'abort', 'runs_on': ('host1',)}
        failed = nova(status='ERROR', migration='error')
        judged = self.judge(**stayed, nova=failed)
        self.assertEqual(('whole', 'stayed'), (judged.word, judged.went))
        twice = nova(allocations={'server on a': 768, 'migration on b': 768})
        self.assertEqual('lost', self.judge(**stayed, nova=twice).word)

    def test_a_request_that_nova_refused_changes_nothing(self) -> None:
        refused: dict[str, Any] = {'fault': 'abort', 'refused': 'too late'}
        self.assertEqual('whole', self.judge(**refused).word)
        failed = nova(migration='error')
        self.assertEqual('lost', self.judge(**refused, nova=failed).word)

    def test_a_guest_that_rebooted_by_itself_is_not_lost(self) -> None:
        judged = self.judge(
            fault='guest-reboots', after=after(boot_id='second', oom_kills=0)
        )
        self.assertEqual(
            ('whole', 'moved, restarted'), (judged.word, judged.went)
        )

    def test_a_guest_at_the_source_outlives_the_destinations_qemu(
        self,
    ) -> None:
        again: dict[str, Any] = {
            'fault': 'qemu-destination',
            'after': after(boot_id='second'),
        }
        early = self.judge(**again, phase='transfer')
        late = self.judge(**again, phase='restoring')
        self.assertEqual(('lost', 'missed'), (early.word, late.word))

    def test_a_deleted_server_leaves_nothing_behind(self) -> None:
        gone: dict[str, Any] = {
            'fault': 'server-deleted',
            'runs_on': (),
            'after': None,
        }
        judged = self.judge(**gone, nova=_AWAY)
        self.assertEqual(('whole', 'gone'), (judged.word, judged.went))
        judged = self.judge(**gone)
        self.assertEqual(2, len(judged.wrong), judged.wrong)

    @ddt.unpack
    @ddt.data(
        ({'whole_seconds': None}, 'not whole 30 s after'),
        ({'journal_entry': True}, 'journal entry is still there'),
        ({'after': after(checksum=18)}, 'the checksum'),
        ({'after': after(boot_id='second')}, 'the guest was restarted'),
        ({'after': None}, 'does not answer'),
        ({'nova': nova(migration='error')}, 'the migration is error'),
    )
    def test_what_another_guest_has_lost_counts(
        self, figures: dict[str, Any], why: str
    ) -> None:
        cell: dict[str, Any] = {
            'fault': 'several-abort',
            'runs_on': ('host1',),
            'nova': nova(migration='cancelled'),
        }
        others = (chaos_records.other(), chaos_records.other(**figures))
        judged = self.judge(**cell, others=others)
        self.assertEqual('lost', judged.word)
        (wrong,) = judged.wrong
        self.assertIn('another guest, from host2: ', wrong)
        self.assertIn(why, wrong)
        judged = self.judge(**cell, others=others[:1])
        self.assertEqual('whole', judged.word)

    def test_a_guest_does_not_wait_for_a_fault_that_is_not_its_own(
        self,
    ) -> None:
        landed: dict[str, Any] = {
            'fault': 'others-qemu-destination',
            'phase': 'landed',
            'injected_in': ('landed', 'landed'),
        }
        meanwhile = self.judge(**landed, whole_seconds=12.0)
        self.assertEqual('whole', meanwhile.word)
        afterwards = self.judge(**landed, whole_seconds=47.0)
        self.assertIn('until the end of the fault', *afterwards.wrong)

    def test_an_operation_that_nova_refused_left_the_guest_whole(
        self,
    ) -> None:
        refused = self.judge(fault='rebuild', refused='it is migrating')
        self.assertEqual('whole', refused.word)
        outside: dict[str, Any] = {
            'phase': 'outside',
            'injected_in': ('outside', 'outside'),
            'runs_on': ('host1',),
            'nova': nova(migration=None),
        }
        restored = self.judge(fault='restore-command', **outside)
        self.assertEqual('whole', restored.word)
        again = after(boot_id='second')
        for fault, word in (('rebuild', 'whole'), ('suspend', 'lost')):
            judged = self.judge(fault=fault, after=again, **outside)
            self.assertEqual(word, judged.word)

    def test_what_is_lost_without_the_plugin_too_is_shown_as_that(
        self,
    ) -> None:
        figures: dict[str, Any] = {
            'fault': 'server-deleted',
            'nova': nova(status='ERROR', migration='error'),
            'phase': 'landed',
            'injected_in': ('landed', 'over'),
        }
        plain = [chaos_records.moved(**figures, plugin=False)]
        self.assertEqual('lost', self.judge(**figures).word)
        stays = chaos_records.moved(**figures)
        judged = verdict.judge(stays, plain)
        self.assertEqual(
            (verdict.LOST_WITHOUT, 1),
            (judged.word, len(judged.lost_without)),
        )
        outstanding = chaos_records.moved(**figures, journal_entry=True)
        self.assertEqual('lost', verdict.judge(outstanding, plain).word)

    def test_an_end_no_worse_than_novas_worst_is_whole(
        self,
    ) -> None:
        figures: dict[str, Any] = {'fault': 'broker'}
        error = nova(status='ERROR', migration='error')
        record = chaos_records.moved(**figures, nova=error)
        plain = {
            **figures,
            'plugin': False,
            'phase': 'transfer',
            'injected_in': ('transfer', 'transfer'),
        }
        ends_well = chaos_records.moved(**plain)
        judged = verdict.judge(record, [ends_well])
        self.assertEqual('worse', judged.word)
        self.assertIn('migration error, 1 allocations; without', *judged.worse)
        ends_so = chaos_records.moved(**plain, nova=error)
        for known in ([ends_well, ends_so], []):
            self.assertEqual('whole', verdict.judge(record, known).word)
        well = chaos_records.moved(**figures)
        self.assertEqual('whole', verdict.judge(well, [ends_so]).word)

    def test_an_end_in_another_phase_is_not_compared(self) -> None:
        error = nova(status='ERROR', migration='error')
        record = chaos_records.moved(
            fault='broker', phase='restored', injected_in=('restored', 'over')
        )
        early = chaos_records.moved(
            fault='broker', phase='transfer', plugin=False, nova=error
        )
        self.assertEqual('whole', verdict.judge(record, [early]).word)

    def test_a_fault_that_missed_its_phase_proves_nothing(self) -> None:
        judged = self.judge(injected_in=('transfer', 'transfer'))
        self.assertEqual('missed', judged.word)
        judged = self.judge(outstanding=False)
        self.assertEqual('missed', judged.word)
        judged = self.judge(
            injected_in=('transfer', 'transfer'), journal_entry=True
        )
        self.assertEqual('lost', judged.word)
