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

"""Our plugin of tempest, and what judges tempest's tests on the lab."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import subprocess
from typing import Any
from unittest import mock

import fixtures

from tests import base
from tests.gate import environment
from tests.lab import layout
from tests.lab.services import settings
from tests.tempest import checks
from tests.tempest import configuration
from tests.tempest import session
from tests.tempest import verdict

PLUGIN = environment.REPOSITORY / 'tempest_plugin'
PACKAGE = 'nova_freemem_tempest_plugin'
MIGRATIONS = '/os-migrations?migration_type=live-migration'
RUN_TESTS = pathlib.Path(session.__file__).with_name('run_tests.py')


class PluginTest(base.TestCase):
    """The plugin in an environment that has tempest, and no cloud."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        shutil.copytree(PLUGIN / PACKAGE, self.folder / PACKAGE)

    def run_it(self, *command: str | pathlib.Path, stderr: int = -2) -> str:
        """Run a program of the environment, and fail if it fails.

        :returns: what it wrote
        """
        done = environment.run(
            *command, folder=self.folder, name='tempest', stderr=stderr
        )
        self.assertEqual(0, done.returncode, done.stdout)
        return done.stdout

    def check_ids(self) -> subprocess.CompletedProcess[str]:
        """:returns: how tempest's own check of its tests' ids ended"""
        return environment.run(
            'check-uuid',
            '--package',
            f'{PACKAGE}.tests',
            folder=self.folder,
            name='tempest',
        )

    def test_tempest_finds_the_plugin(self) -> None:
        self.assertIn(
            f'{PACKAGE}.plugin:FreememTempestPlugin',
            self.run_it('tempest', 'list-plugins'),
        )

    def test_tempests_sample_has_the_options(self) -> None:
        sample = self.run_it(
            'oslo-config-generator', '--namespace', 'tempest.config'
        )
        self.assertIn('\n#nova_freemem = false\n', sample)
        self.assertIn('\n[nova_freemem]\n', sample)
        self.assertIn('\n#page_cache_mib = 512\n', sample)

    def test_every_test_has_an_id_of_its_own(self) -> None:
        done = self.check_ids()
        self.assertEqual(0, done.returncode, done.stdout)

    def test_an_id_that_is_there_twice_is_noticed(self) -> None:
        file = self.folder / PACKAGE / 'tests' / 'test_skip.py'
        first, second, *_ = [
            line
            for line in file.read_text().splitlines()
            if 'idempotent_id' in line
        ]
        file.write_text(file.read_text().replace(second, first))
        self.assertNotEqual(0, self.check_ids().returncode)

    def test_nothing_runs_where_nova_freemem_is_not(self) -> None:
        (self.folder / 'tempest.conf').write_text(
            '[compute]\nmax_microversion = latest\n'
        )
        said = self.run_it(
            'env',
            f'TEMPEST_CONFIG_DIR={self.folder}',
            'TEMPEST_CONFIG=tempest.conf',
            'python',
            RUN_TESTS,
            *verdict.OURS.modules,
            stderr=subprocess.DEVNULL,
        )
        outcomes = [
            session.Outcome(**json.loads(line)) for line in said.splitlines()
        ]
        self.assertTrue(outcomes)
        for outcome in outcomes:
            self.assertEqual('skipped', outcome.result, outcome)
            self.assertEqual('nova-freemem is not available', outcome.why)

    def test_each_file_of_tests_is_run_on_the_lab(self) -> None:
        there = {
            f'{PACKAGE}.tests.{path.stem}'
            for path in (PLUGIN / PACKAGE / 'tests').glob('test_*.py')
        }
        self.assertEqual(there, set(verdict.OURS.modules))


class LabTest(base.TestCase):
    """What tempest is told of the lab, without a lab."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        lab = dataclasses.replace(layout.LAB, state=self.folder)
        settings.make_password(lab)
        lab.log.mkdir()
        for place, fake in (
            ('tests.tempest.configuration.layout.LAB', lab),
            ('tests.tempest.configuration.images', mock.MagicMock()),
            ('tests.tempest.configuration.guest_image.get', mock.MagicMock()),
        ):
            self.useFixture(fixtures.MockPatch(place, fake))
        self.api = mock.MagicMock()
        configuration.write(self.api)
        self.file = self.folder / 'tempest' / 'tempest.conf'

    def unknown(self) -> list[str]:
        """:returns: the options that tempest does not know"""
        done = environment.run(
            'python',
            pathlib.Path(__file__).with_name('known_to_tempest.py'),
            self.file,
            folder=self.folder,
            name='tempest',
            stderr=subprocess.DEVNULL,
        )
        self.assertEqual(0, done.returncode)
        return done.stdout.splitlines()

    def test_tempest_knows_every_option(self) -> None:
        self.assertEqual([], self.unknown())

    def test_an_option_that_tempest_does_not_know_is_noticed(self) -> None:
        text = self.file.read_text()
        self.file.write_text(text.replace('guest_access', 'guests_access'))
        self.assertEqual(['nova_freemem guests_access'], self.unknown())

    def test_only_its_owner_can_read_the_password(self) -> None:
        self.assertEqual(0o600, self.file.stat().st_mode & 0o777)


class VerdictTest(base.TestCase):
    """What counts as a failure although tempest says nothing of it."""

    PLAN = verdict.Plan(
        'tests', ('module',), 2, {'Class.test_c': 'no volumes'}
    )

    def judge(
        self, *results: tuple[str, str, str], wrong: tuple[str, ...] = ()
    ) -> verdict.Verdict:
        """Judge tests.

        :param results: the name of each, its result and why
        :param wrong: what was not right after each
        """
        return verdict.Verdict(
            'tests',
            self.PLAN,
            [
                verdict.Judgement(
                    session.Outcome(f'module.Class.{name}', result, why, 1.0),
                    [],
                    wrong,
                )
                for name, result, why in results
            ],
            seconds=3,
        )

    def test_a_run_as_planned_has_no_failures(self) -> None:
        found = self.judge(
            ('test_a', 'passed', ''),
            ('test_b', 'passed', ''),
            ('test_c', 'skipped', 'there are no volumes here'),
        )
        self.assertEqual(
            'tests: 2 passed, 0 failed, 1 skipped, 3 s', found.text()
        )

    def test_a_count_below_what_is_expected_is_a_failure(self) -> None:
        found = self.judge(
            ('test_a', 'passed', ''), ('test_c', 'skipped', 'no volumes')
        )
        self.assertEqual(1, found.counts['failed'])
        self.assertIn('at least 2 have to', found.text())

    def test_a_skip_that_is_not_on_the_list_is_a_failure(self) -> None:
        found = self.judge(
            ('test_a', 'passed', ''),
            ('test_b', 'passed', ''),
            ('test_c', 'skipped', 'no volumes'),
            ('test_d', 'skipped', 'no reason'),
        )
        self.assertEqual(1, found.counts['failed'])
        self.assertIn('Class.test_d was skipped', found.text())

    def test_a_skip_for_another_reason_is_a_failure(self) -> None:
        found = self.judge(
            ('test_a', 'passed', ''),
            ('test_b', 'passed', ''),
            ('test_c', 'skipped', 'no hosts'),
        )
        self.assertEqual(1, found.counts['failed'])

    def test_a_skip_that_is_not_needed_any_more_is_a_failure(self) -> None:
        found = self.judge(
            ('test_a', 'passed', ''),
            ('test_b', 'passed', ''),
            ('test_c', 'passed', ''),
        )
        self.assertEqual(1, found.counts['failed'])
        self.assertIn('to be taken from the list', found.text())

    def test_a_test_that_left_something_wrong_has_failed(self) -> None:
        found = self.judge(
            ('test_a', 'passed', ''), wrong=('a journal entry',)
        )
        self.assertEqual(0, found.counts['passed'])
        self.assertIn('a journal entry', found.judgements[0].text())

    def test_a_class_that_was_skipped_goes_by_its_name(self) -> None:
        outcome = session.Outcome(
            'setUpClass (tempest.api.test_it.SomeTest)', 'skipped', '', 0.0
        )
        self.assertEqual('SomeTest', outcome.name)


class ChecksTest(base.TestCase):
    """What Nova and nova-compute tell of a migration."""

    @staticmethod
    def event(name: str, result: str = 'Success') -> dict[str, str]:
        """:returns: an event as Nova's API has it"""
        return {'event': name, 'result': result}

    def wrong(self, *names: str, plugin: bool = True) -> list[str]:
        """:returns: what is wrong with the decisions on a migration"""
        request = checks.read_request([self.event(name) for name in names])
        return checks.wrong_decisions(request, plugin)

    def test_a_migration_has_one_decision(self) -> None:
        prepared = 'compute_pre_live_migration'
        release = 'compute_freemem_release'
        skip = 'compute_freemem_skip_no_source'
        self.assertEqual([], self.wrong(prepared, release))
        self.assertEqual([], self.wrong(prepared, skip))
        self.assertNotEqual([], self.wrong(prepared))
        self.assertNotEqual([], self.wrong(prepared, release, skip))

    def test_a_migration_that_never_reached_the_driver_has_none(self) -> None:
        self.assertEqual([], self.wrong('conductor_live_migrate_instance'))
        failed = checks.read_request(
            [self.event('compute_pre_live_migration', 'Error')]
        )
        self.assertFalse(failed.reached_driver)

    def test_without_the_plugin_there_is_no_decision(self) -> None:
        prepared = 'compute_pre_live_migration'
        self.assertEqual([], self.wrong(prepared, plugin=False))
        self.assertNotEqual(
            [],
            self.wrong(prepared, 'compute_freemem_release', plugin=False),
        )

    def test_errors_of_the_plugin_are_told_from_those_of_nova(self) -> None:
        ours = '2026 1 ERROR nova_freemem.restore.reconciler [-] broken'
        nova = '2026 1 ERROR nova.compute.manager [-] nova_freemem.driver'
        self.assertEqual([ours], checks.errors_of_ours(f'{ours}\n{nova}\n'))


class LookTest(base.TestCase):
    """A cloud is looked at after each test."""

    def setUp(self) -> None:
        super().setUp()
        state = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        lab = dataclasses.replace(layout.LAB, state=state)
        lab.log.mkdir()
        self.nova_log = lab.log / 'host2-nova-compute.log'
        for host in layout.HOSTS:
            (lab.log / f'{host}-nova-compute.log').write_text('')
        for place, fake in (
            ('tests.tempest.checks.layout.LAB', lab),
            ('tests.tempest.checks._with_journal_entry', list),
            ('tests.tempest.checks._EVENT_SECONDS', 0),
        ):
            self.useFixture(fixtures.MockPatch(place, fake))
        self.answers: dict[str, Any] = {MIGRATIONS: {'migrations': []}}
        self.api = mock.MagicMock()
        self.api.compute.get = self.get

    def get(self, url: str, microversion: str) -> mock.Mock:
        """Answer as Nova's API does."""
        return mock.Mock(json=lambda: self.answers[url])

    def migrate(self, number: int, *names: str) -> None:
        """Have a server migrated once more.

        :param number: of the migration
        :param names: of its events
        """
        (migrations,) = self.answers[MIGRATIONS].values()
        migrations.append({'id': number, 'instance_uuid': 'server'})
        actions = self.answers.setdefault(
            '/servers/server/os-instance-actions', {'instanceActions': []}
        )
        request = f'req-{number}'
        actions['instanceActions'].append(
            {'action': 'live-migration', 'request_id': request}
        )
        self.answers[f'/servers/server/os-instance-actions/{request}'] = {
            'instanceAction': {
                'events': [ChecksTest.event(name) for name in names]
            }
        }

    def test_each_migration_is_judged_once(self) -> None:
        prepared = 'compute_pre_live_migration'
        self.migrate(1, prepared)
        cloud = checks.Cloud(self.api, plugin=True)
        self.assertEqual(([], []), cloud.look())
        self.migrate(2, prepared, 'compute_freemem_release')
        (request,), wrong = cloud.look()
        self.assertEqual(('compute_freemem_release',), request.decisions)
        self.assertEqual([], wrong)
        self.migrate(3, prepared)
        (request,), wrong = cloud.look()
        self.assertEqual(1, len(wrong), wrong)
        self.assertEqual(([], []), cloud.look())

    def test_an_error_of_the_plugin_is_told_once(self) -> None:
        error = '2026 1 ERROR nova_freemem.driver [-] broken'
        self.nova_log.write_text(f'{error}\n')
        cloud = checks.Cloud(self.api, plugin=True)
        self.assertEqual(([], []), cloud.look())
        with self.nova_log.open('a') as log:
            log.write(f'{error}\n')
        self.assertEqual(([], [error]), cloud.look())
        self.assertEqual(([], []), cloud.look())

    def test_a_journal_entry_that_stays_is_told(self) -> None:
        cloud = checks.Cloud(self.api, plugin=True)
        for place, fake in (
            ('tests.tempest.checks._with_journal_entry', lambda: ['a guest']),
            ('tests.tempest.checks._RESTORE_SECONDS', 0),
        ):
            self.useFixture(fixtures.MockPatch(place, fake))
        self.assertEqual(([], ['a guest has a journal entry']), cloud.look())
