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

"""How the demo ends: what it says last, and its exit code."""

import contextlib
import dataclasses
import io
from unittest import mock

from tests import base
from tests.lab import demo
from tests.lab import episode
from tests.lab import observation
from tests.lab.tests import test_demo_comparison as compared
from tests.lab.tests import test_observation as observed

PLAIN = observed.plain()


def played(*wrong: str) -> episode.Episode:
    return episode.Episode(
        run=compared.WITHOUT,
        beside=compared.DURING,
        observation=PLAIN,
        phases=observation.find(PLAIN, observed.ORIGINAL_KIB),
        wrong=wrong,
    )


class VerdictTest(base.TestCase):
    def verdict(self, *episodes: episode.Episode) -> tuple[int, str]:
        with demo._CONSOLE.capture() as said:
            code = demo._verdict(*episodes)
        return code, said.get()

    def test_an_intact_guest_ends_in_success(self) -> None:
        code, said = self.verdict(played(), played())
        self.assertEqual(0, code)
        self.assertIn('all its memory is restored', said)

    def test_a_harmed_guest_ends_in_failure_and_words(self) -> None:
        code, said = self.verdict(played(), played('the guest was restarted'))
        self.assertEqual(1, code)
        self.assertIn('with the plugin: the guest was restarted', said)
        self.assertNotIn('all its memory is restored', said)

    def test_doubtful_counters_are_told_and_are_no_failure(self) -> None:
        beside = dataclasses.replace(compared.DURING, job_bytes=1_000_000)
        doubtful = dataclasses.replace(played(), beside=beside)
        code, said = self.verdict(doubtful, played())
        self.assertEqual(0, code)
        self.assertIn('without the plugin: The link carried', said)


class WordsTest(base.TestCase):
    def test_a_wrong_word_is_one_line_and_changes_nothing(self) -> None:
        self.patch_autospec(demo, '_demonstrate')
        words = ['demo', '--link', 'fast']
        with (
            mock.patch('sys.argv', words),
            contextlib.redirect_stderr(io.StringIO()) as said,
        ):
            self.assertEqual(2, demo.main())
        self.assertEqual(1, len(said.getvalue().splitlines()))
        demo._demonstrate.assert_not_called()
