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

"""Which source is asked, in which order, and which answers count."""

from unittest import mock

from nova_freemem import clock as clocks
from nova_freemem import exceptions
from nova_freemem.acquire import base as acquire
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.virt.memory_stats import MemoryStats
from tests.simulation import fakes
from tests.simulation.base import GuestTestCase
from tests.simulation.fakes import GIB

PLAUSIBLE = FreeMemory('first', 4 * GIB, 3 * GIB)


def source(name: str, answer: FreeMemory | Exception) -> mock.Mock:
    """:returns: a source that answers so."""
    fake = mock.create_autospec(acquire.Source, instance=True)
    fake.name = name
    fake.acquire.side_effect = [answer]
    return fake


class AcquireFromTest(GuestTestCase):
    def ask(
        self, *sources: acquire.Source, deadline_seconds: float = 5
    ) -> FreeMemory:
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

    def test_without_a_plausible_answer_the_next_is_asked(self) -> None:
        for useless in (
            exceptions.SourceUnavailable(source='first', problem='nothing'),
            fakes.libvirt_error(exceptions.AgentUnresponsive, 'hangs'),
            FreeMemory('first', 8 * GIB, 1),
            FreeMemory('first', 4 * GIB, -1),
        ):
            self.assertEqual(
                PLAUSIBLE,
                self.ask(
                    source('first', useless), source('second', PLAUSIBLE)
                ),
            )

    def test_while_another_job_has_the_guest_the_next_is_not_asked(
        self,
    ) -> None:
        busy = fakes.libvirt_error(exceptions.DomainBusy, 'busy')
        second = source('second', PLAUSIBLE)
        self.assertRaises(
            exceptions.DomainBusy, self.ask, source('first', busy), second
        )
        second.acquire.assert_not_called()

    def test_the_error_says_for_each_source_why(self) -> None:
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
                    fakes.libvirt_error(exceptions.AgentUnresponsive, 'hangs'),
                ),
            ),
        )

    def test_no_source_is_asked_after_the_deadline(self) -> None:
        first = source('first', PLAUSIBLE)
        self.assertEqual(
            'no source answered: first: no time left to ask',
            self.problem(first, deadline_seconds=0),
        )
        first.acquire.assert_not_called()

    def test_an_answer_after_the_deadline_is_not_used(self) -> None:
        late = source('first', PLAUSIBLE)

        def answer(*_args: object) -> FreeMemory:
            self.clock.wait(6)
            return PLAUSIBLE

        late.acquire.side_effect = answer
        self.assertEqual(
            'no source answered: first: it answered too late',
            self.problem(late),
        )

    def test_without_sources_there_is_no_answer(self) -> None:
        self.assertEqual(
            'no source answered: none is configured', self.problem()
        )

    def test_a_source_has_to_be_able_to_ask(self) -> None:
        self.assertRaises(TypeError, acquire.Source, 'name', 5)
