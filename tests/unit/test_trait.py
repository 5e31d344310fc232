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

"""A host says, in Placement, whether it restores memory."""

import types
from typing import Any

from nova.compute import provider_tree

from nova_freemem import trait
from tests import base

NODE = 'host'


class WithdrawTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.tree = provider_tree.ProviderTree()
        self.tree.new_root(NODE, '6a1c6e0a-4b6b-4c7e-8b5f-1d2c3b4a5968', 1)
        self.tree.update_traits(NODE, [trait.TRAIT, 'CUSTOM_OPERATORS_OWN'])
        self.updated: list[tuple[Any, ...]] = []

    def driver(self) -> Any:
        """:returns: a driver of Nova's that writes down what it is given."""
        driver = types.SimpleNamespace()
        driver.update_provider_tree = lambda *args, **kwargs: (
            self.updated.append((args, kwargs))
        )
        return driver

    def test_what_an_earlier_start_reported_is_removed(self) -> None:
        driver = self.driver()
        trait.withdraw(driver)
        driver.update_provider_tree(self.tree, NODE, allocations={})
        self.assertEqual({'CUSTOM_OPERATORS_OWN'}, self.tree.data(NODE).traits)
        self.assertEqual(
            [((self.tree, NODE), {'allocations': {}})], self.updated
        )

    def test_novas_own_update_never_fails_for_it(self) -> None:
        driver = self.driver()
        trait.withdraw(driver)
        driver.update_provider_tree(None, NODE)
        self.assertEqual([((None, NODE), {})], self.updated)

    def test_an_error_of_novas_stays_novas(self) -> None:
        driver = self.driver()
        driver.update_provider_tree = lambda *_a: 1 // 0
        trait.withdraw(driver)
        self.assertRaises(
            ZeroDivisionError, driver.update_provider_tree, self.tree, NODE
        )
        self.assertTrue(self.tree.has_traits(NODE, [trait.TRAIT]))
