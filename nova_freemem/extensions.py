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

"""Loading the extensions that ``[freemem]`` names."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import stevedore
from stevedore import named

from nova_freemem import exceptions


def load(option: str, name: str) -> Any:
    """Load one extension.

    :param option: that names it; the namespace ends in the same word
    :param name: the extension's
    :returns: its class
    :raises ConfigInvalid: it is not installed or cannot be loaded
    """
    namespace = f'nova_freemem.{option}'

    def cannot_load(
        _manager: object, entry_point: object, error: BaseException
    ) -> None:
        raise exceptions.ConfigInvalid(
            option=option, problem=f'{name!r} cannot be loaded: {error!r}'
        )

    def not_installed(_names: Iterable[str]) -> None:
        installed = stevedore.ExtensionManager(namespace).entry_points_names()
        raise exceptions.ConfigInvalid(
            option=option,
            problem=f'{name!r} is not installed; choose from '
            f'{", ".join(sorted(installed)) or "none"}',
        )

    manager: named.NamedExtensionManager[Any] = named.NamedExtensionManager(
        namespace,
        [name],
        on_load_failure_callback=cannot_load,
        on_missing_entrypoints_callback=not_installed,
    )
    return manager[name].plugin


def load_release(names: Sequence[str]) -> tuple[Any | None, Any]:
    """Load what releases memory.

    :param names: of the extensions; a reclaimer, if any, and then a releaser
    :returns: the class of the reclaimer, None without one; that of the
              releaser
    :raises ConfigInvalid: one cannot be loaded, or is not what its place is
                           for
    """
    *others, releaser = [load('release', name) for name in names]
    if not hasattr(releaser, 'set_target') or not all(
        hasattr(other, 'dropping') for other in others
    ):
        raise exceptions.ConfigInvalid(
            option='release',
            problem='what shrinks a guest must be the last, and alone or '
            'after what has it drop page cache',
        )
    return others[0] if others else None, releaser
