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

"""What a changed Nova is found by, before a guest is touched."""

from typing import Any

from nova_freemem import contract
from tests import base


class Nova:
    """As the plugin knows it."""

    def __init__(self) -> None:
        self._host = 'host'
        self.read = self._host

    def migrate(self, instance: Any, dest: Any, data: Any = None) -> None:
        """Migrate."""

    def abort(self, instance: Any) -> None:
        """Abort."""


class Ours(Nova):
    def migrate(
        self,
        instance: Any,
        dest: Any,
        data: Any = None,
        *args: Any,
        engine: Any = None,
        **kwargs: Any,
    ) -> None:
        """Release, and migrate."""

    def abort(self, instance: Any, *args: Any, **kwargs: Any) -> None:
        """Abort the release."""

    def _private(self, ours: Any) -> None:
        """Not Nova's."""


class OverridesTest(base.TestCase):
    def differences(self, migrate: Any) -> list[str]:
        """Compare with a Nova in which one method has changed."""
        return contract.overrides(
            Ours, type('Nova', (Nova,), {'migrate': migrate})
        )

    def test_the_nova_it_knows_has_no_difference(self) -> None:
        self.assertEqual([], contract.overrides(Ours, Nova))

    def test_a_parameter_was_renamed(self) -> None:
        def migrate(
            self: Any, instance: Any, destination: Any, data: Any = None
        ) -> None: ...

        self.assertEqual(
            [
                "Nova.migrate() has the parameter 'destination' in the place "
                "of 'dest'"
            ],
            self.differences(migrate),
        )

    def test_the_last_parameter_was_removed(self) -> None:
        def migrate(self: Any, instance: Any, dest: Any) -> None: ...

        self.assertEqual(
            ["Nova.migrate() has no parameter 'data'"],
            self.differences(migrate),
        )

    def test_a_parameter_between_was_removed(self) -> None:
        def migrate(self: Any, instance: Any, data: Any = None) -> None: ...

        self.assertEqual(
            ["Nova.migrate() has the parameter 'data' in the place of 'dest'"],
            self.differences(migrate),
        )

    def test_a_parameter_without_default_was_added(self) -> None:
        def migrate(
            self: Any, instance: Any, dest: Any, data: Any, volumes: Any
        ) -> None: ...

        self.assertEqual(
            [
                "Nova.migrate() has the parameter 'volumes', which the "
                'plugin does not know'
            ],
            self.differences(migrate),
        )

    def test_a_keyword_without_default_was_added(self) -> None:
        def migrate(
            self: Any, instance: Any, dest: Any, data: Any = 0, *, volumes: Any
        ) -> None: ...

        self.assertIn('volumes', *self.differences(migrate))

    def test_a_parameter_with_default_was_added(self) -> None:
        def positional(
            self: Any, instance: Any, dest: Any, data: Any = 0, new: Any = 0
        ) -> None: ...

        def keyword(
            self: Any,
            instance: Any,
            dest: Any,
            data: Any = None,
            *args: Any,
            new: Any = None,
            **kwargs: Any,
        ) -> None: ...

        self.assertEqual([], self.differences(positional))
        self.assertEqual([], self.differences(keyword))

    def test_a_parameter_is_by_keyword_alone_now(self) -> None:
        def migrate(
            self: Any, instance: Any, dest: Any, *, data: Any = None
        ) -> None: ...

        self.assertEqual(
            ["Nova.migrate() has no parameter 'data'"],
            self.differences(migrate),
        )

    def test_a_parameter_is_by_position_alone_now(self) -> None:
        def migrate(
            self: Any, instance: Any, dest: Any, data: Any = None, /
        ) -> None: ...

        self.assertEqual(
            ["Nova.migrate() has the parameter 'self' as positional-only"],
            self.differences(migrate),
        )

    def test_a_parameter_got_a_default_so_that_nova_may_leave_it_out(
        self,
    ) -> None:
        def migrate(
            self: Any, instance: Any, dest: Any = None, data: Any = None
        ) -> None: ...

        self.assertEqual(
            ["Nova.migrate() has a default for the parameter 'dest'"],
            self.differences(migrate),
        )

    def test_a_method_is_gone(self) -> None:
        self.assertEqual(
            ['Nova has no abort()'],
            contract.overrides(
                Ours,
                type(
                    'Nova',
                    (),
                    {'__init__': Nova.__init__, 'migrate': Nova.migrate},
                ),
            ),
        )

    def test_all_differences_are_named(self) -> None:
        self.assertEqual(
            ['Nova has no migrate()', 'Nova has no abort()'],
            contract.overrides(Ours, type('Nova', (), {})),
        )


class CallTest(base.TestCase):
    def test_a_method_that_is_called_as_ever(self) -> None:
        self.assertEqual(
            [], contract.call(Nova, 'migrate', 'self', 'i', 'd', data='d')
        )

    def test_a_method_that_wants_something_else(self) -> None:
        (difference,) = contract.call(Nova, 'migrate', 'self', 'i', to='d')
        self.assertIn('Nova.migrate() is called differently', difference)
        self.assertIn("'dest'", difference)

    def test_a_method_that_is_gone(self) -> None:
        self.assertEqual(
            ['Nova has no resize()'], contract.call(Nova, 'resize')
        )


class AttributeTest(base.TestCase):
    def test_one_that_is_set_as_the_instance_is_built(self) -> None:
        self.assertEqual([], contract.attribute(Nova, '_host'))

    def test_one_that_the_base_sets(self) -> None:
        class Derived(Nova):
            def __init__(self) -> None:
                super().__init__()
                self.other = 1

        self.assertEqual([], contract.attribute(Derived, '_host'))

    def test_one_that_is_a_property_now(self) -> None:
        self.assertEqual(
            [],
            contract.attribute(
                type('Nova', (), {'_host': property()}), '_host'
            ),
        )

    def test_one_that_is_gone(self) -> None:
        self.assertEqual(
            ['Nova has no attribute _connection'],
            contract.attribute(Nova, '_connection'),
        )


class MembersTest(base.TestCase):
    def test_those_that_are_gone_are_named(self) -> None:
        self.assertEqual(
            ['Nova has no uuid'],
            contract.members(Nova, {'dest_node': 1}, 'uuid', 'dest_node'),
        )
