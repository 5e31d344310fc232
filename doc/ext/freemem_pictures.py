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

"""Draw the pictures of the manual as it is built.

They go to ``_static`` beside the sample of the configuration, which is not
kept in the repository either.
"""

from __future__ import annotations

import pathlib
from typing import Any

import architecture
from sphinx.application import Sphinx


def _draw(app: Sphinx) -> None:
    folder = pathlib.Path(app.srcdir, '_static')
    folder.mkdir(exist_ok=True)
    target, shown = folder / 'architecture.svg', architecture.draw()
    if not target.exists() or target.read_text() != shown:
        target.write_text(shown)


def setup(app: Sphinx) -> dict[str, Any]:
    """Draw before the pages are read."""
    app.connect('builder-inited', _draw)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
