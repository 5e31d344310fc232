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


"""A few hundred hostile guests for each target; tools/fuzz.sh has millions."""

from collections.abc import Callable
import logging
import pathlib
import subprocess
import sys
from typing import Any

import ddt
import fixtures
import hypothesis
from hypothesis import strategies
import libvirt

from nova_freemem import exceptions
from nova_freemem.acquire import balloon_stats
from nova_freemem.acquire import meminfo
from nova_freemem.acquire import ranges
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.plan import eligibility
from nova_freemem.plan import planner
from nova_freemem.release import balloon
from nova_freemem.restore import journal
from nova_freemem.restore import reconciler
from nova_freemem.virt import guest as guests
from tests import base
from tests.fuzz import __main__ as command
from tests.fuzz import choices as fuzz_choices
from tests.fuzz import handle
from tests.fuzz import oracle
from tests.fuzz import run
from tests.fuzz import script
from tests.fuzz import targets

edits = strategies.lists(
    strategies.tuples(
        strategies.integers(0, 5000),
        strategies.integers(0, 40),
        strategies.binary(max_size=40),
    ),
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """:returns: data with parts of it replaced."""
    for position, length, instead in changes:
        position %= len(data) + 1
        data = data[:position] + instead + data[position + length :]
    return data


@ddt.ddt
class HostileGuestTest(base.TestCase):
    @ddt.data(*targets.NAMES)
    def test_whatever_it_says_nothing_else_is_harmed(self, name: str) -> None:
        target = targets.load(name)
        honest = target.seeds()

        @hypothesis.settings(derandomize=True, max_examples=150)
        @hypothesis.given(strategies.sampled_from(honest), edits)
        def run(data: bytes, changes: list[tuple[int, int, bytes]]) -> None:
            target.run(edited(data, changes))

        run()

    @ddt.data(*targets.NAMES)
    def test_what_an_honest_guest_says_is_accepted(self, name: str) -> None:
        target = targets.load(name)
        self.assertTrue(target.MODULES)
        for data in target.seeds():
            target.run(data)


class OracleTest(base.TestCase):
    """An error in what reads from a guest is a finding."""

    def assert_found(
        self, name: str, kind: type[Exception] = AssertionError
    ) -> None:
        target = targets.load(name)

        def run() -> None:
            for data in target.seeds():
                target.run(data)

        self.assertRaises(kind, run)

    def patch(self, owner: Any, name: str, new: Callable[..., Any]) -> None:
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{owner.__module__}.{owner.__name__}.{name}'
                if isinstance(owner, type)
                else f'{owner.__name__}.{name}',
                new,
            )
        )

    def break_down(self, *_args: object, **_kwargs: object) -> None:
        raise KeyError('an error of what reads')

    def test_an_exception_that_is_not_the_plugins(self) -> None:
        for name, owner, attribute in (
            ('agent', meminfo, 'read_tables'),
            ('tables', meminfo, '_free_blocks'),
            ('ranges', ranges, '_total_kib'),
            ('statistics', balloon_stats.BalloonStats, 'acquire'),
            ('entry', journal, '_check_format'),
            ('description', eligibility, 'examine'),
            ('planning', planner, 'make'),
            ('transfer', guests.Guest, 'transfer_progress'),
        ):
            with fixtures.MonkeyPatch(
                f'{owner.__module__}.{owner.__name__}.{attribute}'
                if isinstance(owner, type)
                else f'{owner.__name__}.{attribute}',
                self.break_down,
            ):
                self.assert_found(name, KeyError)

    def test_an_error_that_the_migration_logs(self) -> None:
        self.patch(planner, 'make', self.break_down)
        self.assert_found('migration')

    def test_more_than_there_is(self) -> None:
        self.patch(FreeMemory, 'check', lambda *_args: None)
        self.assert_found('tables')

    def test_a_target_below_the_floor(self) -> None:
        def set_deeper(
            _self: balloon.Balloon, guest: guests.Guest, *_args: Any
        ) -> None:
            guest.set_balloon_kib(1)

        self.patch(balloon.Balloon, 'set_target', set_deeper)
        self.assert_found('migration')

    def test_a_guest_that_stays_shrunk(self) -> None:
        self.patch(
            reconciler.Reconciler, 'restore_and_wait', lambda *_args: True
        )
        self.assert_found('migration')

    def test_an_agent_that_is_waited_for_too_long(self) -> None:
        ask = guests.Guest.agent_command

        def ask_late(self: guests.Guest, *args: Any) -> str:
            self._handle.clock.wait(20)
            return ask(self, *args)

        self.patch(guests.Guest, 'agent_command', ask_late)
        self.assert_found('agent')
        self.assert_found('migration')

    def test_a_line_that_draws_on_the_terminal(self) -> None:
        for text in ('\x1b[2J', 'a\nERROR b', '\u202e', 'a' * 9999):
            self.assertRaises(AssertionError, oracle.check_harmless, text)
            error = exceptions.SourceUnavailable(source='agent', problem=text)
            self.assertRaises(AssertionError, oracle.check_error, error)

            def log(text: str = text) -> None:
                with oracle.watched_log():
                    logging.getLogger('nova_freemem.some').debug(text)

            self.assertRaises(AssertionError, log)

    def test_what_libvirt_said_in_the_traceback_of_an_error(self) -> None:
        def quote() -> None:
            with oracle.only_own_errors():
                try:
                    raise handle.error(113, '\x1b[2J')
                except libvirt.libvirtError as error:
                    raise exceptions.AgentUnresponsive(
                        doing='', error='', code=113
                    ) from error

        self.assertRaises(AssertionError, quote)

    def test_what_takes_long(self) -> None:
        def loop() -> None:
            with oracle.only_own_errors():
                self.useFixture(
                    fixtures.MonkeyPatch('time.process_time', lambda: 1e9)
                )

        self.assertRaises(AssertionError, loop)


class ScriptTest(base.TestCase):
    def test_answers_come_in_turn_and_the_last_for_ever(self) -> None:
        agent = script.agent(b'~15 a\x1e!113 *3 no\x1e')
        self.assertEqual(('a', 1.5), agent())
        error, seconds = agent()
        self.assertEqual(
            (113, 'nonono', 0.0), (error.get_error_code(), str(error), seconds)
        )
        self.assertEqual([('', 0.0)] * 2, [agent(), agent()])

    def test_no_answer_is_longer_than_libvirt_lets_it_be(self) -> None:
        text, _seconds = script.agent(b'*9999999 abc')()
        self.assertEqual(script.LONGEST_ANSWER_CHARACTERS // 3 * 3, len(text))


class ChoicesTest(base.TestCase):
    def test_what_a_guest_does_it_goes_on_doing(self) -> None:
        choices = fuzz_choices.Choices(b'\1\2')
        self.assertEqual(
            [1, 2, 1, 2], [choices.number(255) for _time in range(4)]
        )

    def test_every_number_is_within_its_bound(self) -> None:
        choices = fuzz_choices.Choices(b'\xff')
        for largest in (0, 1, 9, 255, 256, 70_000):
            self.assertLessEqual(choices.number(largest), largest)
        self.assertEqual(0, fuzz_choices.Choices(b'').number(9))


class HandleTest(base.TestCase):
    def test_it_is_called_as_the_real_one_is(self) -> None:
        from tests.simulation import test_fakes

        for name, method in test_fakes.public(handle.Handle).items():
            real = getattr(libvirt.virDomain, name, None)
            if real is not None:
                given = test_fakes.signature(method).parameters
                known = test_fakes.signature(real).parameters
                self.assertEqual(list(given), list(known)[: len(given)], name)


class CommandTest(base.TestCase):
    def test_help_shows_every_option_and_target(self) -> None:
        shown = subprocess.run(
            [sys.executable, '-m', 'tests.fuzz', '--help'],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        self.assertIn('usage: tools/fuzz.sh', shown)
        for word in ('--seconds N', '--replay FILE', *targets.NAMES):
            self.assertIn(word, shown)

    def test_the_table_shows_what_was_run_and_found(self) -> None:
        results = [
            run.Result('agent', 36600, 40.0, 91, 97.5, 89, None),
            run.Result('ranges', 10, 1.0, 1, None, 84, '/x/crash-1'),
        ]
        lines = command.table(results, 'rst').splitlines()
        self.assertEqual(
            ['agent', '36,600', '40', '915', '91', '98', '89', '0'],
            lines[3].split(),
        )
        self.assertEqual(['-', '84', '1'], lines[4].split()[-3:])


class FiguresTest(base.TestCase):
    output = (
        '#2\tINITED cov: 12 ft: 13\n#9 DONE   cov: 34 ft: 56 exec/s: 3\n'
        "artifact_prefix='/x/'; Test unit written to /x/crash-1\n"
        'stat::number_of_executed_units: 1234\nstat::peak_rss_mb:   84\n'
    )

    def test_the_last_number_counts(self) -> None:
        self.assertEqual(34, run.last_number(self.output, 'cov: '))
        self.assertEqual(84, run.last_number(self.output, 'peak_rss_mb: '))
        self.assertEqual(0, run.last_number('it died', 'cov: '))

    def test_a_finding_names_its_file(self) -> None:
        log, findings = pathlib.Path('a.log'), pathlib.Path('/x')
        self.assertIsNone(run.finding(0, self.output, findings, log))
        self.assertEqual(
            '/x/crash-1', run.finding(77, self.output, findings, log)
        )
        self.assertIn('a.log', run.finding(1, 'it died', findings, log))
