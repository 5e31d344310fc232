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

"""Figures as JSON, with a number that says what they mean."""

import json
import os
import pathlib
from typing import Any
from typing import TypeVar

import cattrs

_T = TypeVar('_T')

# Seconds to the millisecond, and so everything else.
_DIGITS = 3

_CONVERTER = cattrs.Converter(forbid_extra_keys=True)
_CONVERTER.register_unstructure_hook(
    float, lambda value: round(value, _DIGITS)
)


def to_json(figures: Any, number: int) -> str:
    """Write a dataclass.

    :param number: of the format; it changes when a figure changes its
        meaning.
    """
    content = {'format': number, **_CONVERTER.unstructure(figures)}
    return json.dumps(content, indent=1) + '\n'


def write(figures: Any, number: int, file: pathlib.Path) -> None:
    """Write a dataclass into a file, in full or not at all.

    :param number: of the format.
    """
    scratch = file.with_name(f'{file.name}.new')
    scratch.write_text(to_json(figures, number))
    os.replace(scratch, file)


def from_json(text: str, kind: type[_T], number: int) -> _T:
    """Read what to_json() wrote.

    :param kind: the dataclass to read.
    :raises ValueError: it is something else; the message says what is wrong
        first, and where.
    """
    content = json.loads(text)
    what = kind.__name__.lower()
    if not isinstance(content, dict) or content.pop('format', None) != number:
        raise ValueError(f'not a {what} of format {number}')
    try:
        return _CONVERTER.structure(content, kind)
    except cattrs.BaseValidationError as error:
        first, *_ = cattrs.transform_error(error)
        raise ValueError(f'not a whole {what}: {first}') from error
