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

"""bash completes the commands and their options."""

import shutil
import subprocess

from tests.unit.cli import base

# Of the package bash-completion, which need not be here.
_WORDS = """\
_get_comp_words_by_ref() {
    words=("${COMP_WORDS[@]}")
    cur=${COMP_WORDS[COMP_CWORD]}
    prev=${COMP_WORDS[COMP_CWORD - 1]}
}
"""


class CompleteTest(base.CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bash = shutil.which('bash')
        if self.bash is None:
            self.skipTest('there is no bash here')
        self.assertEqual(
            0, self.run_command('complete', '--name', 'nova-freemem')
        )
        self.connect.assert_not_called()

    def completed(self, *words: str) -> list[str]:
        """:returns: what bash offers for the last of these words."""
        ended = subprocess.run(
            [self.bash, '--norc', '-eu', '-s', '--', 'nova-freemem', *words],
            input=f"""\
{_WORDS}
{self.out}
COMP_WORDS=("$@") COMP_CWORD={len(words)}
set +eu
"$(complete -p nova-freemem | sed 's/.*-F \\([^ ]*\\) .*/\\1/')"
printf '%s\\n' "${{COMPREPLY[@]}}"
""",
            capture_output=True,
            check=True,
            text=True,
        )
        self.assertEqual('', ended.stderr)
        return ended.stdout.split()

    def test_commands(self) -> None:
        self.assertEqual(['restore'], self.completed('res'))
        offered = self.completed('')
        for name in ('check', 'estimate', 'inspect', 'list', 'repair'):
            self.assertIn(name, offered)

    def test_options(self) -> None:
        self.assertEqual(['--to'], self.completed('estimate', '--t'))
        self.assertEqual(
            ['--config-file', '--config-dir'],
            self.completed('check', '--config'),
        )
