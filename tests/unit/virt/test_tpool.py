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

"""Calls into C libraries, on eventlet and on native threads."""

import sys
import types
from unittest import mock

from nova_freemem.virt import tpool
from tests import base


def fake_eventlet(patched: bool) -> dict[str, types.ModuleType]:
    """:returns: modules that stand for an eventlet Nova has imported."""
    eventlet = types.ModuleType('eventlet')
    eventlet.patcher = types.ModuleType('eventlet.patcher')
    eventlet.patcher.is_monkey_patched = lambda module: (
        patched and module == 'thread'
    )
    eventlet.tpool = types.ModuleType('eventlet.tpool')
    eventlet.tpool.execute = mock.Mock(
        side_effect=lambda function, *args: function(*args)
    )
    return {
        'eventlet': eventlet,
        'eventlet.patcher': eventlet.patcher,
        'eventlet.tpool': eventlet.tpool,
    }


class BlockingTest(base.TestCase):
    def use(self, modules: dict[str, types.ModuleType | None]) -> None:
        patcher = mock.patch.dict(sys.modules, modules)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_without_eventlet_it_is_a_plain_call_and_imports_none(
        self,
    ) -> None:
        self.use({})
        sys.modules.pop('eventlet', None)
        self.assertEqual(7, tpool.call(max, 3, 7))
        self.assertNotIn('eventlet', sys.modules)

    def test_eventlet_that_patched_nothing_is_not_used(self) -> None:
        modules = fake_eventlet(patched=False)
        self.use(modules)
        self.assertEqual(7, tpool.call(max, 3, 7))
        modules['eventlet.tpool'].execute.assert_not_called()

    def test_under_eventlet_the_call_goes_through_its_threads(self) -> None:
        modules = fake_eventlet(patched=True)
        self.use(modules)
        self.assertEqual(7, tpool.call(max, 3, 7))
        modules['eventlet.tpool'].execute.assert_called_once_with(max, 3, 7)

    def test_an_exception_passes_through(self) -> None:
        for patched in (False, True):
            self.use(fake_eventlet(patched))
            self.assertRaises(ZeroDivisionError, tpool.call, divmod, 1, 0)
