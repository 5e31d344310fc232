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

"""What the plugin relies on in Nova, compared with the Nova there is.

Everything here looks at classes and calls nothing. It returns differences,
each a clause for the log line that says why the plugin is off.
"""

from __future__ import annotations

from collections.abc import Iterable
import dis
import inspect
from typing import Any

# The compute driver that ours is derived from, as nova.conf names it.
STOCK_DRIVER = 'libvirt.LibvirtDriver'

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)


def overrides(ours: type, stock: type) -> list[str]:
    """Compare all methods that a class overrides with those of its base.

    A parameter that the base's method has in addition is no difference if it
    has a default: an override passes on what it does not know. Keyword-only
    parameters of an override are the plugin's own.

    :param ours: the class; its public methods and ``__init__`` are overrides
    :param stock: Nova's class that it is derived from
    :returns: the differences
    """
    differences = []
    for name, method in vars(ours).items():
        if not inspect.isfunction(method):
            continue
        if name.startswith('_') and name != '__init__':
            continue
        found = getattr(stock, name, None)
        if found is None:
            differences.append(f'{stock.__name__} has no {name}()')
            continue
        differences += [
            f'{stock.__name__}.{name}() {difference}'
            for difference in _parameters(
                inspect.signature(method), inspect.signature(found)
            )
        ]
    return differences


def call(owner: type, name: str, *args: str, **kwargs: str) -> list[str]:
    """See whether a method can be called as the plugin calls it.

    :param owner: the class that has it
    :param name: the method's
    :param args: the positional arguments, with ``self`` for a method of an
                 instance; what they are called does not matter
    :param kwargs: the keyword arguments; their values do not matter
    :returns: the difference, or nothing
    """
    method = getattr(owner, name, None)
    if method is None:
        return [f'{owner.__name__} has no {name}()']
    try:
        inspect.signature(method).bind(*args, **kwargs)
    except TypeError as error:
        return [f'{owner.__name__}.{name}() is called differently: {error}']
    return []


def attribute(owner: type, name: str) -> list[str]:
    """See whether instances of a class get an attribute as they are built.

    :param owner: the class
    :param name: the attribute's
    :returns: the difference, or nothing
    """
    if hasattr(owner, name) or any(
        _sets(inspect.unwrap(vars(one)['__init__']), name)
        for one in owner.__mro__
        if '__init__' in vars(one)
    ):
        return []
    return [f'{owner.__name__} has no attribute {name}']


def members(owner: Any, has: Iterable[str], *names: str) -> list[str]:
    """See whether an object, or a module, has members.

    :param owner: it
    :param has: the names of the members that it has
    :param names: those it is to have
    :returns: the differences
    """
    there = set(has)
    return [
        f'{owner.__name__} has no {name}'
        for name in names
        if name not in there
    ]


def _parameters(
    ours: inspect.Signature, stock: inspect.Signature
) -> list[str]:
    """Compare the parameters of an override with those of what it overrides.

    :returns: the differences, each what follows upon the method's name
    """
    known = _positional(ours)
    found = _positional(stock)
    for index, parameter in enumerate(known):
        if index >= len(found):
            return [f'has no parameter {parameter.name!r}']
        other = found[index]
        if other.name != parameter.name:
            return [
                f'has the parameter {other.name!r} in the place of '
                f'{parameter.name!r}'
            ]
        if other.kind is not parameter.kind:
            return [
                f'has the parameter {parameter.name!r} as '
                f'{other.kind.description}'
            ]
        if _is_needed(parameter) and not _is_needed(other):
            return [f'has a default for the parameter {parameter.name!r}']
    names = {parameter.name for parameter in known}
    return [
        f'has the parameter {parameter.name!r}, which the plugin does not know'
        for parameter in stock.parameters.values()
        if parameter.name not in names and _is_needed(parameter)
    ]


def _positional(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in _POSITIONAL
    ]


def _is_needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def _sets(function: Any, name: str) -> bool:
    return inspect.isfunction(function) and any(
        instruction.opname == 'STORE_ATTR' and instruction.argval == name
        for instruction in dis.get_instructions(function)
    )
