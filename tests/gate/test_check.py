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

"""What the jobs of Zuul check on their hosts, on a host that is none."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import textwrap

import fixtures

from tests import base
from tests.gate import environment

PLAYBOOKS = environment.REPOSITORY / 'playbooks'
ENABLED = 'INFO nova_freemem.driver [-] nova_freemem is enabled: acquiring'
NOT_ENABLED = (
    'INFO nova_freemem.driver [-] nova_freemem is loaded but not enabled'
)
ERROR = 'ERROR nova_freemem.restore.reconciler [-] broken'


class HostTestCase(base.TestCase):
    """Stand-ins for what the check finds on a host."""

    def setUp(self) -> None:
        super().setUp()
        self.host = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.programs = self.host / 'data' / 'venv' / 'bin'
        self.programs.mkdir(parents=True)
        self.results = self.host / 'logs' / 'nova-freemem'
        self.program('sleep', ':')
        self.journal(ENABLED)
        self.outstanding('[]')

    def program(self, name: str, script: str) -> None:
        """Put a stand-in for a program into the host's environment."""
        path = self.programs / name
        path.write_text(f'#!/bin/bash\n{textwrap.dedent(script)}\n')
        path.chmod(0o755)

    def journal(self, *lines: str) -> None:
        """Have nova-compute's journal say something."""
        text = '\n'.join(['INFO nova.service [-] Starting', *lines])
        (self.host / 'journal').write_text(f'{text}\n')
        self.program('journalctl', f'exec cat {self.host}/journal')

    def outstanding(self, *answers: str) -> None:
        """Have ``nova-freemem list`` answer, the last time ever after."""
        count = self.host / 'asked'
        self.program(
            'nova-freemem',
            f"""
            answers=({' '.join(f"'{answer}'" for answer in answers)})
            echo >>{count}
            asked=$(wc -l <{count})
            ((asked <= ${{#answers[@]}})) || asked=${{#answers[@]}}
            printf '%s\\n' "${{answers[asked - 1]}}"
            """,
        )


class CheckTest(HostTestCase):
    def check(self, enabled: bool = True) -> tuple[bool, str]:
        """Run the script of the playbook.

        :param enabled: whether the job wants the plugin enabled
        :returns: whether it found nothing, and its output
        """
        done = subprocess.run(
            [PLAYBOOKS / 'files' / 'check-nova-freemem.sh'],
            env={
                'ENABLED': str(enabled).lower(),
                'PATH': f'{self.programs}{os.pathsep}{os.environ["PATH"]}',
                'RESULTS': str(self.results),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode == 0, done.stdout

    def assert_found(self, why: str, enabled: bool = True) -> None:
        """Fail unless the job fails, for a reason."""
        passed, output = self.check(enabled)
        self.assertFalse(passed, output)
        self.assertIn(why, output)

    def test_a_host_with_nothing_wrong_passes(self) -> None:
        passed, output = self.check()
        self.assertTrue(passed, output)

    def test_the_log_and_what_is_outstanding_are_collected(self) -> None:
        self.check()
        self.assertEqual(
            f'{ENABLED}\n', (self.results / 'nova-freemem.txt').read_text()
        )
        self.assertEqual(
            '[]\n', (self.results / 'outstanding.json').read_text()
        )

    def test_a_plugin_that_was_not_loaded_is_found(self) -> None:
        self.journal()
        self.assert_found("does not say in its log: 'nova_freemem is enabled'")

    def test_a_plugin_that_is_not_enabled_is_found(self) -> None:
        self.journal(NOT_ENABLED)
        self.assert_found('does not say in its log')

    def test_a_plugin_that_is_enabled_although_it_should_not_is_found(
        self,
    ) -> None:
        self.assert_found('loaded but not enabled', enabled=False)

    def test_a_plugin_that_is_only_loaded_passes_where_that_is_wanted(
        self,
    ) -> None:
        self.journal(NOT_ENABLED)
        passed, output = self.check(enabled=False)
        self.assertTrue(passed, output)

    def test_an_error_of_the_plugin_is_found(self) -> None:
        self.journal(ENABLED, ERROR)
        self.assert_found('has logged 1 lines of errors')

    def test_an_error_of_nova_is_none_of_the_plugin(self) -> None:
        self.journal(ENABLED, 'ERROR nova.compute.manager [-] no nova_freemem')
        passed, output = self.check()
        self.assertTrue(passed, output)

    def test_outstanding_memory_is_waited_for(self) -> None:
        self.outstanding('[{}]', '[{}]', '[]')
        passed, output = self.check()
        self.assertTrue(passed, output)

    def test_memory_that_stays_outstanding_is_found(self) -> None:
        self.outstanding('[{}]')
        self.assert_found('memory of guests is still outstanding')

    def test_a_command_that_fails_is_found(self) -> None:
        self.program('nova-freemem', 'exit 1')
        self.assert_found('nova-freemem list has failed')

    def test_the_log_says_what_is_looked_for(self) -> None:
        driver = environment.REPOSITORY / 'nova_freemem' / 'driver.py'
        for line in (ENABLED, NOT_ENABLED):
            said = line.partition('[-] ')[2]
            self.assertIn(f"'{said.partition(':')[0]}", driver.read_text())


class PlaybookTest(HostTestCase):
    def play(self, enabled: bool) -> tuple[bool, str]:
        """Run the playbook.

        :param enabled: whether the job wants the plugin enabled
        :returns: whether it found nothing, and its output
        """
        settings = {
            'ansible_become': False,
            'ansible_connection': 'local',
            'ansible_python_interpreter': '{{ ansible_playbook_python }}',
            'ansible_remote_tmp': str(self.host),
            'devstack_base_dir': str(self.host),
            'nova_freemem_enabled': enabled,
        }
        inventory = self.host / 'inventory'
        inventory.write_text('[compute]\ncompute1\n')
        done = environment.run(
            'ansible-playbook',
            '--inventory',
            inventory,
            '--extra-vars',
            json.dumps(settings),
            PLAYBOOKS / 'check-nova-freemem.yaml',
            folder=self.host,
        )
        return done.returncode == 0, done.stdout

    def test_a_job_with_nothing_wrong_passes(self) -> None:
        passed, output = self.play(enabled=True)
        self.assertTrue(passed, output)
        self.assertTrue((self.results / 'nova-freemem.txt').is_file())

    def test_a_job_fails_where_the_check_finds_something(self) -> None:
        passed, output = self.play(enabled=False)
        self.assertFalse(passed, output)
        self.assertIn('loaded but not enabled', output)
