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

import contextlib
import os
import sys
import threading
import types
from typing import Any
from unittest import mock

import eventlet
from eventlet import tpool as pool

from nova_freemem.virt import tpool
from tests import base


class Domain:
    """Something of libvirt's."""

    name = 'instance-00000001'

    def thread(self) -> str:
        """:returns: the name of the thread that calls."""
        return threading.current_thread().name

    def divide(self, one: int, other: int) -> float:
        """:returns: a quotient."""
        return one / other


class NativeThreadsTest(base.TestCase):
    def use(self, modules: dict[str, types.ModuleType | None]) -> None:
        patcher = mock.patch.dict(sys.modules, modules)
        patcher.start()
        self.addCleanup(patcher.stop)

    def test_without_eventlet_it_is_a_plain_call_and_imports_none(
        self,
    ) -> None:
        self.use({})
        sys.modules.pop('eventlet', None)
        domain = Domain()
        self.assertEqual(7, tpool.call(max, 3, 7))
        self.assertIs(domain, tpool.own(domain))
        self.assertNotIn('eventlet', sys.modules)

    def test_eventlet_that_patched_nothing_is_not_used(self) -> None:
        domain = Domain()
        self.assertEqual('MainThread', tpool.call(domain.thread))
        self.assertIs(domain, tpool.own(domain))

    def test_an_exception_passes_through(self) -> None:
        self.assertRaises(ZeroDivisionError, tpool.call, divmod, 1, 0)


class EventletTest(base.TestCase):
    """As if eventlet had patched the standard library."""

    def setUp(self) -> None:
        super().setUp()
        self.patch_autospec(
            eventlet.patcher, 'is_monkey_patched'
        ).side_effect = lambda module: module == 'thread'
        self.execute = self.patch_autospec(pool, 'execute')
        self.domain = Domain()
        self.native = eventlet.patcher.original('threading')
        self.domain.thread = (  # type: ignore[method-assign]
            lambda: self.native.current_thread().name
        )

    def test_a_call_has_a_native_thread_and_not_one_of_the_pool(self) -> None:
        self.assertEqual('freemem-libvirt', tpool.call(self.domain.thread))
        self.assertEqual(2.5, tpool.call(self.domain.divide, 5, 2))
        self.execute.assert_not_called()

    def test_so_has_each_method_of_what_nova_has_a_proxy_of(self) -> None:
        ours = tpool.own(pool.Proxy(self.domain))
        self.assertEqual('freemem-libvirt', ours.thread())
        self.assertEqual(2.5, ours.divide(5, 2))
        self.assertEqual('instance-00000001', ours.name)
        self.execute.assert_not_called()

    def test_so_has_what_such_a_method_returns(self) -> None:
        self.domain.itself = (  # type: ignore[attr-defined]
            lambda: self.domain
        )
        ours = tpool.own(pool.Proxy(self.domain, autowrap=(Domain,)))
        self.assertEqual('freemem-libvirt', ours.itself().thread())
        self.execute.assert_not_called()

    def test_what_nova_has_no_proxy_of_is_called_as_it_is(self) -> None:
        self.assertIs(self.domain, tpool.own(self.domain))

    def test_a_function_is_given_what_proxies_stand_for(self) -> None:
        novas = pool.Proxy(self.domain)
        for proxy in (novas, tpool.own(novas)):
            self.assertIs(self.domain, tpool.call(lambda one: one, proxy))

    def test_what_is_called_in_a_call_needs_no_other_thread(self) -> None:
        def threads() -> list[Any]:
            get = self.native.get_ident
            return [get(), tpool.call(get)]

        one, other = tpool.call(threads)
        self.assertEqual(one, other)

    def test_an_exception_passes_through(self) -> None:
        ours = tpool.own(pool.Proxy(self.domain))
        self.assertRaises(ZeroDivisionError, ours.divide, 1, 0)

    def test_no_file_is_left_open(self) -> None:
        # Eventlet's own, which it opens once and keeps.
        eventlet.hubs.get_hub()
        before = os.listdir('/proc/self/fd')
        for divisor in (0, 1):
            with contextlib.suppress(ZeroDivisionError):
                tpool.call(divmod, 1, divisor)
        self.assertEqual(len(before), len(os.listdir('/proc/self/fd')))

    def test_without_a_thread_it_takes_one_of_the_pool(self) -> None:
        before = os.listdir('/proc/self/fd')
        self.execute.return_value = 7
        with mock.patch.object(
            self.native.Thread, 'start', autospec=True
        ) as start:
            start.side_effect = RuntimeError("can't start new thread")
            self.assertEqual(7, tpool.call(max, 3, 7))
        self.execute.assert_called_once_with(max, 3, 7)
        self.assertEqual(len(before), len(os.listdir('/proc/self/fd')))

    def test_a_call_that_does_not_return_keeps_nobody_from_ending(
        self,
    ) -> None:
        self.assertTrue(
            tpool.call(lambda: self.native.current_thread().daemon)
        )
