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

"""The trait by which a host says, in Placement, that it restores memory."""

from __future__ import annotations

import contextlib
from typing import Any

TRAIT = 'CUSTOM_NOVA_FREEMEM'


def withdraw(driver: Any) -> None:
    """Have a host without the plugin no longer say that it restores memory.

    Nova keeps the traits of a resource provider that it does not know: the
    one of an earlier start would stay for ever.

    :param driver: Nova's own compute driver
    """
    update = driver.update_provider_tree

    def update_provider_tree(
        provider_tree: Any, nodename: str, *args: Any, **kwargs: Any
    ) -> None:
        update(provider_tree, nodename, *args, **kwargs)
        with contextlib.suppress(Exception):  # Nova's own work is done
            provider_tree.remove_traits(nodename, TRAIT)

    driver.update_provider_tree = update_provider_tree
