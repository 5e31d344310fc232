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

"""The jobs of Zuul: what can be known of them without a Zuul."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
from typing import Any

import fixtures
import yaml

from nova_freemem import conf
from tests import base
from tests.gate import environment

REPOSITORY = environment.REPOSITORY
# What Zuul and Ansible read, and how their checks are set.
READ = ('zuul.d', 'playbooks', '.yamllint', '.ansible-lint')
# What jobs set of DevStack itself.
DEVSTACK_SETTINGS = {'LIBVIRT_TYPE'}
TESTS = pathlib.PurePath('nova_freemem_tempest_plugin', 'tests')


def items(kind: str) -> list[dict[str, Any]]:
    """:returns: the jobs, nodesets or projects that zuul.d defines"""
    return [
        item[kind]
        for file in sorted((REPOSITORY / 'zuul.d').iterdir())
        for item in yaml.safe_load(file.read_text())
        if kind in item
    ]


class ChecksTest(base.TestCase):
    """Zuul, yamllint and ansible-lint find nothing, and would find a slip."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        for name in READ:
            source = REPOSITORY / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, self.folder / name)

    def misspell(self, file: str, right: str, wrong: str) -> None:
        """Put a slip into a file."""
        path = self.folder / file
        text = path.read_text()
        self.assertIn(right, text)
        path.write_text(text.replace(right, wrong, 1))

    def zuul(self) -> subprocess.CompletedProcess[str]:
        """:returns: how Zuul's own parser ended"""
        parser = pathlib.Path(__file__).with_name('parse_zuul.py')
        return environment.run('python', parser, 'zuul.d', folder=self.folder)

    def yamllint(self) -> subprocess.CompletedProcess[str]:
        """:returns: how yamllint ended"""
        return environment.run(
            'yamllint', '--strict', *READ, folder=self.folder
        )

    def ansible_lint(self) -> subprocess.CompletedProcess[str]:
        """:returns: how ansible-lint ended"""
        return environment.run(
            'ansible-lint', '--offline', 'playbooks', folder=self.folder
        )

    def assert_fails(
        self, done: subprocess.CompletedProcess[str], why: str
    ) -> None:
        """Fail unless a check failed, for a reason."""
        self.assertNotEqual(0, done.returncode, done.stdout)
        self.assertIn(why, done.stdout)

    def test_zuul_accepts_the_jobs_and_the_project(self) -> None:
        done = self.zuul()
        self.assertEqual(0, done.returncode, done.stdout)
        self.assertIn('3 files, 0 errors', done.stdout)

    def test_zuul_notices_a_misspelt_key_of_a_job(self) -> None:
        self.misspell(
            'zuul.d/jobs.yaml', 'irrelevant-files', 'irelevant-files'
        )
        self.assert_fails(self.zuul(), 'extra keys not allowed')

    def test_zuul_notices_a_misspelt_key_of_the_project(self) -> None:
        self.misspell('zuul.d/project.yaml', 'jobs:', 'job:')
        self.assert_fails(self.zuul(), "data['check']['job']")

    def test_zuul_notices_a_misspelt_item(self) -> None:
        self.misspell('zuul.d/project.yaml', '- project:', '- projects:')
        self.assert_fails(self.zuul(), 'Configuration item not recognized')

    def test_zuul_notices_a_misspelt_key_of_a_nodeset(self) -> None:
        self.misspell('zuul.d/nodesets.yaml', 'groups:', 'group:')
        self.assert_fails(self.zuul(), 'extra keys not allowed')

    def test_yamllint_finds_nothing(self) -> None:
        done = self.yamllint()
        self.assertEqual(0, done.returncode, done.stdout)

    def test_yamllint_notices_a_key_that_is_there_twice(self) -> None:
        self.misspell('zuul.d/project.yaml', '    gate:', '    check:')
        self.assert_fails(self.yamllint(), 'duplication of key "check"')

    def test_ansible_lint_finds_nothing(self) -> None:
        done = self.ansible_lint()
        self.assertEqual(0, done.returncode, done.stdout)

    def test_ansible_lint_notices_a_misspelt_keyword(self) -> None:
        self.misspell(
            'playbooks/check-nova-freemem.yaml', 'changed_when', 'changd_when'
        )
        self.assert_fails(self.ansible_lint(), 'changd_when')


class JobsTest(base.TestCase):
    """What Zuul's parser cannot know."""

    def test_each_job_of_the_project_is_defined(self) -> None:
        (project,) = items('project')
        # Of openstack-zuul-jobs, as the templates are.
        known = {'openstack-tox-functional'}
        known |= {job['name'] for job in items('job')}
        for pipeline in ('check', 'gate'):
            named = set(project[pipeline]['jobs'])
            self.assertEqual(set(), named - known)
        self.assertEqual(known, set(project['check']['jobs']))

    def test_each_job_has_its_place_in_the_manual(self) -> None:
        page = REPOSITORY / 'doc' / 'source' / 'contributor' / 'gate.rst'
        for job in items('job'):
            self.assertIn(f'\n``{job["name"]}``\n    ', page.read_text())

    def test_both_hosts_have_the_same_settings(self) -> None:
        for job in items('job'):
            settings = job.get('vars', {}).get('devstack_localrc')
            subnode = job.get('group-vars', {}).get('subnode', {})
            # Anything else there would hide what the parents have for both.
            self.assertEqual(
                {'devstack_localrc': settings} if settings else {},
                subnode,
                job['name'],
            )

    def test_each_setting_is_one_of_the_plugin(self) -> None:
        settings = (REPOSITORY / 'devstack' / 'settings').read_text()
        for job in items('job'):
            for name in job.get('vars', {}).get('devstack_localrc', {}):
                if name not in DEVSTACK_SETTINGS:
                    self.assertRegex(settings, f'(?m)^{name}=')

    def test_each_option_of_nova_compute_is_one_of_the_plugin(self) -> None:
        known = {option.name for option in conf.OPTIONS}
        for job in items('job'):
            local_conf = job.get('vars', {}).get('devstack_local_conf', {})
            files = local_conf.get('post-config', {})
            options = files.get('$NOVA_FREEMEM_CONF', {}).get('freemem', {})
            self.assertEqual(set(), set(options) - known, job['name'])

    def test_the_plugin_of_tempest_is_where_devstack_looks(self) -> None:
        for job in items('job'):
            for path in job.get('vars', {}).get('tempest_plugins', []):
                name, _, folder = path.partition('/')
                self.assertEqual('nova-freemem', name)
                self.assertTrue((REPOSITORY / folder / 'setup.cfg').is_file())

    def test_the_tests_that_a_job_runs_are_those_of_our_plugin(self) -> None:
        (variables,) = (
            job['vars']
            for job in items('job')
            if 'tempest_plugins' in job.get('vars', {})
        )
        regex = variables['tempest_test_regex']
        tests = REPOSITORY / 'tempest_plugin' / TESTS
        modules = [path.stem for path in tests.glob('test_*.py')]
        self.assertTrue(modules)
        for module in modules:
            name = '.'.join((*TESTS.parts, module))
            self.assertRegex(f'{name}.Test.test', regex)

    def test_each_nodeset_of_ours_has_the_names_nova_looks_for(self) -> None:
        for nodeset in items('nodeset'):
            self.assertEqual(
                ['controller', 'compute1'],
                [node['name'] for node in nodeset['nodes']],
            )

    def test_the_plugin_has_the_name_of_the_repository(self) -> None:
        settings = (REPOSITORY / 'devstack' / 'settings').read_text()
        (name,) = re.findall('(?m)^define_plugin (.*)', settings)
        for job in items('job'):
            plugins = job.get('vars', {}).get('devstack_plugins', {name: ''})
            self.assertEqual([name], list(plugins), job['name'])

    def test_the_playbooks_are_there(self) -> None:
        for job in items('job'):
            if playbook := job.get('post-run'):
                self.assertTrue((REPOSITORY / playbook).is_file(), playbook)

    def test_a_change_of_what_runs_in_a_job_runs_it(self) -> None:
        listed = subprocess.run(
            # Git refuses a clone of another user otherwise.
            ['git', '-c', f'safe.directory={REPOSITORY}', 'ls-files'],
            cwd=REPOSITORY,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        files = set(listed.stdout.splitlines())
        run = re.compile(
            '(nova_freemem|devstack|playbooks|zuul.d)/(?!.*[.]rst$)'
            '|(setup[.](cfg|py)|pyproject[.]toml|requirements[.]txt)$'
        )
        for job in items('job'):
            if patterns := job.get('irrelevant-files'):
                irrelevant = re.compile('|'.join(patterns))
                tested = 'tempest_plugins' in job.get('vars', {})
                ours = re.compile('tempest_plugin/(?!.*[.]rst$)')
                self.assertEqual(
                    {
                        file
                        for file in files
                        if run.match(file) or (tested and ours.match(file))
                    },
                    {file for file in files if not irrelevant.match(file)},
                    job['name'],
                )
