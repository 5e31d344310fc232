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

from collections.abc import Callable
import contextlib
from typing import Any
import urllib.parse

TRAIT = 'CUSTOM_NOVA_FREEMEM'

#: Reads from Placement as Nova does: ``get(url, version=microversion)``
#: returns a response.
Get = Callable[..., Any]

# The trait that Nova gives to the resource provider of each compute host.
_COMPUTE_NODE = 'COMPUTE_NODE'

# The first microversions that filter providers by a required trait, and by a
# forbidden one.
_REQUIRED = '1.18'
_FORBIDDEN = '1.22'


def is_reported(get: Get, node: str) -> bool:
    """Return whether a host says that it restores memory.

    :param get: reads from Placement
    :param node: the name of its resource provider
    :raises RuntimeError: Placement answered something else
    """
    found = _providers(get, _REQUIRED, name=node, required=TRAIT)
    return bool(found)  # or no host of this cloud has ever reported the trait


def hosts_without(get: Get) -> list[str]:
    """Return the compute hosts that do not say that they restore memory.

    :param get: reads from Placement
    :returns: the names of their resource providers
    :raises RuntimeError: Placement answered something else
    """
    found = _providers(get, _FORBIDDEN, required=f'{_COMPUTE_NODE},!{TRAIT}')
    if found is None:
        found = _providers(get, _FORBIDDEN, required=_COMPUTE_NODE)
    return sorted(found or ())


def _providers(get: Get, version: str, **query: str) -> list[str] | None:
    """Return names of resource providers, None where a trait is not known."""
    response = get(
        f'/resource_providers?{urllib.parse.urlencode(query)}',
        version=version,
    )
    if response.status_code == 400:
        return None
    if response.status_code != 200:
        raise RuntimeError(f'it answered {response.status_code}')
    try:
        providers = response.json()['resource_providers']
        return [str(provider['name']) for provider in providers]
    except (ValueError, KeyError, TypeError):
        raise RuntimeError('it answered with no resource providers') from None


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
