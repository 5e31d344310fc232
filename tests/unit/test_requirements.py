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

"""What is installed is what is needed, at the versions that were tested."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
import pathlib
import re
import sys

import grimp

from tests import base

ROOT = pathlib.Path(__file__).parents[2]
# The plugin is installed where Nova is, and Nova brings its own eventlet.
NOVA = {'nova', 'eventlet'}
# setup.py builds the package with it; no module imports it.
BUILD = {'pbr'}


def canonical(name: str) -> str:
    """:returns: the one spelling of a distribution's many."""
    return re.sub('[-_.]+', '-', name).lower()


def named_by(path: str) -> Iterator[str]:
    """:returns: the distributions that a file of requirements names."""
    for line in (ROOT / path).read_text().splitlines():
        if name := re.match('[A-Za-z0-9._-]+', line):
            yield canonical(name.group())


class RequirementsTest(base.TestCase):
    def test_the_package_requires_what_it_imports_and_nothing_else(
        self,
    ) -> None:
        graph = grimp.build_graph(
            'nova_freemem', include_external_packages=True, cache_dir=None
        )
        imported = {
            module
            for module in graph.modules
            if graph.is_module_squashed(module)
            and module not in sys.stdlib_module_names
        }
        providers = metadata.packages_distributions()
        self.assertEqual(
            {canonical(providers[module][0]) for module in imported - NOVA},
            set(named_by('requirements.txt')) - BUILD,
        )

    def test_each_requirement_is_pinned(self) -> None:
        pinned = set(named_by('constraints.txt'))
        for path in (
            'requirements.txt',
            'test-requirements.txt',
            'doc/requirements.txt',
        ):
            self.assertEqual(set(), set(named_by(path)) - pinned, path)
