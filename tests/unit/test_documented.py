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

"""What operators meet is in the manual: options, events, reasons, lines."""

import ast
from collections.abc import Iterator
from importlib import metadata
import json
import pathlib
import re
import subprocess
import sys

from nova.conf import libvirt as nova_libvirt

import nova_freemem
from nova_freemem import conf as freemem_conf
from nova_freemem.plan import reasons
from nova_freemem.release import base as release
from tests import base

TREE = pathlib.Path(__file__).parents[2]
MANUAL = TREE / 'doc/source'
PACKAGE = pathlib.Path(nova_freemem.__file__).parent

LEVELS = ('info', 'warning', 'error', 'exception', 'critical')

# Idioms that an operator would have to learn first; GLOSSARY in the manual
# has the words for them.
IDIOMS = re.compile(
    r'\bowed\b|left alone|gives? back|promise|be bothered|told by|in vain',
    re.IGNORECASE,
)


def nodes() -> Iterator[ast.AST]:
    """:returns: the syntax of the whole package, node by node."""
    for path in sorted(PACKAGE.rglob('*.py')):
        yield from ast.walk(ast.parse(path.read_text()))


def strings() -> Iterator[str]:
    """:returns: the texts in the package, comments aside."""
    for node in nodes():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def logged() -> Iterator[tuple[str, str]]:
    """:returns: level and text of what is logged from INFO on."""
    for node in nodes():
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == 'LOG'
            and node.func.attr in LEVELS
        ):
            yield node.func.attr.upper(), ast.literal_eval(node.args[0])


def page(name: str) -> str:
    """:returns: the source of a page."""
    return (MANUAL / name).read_text()


def as_pattern(text: str) -> re.Pattern[str]:
    """:returns: what matches a log line, whatever its figures."""
    pieces = re.split(r'%(?:\(\w+\))?[-+,.0-9]*[sdrf]', text)
    return re.compile('.+'.join(map(re.escape, pieces)))


class OptionsTest(base.TestCase):
    def test_the_configuration_lists_all_options(self) -> None:
        self.assertIn(
            '.. show-options:: nova_freemem', page('configuration/index.rst')
        )

    def test_each_option_is_explained_where_it_matters(self) -> None:
        guide = ''.join(
            path.read_text()
            for folder in ('admin', 'install')
            for path in sorted((MANUAL / folder).glob('*.rst'))
        )
        for option in freemem_conf.OPTIONS:
            self.assertRegex(guide, rf'``{option.dest}( = \S+)?``')

    def test_the_options_that_need_a_restart_are_named(self) -> None:
        (named,) = re.findall(
            r'^To change (.+?), restart nova-compute\.',
            page('configuration/index.rst'),
            re.MULTILINE | re.DOTALL,
        )
        self.assertEqual(
            [
                option.dest
                for option in freemem_conf.OPTIONS
                if not option.mutable
            ],
            re.findall(r'``(\w+)``', named),
        )

    def test_each_of_novas_options_of_live_migration_is_described(
        self,
    ) -> None:
        described = re.findall(
            r'^   \* - ``(live_migration_\w+)``\n     -(?: (\d+))?$',
            page('configuration/index.rst'),
            re.MULTILINE,
        )
        release = int(metadata.version('nova').partition('.')[0])
        self.assertEqual(
            sorted(
                option.name
                for option in nova_libvirt.ALL_OPTS
                if option.name.startswith('live_migration_')
            ),
            sorted(
                name for name, since in described if release >= int(since or 0)
            ),
        )

    def test_no_option_is_described_that_there_is_not(self) -> None:
        known = {option.dest for option in freemem_conf.OPTIONS}
        for path in sorted(MANUAL.rglob('*.rst')):
            for name in re.findall(r'``\[freemem\] (\w+)', path.read_text()):
                self.assertIn(name, known, path.name)


class ReasonsTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        # The text from one directive to the next.
        self.explained = dict(
            re.findall(
                r'^\.\. freemem-reason:: (\w+)\n(.*?)(?=^\S|\Z)',
                page('admin/events-and-reasons.rst'),
                re.DOTALL | re.MULTILINE,
            )
        )

    def test_each_reason_is_explained_and_no_other(self) -> None:
        self.assertEqual(
            sorted(reason.name.lower() for reason in reasons.Reason),
            sorted(self.explained),
        )

    def test_each_explanation_says_what_to_do(self) -> None:
        for name, text in self.explained.items():
            self.assertIn('*What to do:*', text, name)


class EndReasonsTest(base.TestCase):
    def test_each_end_of_a_release_is_explained_and_no_other(self) -> None:
        explained = re.findall(
            r'^   ([A-Z_]+)\n       \S',
            page('admin/troubleshooting.rst'),
            re.MULTILINE,
        )
        self.assertEqual(
            sorted(reason.name for reason in release.EndReason),
            sorted(explained),
        )


class EventsTest(base.TestCase):
    def test_each_event_is_explained(self) -> None:
        events = {
            text.partition('{')[0]
            for text in strings()
            if re.fullmatch(r'compute_freemem_[a-z_]+(\{\w+\})?', text)
        }
        self.assertGreaterEqual(len(events), 3)
        explained = page('admin/events-and-reasons.rst')
        for event in events:
            self.assertRegex(
                explained, rf'(?m)^``{event}(<reason>)?``$', event
            )


class NotificationsTest(base.TestCase):
    def test_each_notification_is_explained_and_no_other(self) -> None:
        types = [
            text
            for text in strings()
            if re.fullmatch(r'freemem\.[a-z]+(\.[a-z]+)?', text)
        ]
        self.assertEqual(5, len(types))
        explained = page('admin/notifications.rst')
        self.assertEqual(
            sorted(types),
            sorted(re.findall(r'(?m)^``(freemem\..+)``$', explained)),
        )

    def test_each_sample_is_shown(self) -> None:
        shown = page('admin/notifications.rst')
        for sample in sorted((TREE / 'doc/notification_samples').iterdir()):
            self.assertIn(f'notification_samples/{sample.name}', shown)

    def test_each_field_is_explained(self) -> None:
        explained = page('admin/notifications.rst')
        samples = (TREE / 'doc/notification_samples').glob('*-legacy.json')
        for sample in [*samples]:
            for name in json.loads(sample.read_text())['payload']:
                self.assertIn(f'``{name}``', explained)


class LogLinesTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.explained = [
            (level, text)
            for text, level in re.findall(
                r'^``(.+)`` \((\w+)\)$',
                page('admin/troubleshooting.rst'),
                re.MULTILINE,
            )
        ]

    def test_each_log_line_is_explained(self) -> None:
        lines = list(logged())
        self.assertGreater(len(lines), 10)
        for level, text in lines:
            self.assertTrue(
                any(
                    as_pattern(text).fullmatch(shown)
                    for shown_level, shown in self.explained
                    if shown_level == level
                ),
                f'not in troubleshooting.rst: {level} {text}',
            )

    def test_no_log_line_is_explained_that_there_is_not(self) -> None:
        patterns = [(level, as_pattern(text)) for level, text in logged()]
        for level, shown in self.explained:
            self.assertTrue(
                any(
                    pattern.fullmatch(shown)
                    for one, pattern in patterns
                    if one == level
                ),
                f'nowhere in the code: {level} {shown}',
            )


class WordsTest(base.TestCase):
    def test_nobody_has_to_learn_a_private_idiom_first(self) -> None:
        for path in (
            TREE / 'README.rst',
            *sorted(MANUAL.rglob('*.rst')),
            *sorted(MANUAL.rglob('*.inc')),
            *sorted((TREE / 'releasenotes/notes').glob('*.yaml')),
        ):
            found = IDIOMS.search(path.read_text())
            self.assertIsNone(found, f'{path.name}: {found}')


class ReadmeTest(base.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.readme = (TREE / 'README.rst').read_text()
        self.figures = MANUAL / 'images/live-migration.json'

    def test_it_is_one_screen(self) -> None:
        self.assertLess(len(self.readme.splitlines()), 90)

    def test_its_links_lead_somewhere(self) -> None:
        links = re.findall(r'(?:<|:: )(doc/[^>\s]+)', self.readme)
        self.assertGreater(len(links), 4)
        for link in links:
            self.assertTrue((TREE / link).exists(), link)

    def test_its_table_shows_what_the_demo_measured(self) -> None:
        without, with_plugin = json.loads(self.figures.read_text())
        for name, figure in (
            ('seconds_total', '{:.1f}'),
            ('seconds_transfer', '{:.1f}'),
            ('megabytes', '{:,.0f}'),
            ('downtime_ms', '{}'),
        ):
            row = [
                figure.format(
                    run['bytes_sent'] / 1e6
                    if name == 'megabytes'
                    else run[name]
                )
                for run in (without, with_plugin)
            ]
            self.assertRegex(self.readme, r'\s+'.join(map(re.escape, row)))
        for name in ('seconds_release', 'seconds_restore'):
            self.assertIn(
                f'\\-              {with_plugin[name]:.1f}', self.readme
            )

    def test_its_picture_shows_what_the_demo_measured(self) -> None:
        drawn = subprocess.run(
            [sys.executable, TREE / 'doc/ext/migration.py', self.figures, '-'],
            capture_output=True,
            check=True,
            text=True,
        )
        picture = self.figures.with_suffix('.svg')
        self.assertEqual(picture.read_text(), drawn.stdout)
