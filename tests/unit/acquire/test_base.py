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

"""Who is asked, in which order, and which answers count."""

import dataclasses
from unittest import mock

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire
from nova_freemem.virt.memory_stats import MemoryStats
from tests import base
from tests.simulation import fakes
from tests.simulation.fakes import GIB
from tests.simulation.fakes import MIB

PLAUSIBLE = acquire.FreeMemory('first', 4 * GIB, 3 * GIB)


def source(name: str, answer: acquire.FreeMemory | Exception) -> mock.Mock:
    """:returns: a source that answers so."""
    fake = mock.create_autospec(acquire.Source, instance=True)
    fake.name = name
    fake.acquire.side_effect = [answer]
    return fake


class CheckTest(base.TestCase):
    def assert_refused(
        self, problem: str, *figures: object, **more: object
    ) -> None:
        memory = acquire.FreeMemory('agent', *figures, **more)
        error = self.assertRaises(
            exceptions.SourceUnavailable, memory.check, 4 * GIB
        )
        self.assertEqual(f'agent: the guest locks {problem}', str(error))

    def test_figures_that_can_be_are_let_pass(self) -> None:
        for figures, blocks in (
            ((4 * GIB, 3 * GIB), None),
            ((4 * GIB, 0, 0, 0, 0, 0), ()),
            ((1, 1, 1, 1, 1, 1), ((4, 1),)),
            ((4 * GIB, 1, 4 * GIB, 1), ((4096, 1024),)),
        ):
            acquire.FreeMemory('agent', *figures, free_blocks=blocks).check(
                4 * GIB
            )

    def test_a_total_that_cannot_be(self) -> None:
        for total_kib, shown in (
            (0, '0'),
            (-5, '-5'),
            (8 * GIB, '8.38861e+06'),
        ):
            self.assert_refused(
                f'a total of {shown} KiB where at most 4194304 KiB can be',
                total_kib,
                0,
            )

    def test_more_free_than_there_is(self) -> None:
        self.assert_refused(
            'free of 2048 KiB where at most 1024 KiB can be', 1 * MIB, 2 * MIB
        )
        self.assert_refused(
            'free of -1 KiB where at most 1024 KiB can be', 1 * MIB, -1
        )

    def test_more_available_than_there_is(self) -> None:
        self.assert_refused(
            'available of 2048 KiB where at most 1024 KiB can be',
            1 * MIB,
            0,
            2 * MIB,
        )

    def test_more_page_cache_than_there_is(self) -> None:
        self.assert_refused(
            'page cache of 2048 KiB where at most 1024 KiB can be',
            1 * MIB,
            0,
            None,
            2 * MIB,
        )

    def test_more_free_blocks_than_there_is_memory(self) -> None:
        self.assert_refused(
            'free blocks of 4.1984e+06 KiB where at most 4194304 KiB can be',
            4 * GIB,
            0,
            free_blocks=((4096, 1025),),
        )

    def test_more_cold_or_unwritten_cache_than_there_is(self) -> None:
        self.assert_refused(
            'inactive file of 2048 KiB where at most 1024 KiB can be',
            1 * MIB,
            0,
            None,
            None,
            2 * MIB,
        )
        self.assert_refused(
            'unwritten of -1 KiB where at most 1024 KiB can be',
            1 * MIB,
            0,
            None,
            None,
            None,
            -1,
        )

    def test_more_free_and_cold_together_than_there_is(self) -> None:
        # Each can be, both cannot: a guest that claimed it was planned to
        # have less than nothing.
        self.assert_refused(
            'free and cold of 2000 KiB where at most 1024 KiB can be',
            1 * MIB,
            1000,
            None,
            None,
            1000,
            0,
        )

    def test_figures_beyond_all_measure(self) -> None:
        self.assert_refused(
            'a total of 9.22337e+18 KiB where at most 4194304 KiB can be',
            10**400,
            0,
        )
        self.assert_refused(
            'free of -9.22337e+18 KiB where at most 1024 KiB can be',
            1 * MIB,
            -(10**400),
        )


class TwoWitnessesTest(base.TestCase):
    """The agent, and the balloon driver of the same guest."""

    def test_an_agent_of_another_guest_is_not_believed(self) -> None:
        error = self.assertRaises(
            exceptions.SourceUnavailable,
            PLAUSIBLE.beside,
            MemoryStats(4 * GIB, total_kib=2 * GIB),
        )
        self.assertEqual(
            'first: the guest locks a total of 4.1943e+06 KiB and its '
            'balloon driver one of 2.09715e+06 KiB',
            str(error),
        )

    def test_of_two_figures_the_smaller_is_believed(self) -> None:
        claimed = dataclasses.replace(PLAUSIBLE, available_kib=3 * GIB)
        driver = MemoryStats(
            4 * GIB,
            total_kib=4 * GIB - 4,
            free_kib=1 * GIB,
            available_kib=2 * GIB,
        )
        memory = claimed.beside(driver)
        self.assertEqual(
            (1 * GIB, 2 * GIB), (memory.free_kib, memory.available_kib)
        )
        self.assertEqual(
            memory,
            memory.beside(
                dataclasses.replace(
                    driver, free_kib=3 * GIB, available_kib=3 * GIB
                )
            ),
        )

    def test_a_driver_that_tells_nothing_changes_nothing(self) -> None:
        self.assertEqual(
            PLAUSIBLE,
            PLAUSIBLE.beside(MemoryStats(4 * GIB, available_kib=1 * GIB)),
        )


class ColdCacheTest(base.TestCase):
    def cold_cache_kib(
        self, inactive_kib: int | None, unwritten_kib: int | None
    ) -> int:
        return acquire.FreeMemory(
            'agent',
            4 * GIB,
            0,
            inactive_file_kib=inactive_kib,
            unwritten_kib=unwritten_kib,
        ).cold_cache_kib

    def test_what_has_to_be_written_first_is_not_cold(self) -> None:
        self.assertEqual(900 * MIB, self.cold_cache_kib(1000 * MIB, 100 * MIB))
        self.assertEqual(0, self.cold_cache_kib(100 * MIB, 1000 * MIB))

    def test_what_is_not_told_is_not_known_to_be_cold(self) -> None:
        self.assertEqual(0, self.cold_cache_kib(None, 0))
        self.assertEqual(0, self.cold_cache_kib(1000 * MIB, None))


class AskInTurnTest(base.GuestTestCase):
    def ask(
        self, *sources: acquire.Source, deadline_seconds: float = 5
    ) -> acquire.FreeMemory:
        return acquire.acquire_from(
            sources,
            self.domain,
            4 * GIB,
            MemoryStats(4 * GIB),
            self.clock,
            clocks.Deadline(self.clock, deadline_seconds),
        )

    def problem(
        self, *sources: acquire.Source, deadline_seconds: float = 5
    ) -> str:
        return str(
            self.assertRaises(
                exceptions.SourceUnavailable,
                self.ask,
                *sources,
                deadline_seconds=deadline_seconds,
            )
        )

    def test_the_first_that_answers_is_the_last_that_is_asked(self) -> None:
        second = source('second', PLAUSIBLE)
        self.assertEqual(
            PLAUSIBLE, self.ask(source('first', PLAUSIBLE), second)
        )
        second.acquire.assert_not_called()

    def test_silence_and_nonsense_lead_to_the_next(self) -> None:
        for useless in (
            exceptions.SourceUnavailable(source='first', problem='nothing'),
            fakes.libvirt_fault(exceptions.AgentUnresponsive, 'hangs'),
            fakes.libvirt_fault(exceptions.DomainBusy, 'busy'),
            acquire.FreeMemory('first', 8 * GIB, 1),
            acquire.FreeMemory('first', 4 * GIB, -1),
        ):
            self.assertEqual(
                PLAUSIBLE,
                self.ask(
                    source('first', useless), source('second', PLAUSIBLE)
                ),
            )

    def test_why_nobody_answered_is_told_for_each(self) -> None:
        self.assertEqual(
            'no source answered: first: nothing; '
            'second: libvirt could not do this: hangs (error 1)',
            self.problem(
                source(
                    'first',
                    exceptions.SourceUnavailable(
                        source='first', problem='nothing'
                    ),
                ),
                source(
                    'second',
                    fakes.libvirt_fault(exceptions.AgentUnresponsive, 'hangs'),
                ),
            ),
        )

    def test_nobody_is_asked_when_the_time_is_up(self) -> None:
        first = source('first', PLAUSIBLE)
        self.assertEqual(
            'no source answered: first: no time left to ask',
            self.problem(first, deadline_seconds=0),
        )
        first.acquire.assert_not_called()

    def test_who_answers_too_late_might_as_well_be_silent(self) -> None:
        late = source('first', PLAUSIBLE)

        def answer(*_args: object) -> acquire.FreeMemory:
            self.clock.wait(6)
            return PLAUSIBLE

        late.acquire.side_effect = answer
        self.assertEqual(
            'no source answered: first: it answered too late',
            self.problem(late),
        )

    def test_without_sources_nobody_answers(self) -> None:
        self.assertEqual('no source answered: none is set', self.problem())

    def test_a_source_has_to_be_able_to_ask(self) -> None:
        self.assertRaises(TypeError, acquire.Source, 'name', 5)
