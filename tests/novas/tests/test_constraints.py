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

"""The releases that are supported can be installed, each with its own."""

import pathlib
import re

from tests import base
from tests.novas import releases

ROOT = pathlib.Path(__file__).parents[3]
FOLDER = ROOT / 'tests/novas'


def names(path: pathlib.Path) -> set[str]:
    """:returns: the distributions that a file names, spelt one way."""
    found = re.findall('^[A-Za-z0-9._-]+', path.read_text(), re.MULTILINE)
    return {re.sub('[-_.]+', '-', name).lower() for name in found}


class ConstraintsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.files = {
            int(path.stem.partition('-')[2]): path
            for path in FOLDER.glob('constraints-*.txt')
        }
        self.newest = ROOT / 'constraints.txt'

    def test_releases_follow_one_another_up_to_the_newest(self) -> None:
        pinned = re.search('^nova==([0-9]+)', self.newest.read_text(), re.M)
        assert pinned is not None
        newest = int(pinned.group(1))
        self.assertEqual(
            list(range(min(self.files), newest)), sorted(self.files)
        )

    def test_manual_names_the_same_releases(self) -> None:
        oldest, newest = min(self.files), max(self.files) + 1
        for page in ('install', 'upgrade'):
            text = (ROOT / f'doc/source/install/{page}.rst').read_text()
            self.assertIn(f'Nova {oldest} to {newest}', text, page)

    def test_each_has_its_own_release(self) -> None:
        for release, path in self.files.items():
            self.assertRegex(path.read_text(), rf'(?m)^nova=={release}\.')

    def test_whatever_is_needed_is_pinned(self) -> None:
        needed = names(ROOT / 'requirements.txt') | names(
            FOLDER / 'requirements.txt'
        )
        for path in (self.newest, *self.files.values()):
            self.assertEqual(set(), needed - names(path), path)

    def test_libvirt_binding_fits_the_same_libvirt(self) -> None:
        pins = {
            line
            for path in (self.newest, *self.files.values())
            for line in path.read_text().splitlines()
            if line.startswith('libvirt-python==')
        }
        self.assertEqual(1, len(pins), pins)


class ModesTest(base.TestCase):
    def test_default_of_nova_compute_comes_first(self) -> None:
        eventlet, threads = releases.Mode.EVENTLET, releases.Mode.THREADS
        self.assertEqual([eventlet], releases.modes(31))
        self.assertEqual([eventlet], releases.modes(33))
        self.assertEqual([threads, eventlet], releases.modes(34))
