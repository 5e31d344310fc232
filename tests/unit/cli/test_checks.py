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

"""What an operator is told of a host, by what was found on it."""

import pathlib

import ddt
from oslo_upgradecheck.upgradecheck import Code

from nova_freemem import contract
from nova_freemem.cli import checks
from nova_freemem.virt.memory_stats import MemoryStats
from tests import base

NAMES = [f'host{number}' for number in range(12)]


@ddt.ddt
class ChecksTest(base.TestCase):
    def assert_judged(
        self, code: Code, words: str, verdict: checks.Verdict
    ) -> None:
        """It is as bad as that, and says so in a sentence."""
        self.assertEqual(code, verdict.code, verdict.details)
        self.assertIn(words, verdict.details)
        self.assertTrue(verdict.details.endswith('.'), verdict.details)

    def test_options_are_shown_with_their_origins(self) -> None:
        setting = checks.Setting('mode', 'before', 'nova.conf')
        for code, words, arguments in (
            (
                Code.SUCCESS,
                'mode = before (nova.conf). All others have their defaults.',
                ([setting], [], None),
            ),
            (Code.SUCCESS, 'All have their defaults', ([], [], None)),
            (
                Code.WARNING,
                'remove or correct: x in a',
                ([], ['x in a'], None),
            ),
            (
                Code.FAILURE,
                'mode: wrong. Correct it: with this nova-compute starts '
                'without the plugin. Set: mode = before (nova.conf)',
                ([setting], ['x in a'], 'mode: wrong'),
            ),
        ):
            self.assert_judged(code, words, checks.options(*arguments))

    def test_whether_memory_is_released_from_the_host(self) -> None:
        self.assertEqual(Code.SUCCESS, checks.enabled(True, ['a']).code)
        self.assert_judged(
            Code.WARNING,
            'enabled is false: nothing',
            checks.enabled(False, []),
        )
        self.assert_judged(
            Code.WARNING,
            'though [freemem] is in a, which is not read: nothing',
            checks.enabled(False, ['a, which is not read']),
        )

    @ddt.data(
        (Code.SUCCESS, 'can be loaded', ['messagingv2', 'freemem'], None),
        (
            Code.FAILURE,
            'is messagingv2. Add a line "driver = freemem", beside',
            ['messagingv2'],
            None,
        ),
        (Code.FAILURE, 'driver is not set', [], None),
        (Code.FAILURE, 'cannot be loaded: gone', ['freemem'], 'gone'),
    )
    @ddt.unpack
    def test_whether_the_plugin_will_be_loaded(
        self, code: Code, words: str, drivers: list[str], problem: str | None
    ) -> None:
        self.assert_judged(code, words, checks.plugin(drivers, problem))

    @ddt.data(
        (Code.FAILURE, 'not in this Python environment', None, None, None),
        (
            Code.FAILURE,
            'compute_driver is fake.FakeDriver',
            '34.0.0',
            'fake.FakeDriver',
            None,
        ),
        (Code.FAILURE, 'compute_driver is not set', '34.0.0', None, None),
        (
            Code.FAILURE,
            'Nova 34.0.0: a difference. Install a nova-freemem',
            '34.0.0',
            contract.STOCK_DRIVER,
            'a difference',
        ),
        (
            Code.WARNING,
            'none of those that it is tested with (31 to 34)',
            '35.0.0',
            contract.STOCK_DRIVER,
            None,
        ),
        (
            Code.WARNING,
            'Nova dev has what the plugin relies on, but',
            'dev',
            contract.STOCK_DRIVER,
            None,
        ),
        (
            Code.SUCCESS,
            'Nova 31.3.1 has what the plugin relies on.',
            '31.3.1',
            contract.STOCK_DRIVER,
            None,
        ),
    )
    @ddt.unpack
    def test_which_nova_there_is(
        self, code: Code, words: str, *found: str | None
    ) -> None:
        self.assert_judged(code, words, checks.nova(*found))

    def test_the_novas_are_those_of_the_manual(self) -> None:
        manual = pathlib.Path(__file__).parents[3] / 'doc/source/install'
        self.assertIn(
            f'* Nova {checks.FIRST_NOVA} to {checks.LAST_NOVA} with',
            (manual / 'install.rst').read_text(),
        )

    def test_a_statistics_period_makes_nova_give_guests_a_balloon(
        self,
    ) -> None:
        self.assertEqual(Code.SUCCESS, checks.statistics_period(10).code)
        for seconds in (0, -1):
            self.assert_judged(
                Code.FAILURE,
                f'is {seconds}: Nova creates guests without',
                checks.statistics_period(seconds),
            )

    @ddt.data(
        (Code.SUCCESS, '7.2.0', 'kvm'),
        (Code.SUCCESS, '8.2.0', 'qemu'),
        (Code.SUCCESS, '10.0.2', 'qemu'),
        (Code.WARNING, '7.2.0', 'qemu'),
        (Code.FAILURE, '10.0.2', 'lxc'),
    )
    @ddt.unpack
    def test_which_qemu_there_is(
        self, code: Code, qemu: str, virt_type: str
    ) -> None:
        self.assert_judged(
            code,
            f'libvirt 11.3.0, QEMU {qemu}, virt_type {virt_type}',
            checks.libvirt(('11.3.0', qemu), virt_type),
        )

    def test_whether_placement_has_the_trait_of_the_host(self) -> None:
        self.assertEqual(Code.SUCCESS, checks.trait('a', True).code)
        self.assert_judged(
            Code.FAILURE,
            'a has no trait CUSTOM_NOVA_FREEMEM',
            checks.trait('a', False),
        )

    def test_destinations_without_the_trait_are_named(self) -> None:
        self.assertEqual(Code.SUCCESS, checks.destinations([], True).code)
        for required, words in (
            (True, 'host9 and 2 more; nothing is released'),
            (False, 'host9 and 2 more; a guest that lands there keeps less'),
        ):
            verdict = checks.destinations(NAMES, required)
            self.assert_judged(Code.WARNING, words, verdict)
            self.assertIn(
                '12 compute hosts without CUSTOM_NOVA_FREEMEM', verdict.details
            )
            self.assertNotIn('host10', verdict.details)

    def test_guests_with_outstanding_memory_are_named(self) -> None:
        self.assertEqual(Code.SUCCESS, checks.outstanding([]).code)
        self.assert_judged(
            Code.WARNING,
            '2 guests with outstanding memory: a, b. See "nova-freemem list"',
            checks.outstanding(['a', 'b']),
        )

    def test_guests_whose_balloon_tells_nothing_are_named(self) -> None:
        well = MemoryStats(1, last_update_seconds=1, available_kib=1)
        self.assert_judged(
            Code.SUCCESS,
            'have them: 1.',
            checks.balloon_statistics({'a': well}, []),
        )
        verdict = checks.balloon_statistics(
            {
                'a': well,
                'b': None,
                'c': MemoryStats(1, available_kib=1),
                'd': MemoryStats(1, last_update_seconds=1),
            },
            ['e'],
        )
        self.assert_judged(
            Code.WARNING, 'Nothing is released from 4 of 5 guests.', verdict
        )
        for words in (
            'no memory balloon (hard reboot them): b; ',
            '(load one in the guest): c, d; ',
            'could not be looked at: e.',
        ):
            self.assertIn(words, verdict.details)
        self.assertFalse(
            checks.is_silent(
                MemoryStats(1, available_kib=1, last_update_seconds=1)
            )
        )
