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

"""What an operator asks a host before guests are migrated from it."""

import json
from typing import Any

from tests.cloud import base
from tests.lab.services import settings

_MEMORY_MIB = 512
_FREED_MIB = 260


class AHostThatIsAskedBeforeADrain(base.CloudTestCase):
    """Both hosts have the plugin, and one has a guest that freed memory."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.boot_used(_MEMORY_MIB, _FREED_MIB)

    def _rows(self, name: str, *words: str) -> list[dict[str, Any]]:
        """Call the operator's command with the files of nova-compute."""
        files = [
            word
            for word in self.compute(self.source).daemon.argv
            if word.startswith('--config-')
        ]
        program = settings.program('nova-freemem')
        answer = self.source.run(
            [program, name, '-f', 'json', *files, *words], check=False
        )
        self.assertNotIn('Traceback', answer.stderr)
        self.assertLess(answer.returncode, 2, answer)
        rows: list[dict[str, Any]] = json.loads(answer.stdout)
        return rows

    def test_it_is_set_up_and_what_the_drain_costs_is_foretold(self) -> None:
        wrong = {
            row['check']: row['details']
            for row in self._rows('check')
            if row['result'] != 'success'
        }
        self.assertEqual({}, wrong)
        destination = self.destination.layout.hostname
        rows = self._rows('estimate', '--all', '--to', destination)
        (row,) = (row for row in rows if row['server'] == self.server.id)
        self.assertEqual(_MEMORY_MIB, row['memory_mib'])
        self.assertGreater(row['free_mib'], _FREED_MIB)
        self.assertNotIn('skip', row['release'], row)
        self.assertLess(row['seconds'], row['plain_seconds'])
        self.assertLess(row['sent_mib'], row['plain_mib'] - _FREED_MIB / 2)
        (row,) = self._rows(
            'estimate', self.server.id, '--to', self.source.layout.hostname
        )
        self.assertEqual('skip_same_host', row['release'])
