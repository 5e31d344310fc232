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


"""The file that keeps what was found."""

import json
import os
import pathlib
from typing import Any

import cattrs
from cattrs import errors as cattrs_errors

from tests.chaos.record import Findings

#: Changes when a field changes its name or its meaning.
FORMAT = 3

_CONVERTER = cattrs.Converter(forbid_extra_keys=True)
_CONVERTER.register_unstructure_hook(float, lambda seconds: round(seconds, 3))


def to_json(findings: Findings) -> str:
    """Write findings on one line, seconds to the millisecond."""
    return json.dumps(_content(findings)) + '\n'


def from_json(text: str) -> Findings:
    """Read what to_json() or write() wrote.

    :raises ValueError: it is something else.
    """
    content = json.loads(text)
    if not isinstance(content, dict) or content.pop('format', 0) != FORMAT:
        raise ValueError(f'not findings of the faults, format {FORMAT}')
    try:
        return _CONVERTER.structure(content, Findings)
    except cattrs_errors.ClassValidationError as error:
        why = '; '.join(cattrs.transform_error(error))
        raise ValueError(f'the findings are not complete: {why}') from error


def write(findings: Findings, file: pathlib.Path) -> None:
    """Replace a file with findings: as a whole, or not at all."""
    scratch = file.with_name(f'{file.name}.new')
    lines = ',\n'.join(
        f'"{name}": {_in_lines(value)}'
        for name, value in _content(findings).items()
    )
    scratch.write_text(f'{{\n{lines}\n}}\n')
    os.replace(scratch, file)


def _content(findings: Findings) -> dict[str, Any]:
    return {'format': FORMAT, **_CONVERTER.unstructure(findings)}


def _in_lines(value: Any) -> str:
    """Give each cell a line, so that two files can be compared."""
    if not isinstance(value, list | tuple):
        return json.dumps(value)
    lines = ',\n'.join(map(json.dumps, value))
    return f'[\n{lines}\n]' if lines else '[]'
