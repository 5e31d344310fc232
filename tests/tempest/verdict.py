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

"""Which tests have to run, which may be left out, and what came of them."""

import collections
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

from tests.tempest import session

_TOLD_LINES = 25


@dataclasses.dataclass(frozen=True)
class Plan:
    """Tests that are run together.

    :param name: what they are called in the output.
    :param modules: where they are.
    :param least: how many have to pass.
    :param skips: those that cannot run here, and tempest's reason; for a
        whole class its name stands alone.
    """

    name: str
    modules: tuple[str, ...]
    least: int
    skips: Mapping[str, str]


# There is no cinder, no agent of neutron and no barbican in the lab.
_NOT_BY_VOLUME = 'Volume-backed live migration not available'
_NO_VOLUMES = 'the volume service is not available'
_NO_TRUNK = 'network extension: trunk is not enabled'
_NO_CONSOLE = 'Serial console not supported'
_NO_BARBICAN = 'barbican-tempest-plugin is not installed'

#: Tempest's own tests of live migration.
TEMPEST = Plan(
    name="tempest's own tests",
    modules=(
        'tempest.api.compute.admin.test_live_migration',
        'tempest.api.compute.admin.test_live_migration_negative',
    ),
    least=9,
    skips={
        f'{test_class}.{test}': why
        for test_class in (
            'LiveAutoBlockMigrationV225Test',
            'LiveMigrationTest',
            'LiveMigrationWithoutHostTest',
        )
        for test, why in (
            (
                'test_live_block_migration_with_attached_volume',
                _NO_VOLUMES,
            ),
            ('test_live_migration_with_trunk', _NO_TRUNK),
            ('test_volume_backed_live_migration', _NOT_BY_VOLUME),
        )
    }
    | {
        'LiveMigrationRemoteConsolesV26Test': _NO_CONSOLE,
        'LiveMigrationWithVTPMTest': _NO_BARBICAN,
    },
)

_PACKAGE = 'nova_freemem_tempest_plugin.tests'
#: Our plugin's tests.
OURS = Plan(
    name="our plugin's tests",
    modules=tuple(
        f'{_PACKAGE}.{name}'
        for name in ('test_interruption', 'test_release', 'test_skip')
    ),
    least=12,
    skips={},
)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A test, and what the lab had to say of it.

    :param outcome: by tempest.
    :param decisions: what the plugin decided on its migrations.
    :param wrong: what was not as it has to be afterwards.
    """

    outcome: session.Outcome
    decisions: Sequence[str]
    wrong: Sequence[str]

    @property
    def result(self) -> str:
        """``passed``, ``failed`` or ``skipped``, all things considered."""
        return 'failed' if self.wrong else self.outcome.result

    def text(self) -> str:
        """Return what to print of it."""
        one = self.outcome
        line = f'  {self.result:7} {one.seconds:4.0f} s  {one.name}'
        decided = collections.Counter(
            name.removeprefix('compute_freemem_') for name in self.decisions
        )
        if decided:
            line += ': ' + ', '.join(
                f'{count} {name}' for name, count in sorted(decided.items())
            )
        if one.result == 'skipped':
            line += f': {one.why}'
        # The end of what tempest tells is what failed; the log of all its
        # requests comes before.
        told = one.why.splitlines()[-_TOLD_LINES:]
        more = told if one.result == 'failed' else []
        more += self.wrong
        return '\n'.join([line, *(f'    {why}' for why in more)])


@dataclasses.dataclass(frozen=True)
class Verdict:
    """All tests of a plan.

    :param title: what to call them.
    :param plan: what was planned.
    :param judgements: of each test.
    :param seconds: how long it took.
    """

    title: str
    plan: Plan
    judgements: Sequence[Judgement]
    seconds: int

    @property
    def deviations(self) -> list[str]:
        """What is not as planned, one sentence each."""
        skipped = {
            one.outcome.name: one.outcome.why
            for one in self.judgements
            if one.result == 'skipped'
        }
        found = [
            f'{name} was skipped, and should not have been: {why}'
            for name, why in skipped.items()
            if name not in self.plan.skips or self.plan.skips[name] not in why
        ]
        found += [
            f'{name} was not skipped: it is to be taken from the list'
            for name in self.plan.skips
            if name not in skipped
        ]
        passed = sum(one.result == 'passed' for one in self.judgements)
        if passed < self.plan.least:
            found.append(
                f'{passed} tests passed, and at least {self.plan.least} have'
                ' to'
            )
        return found

    @property
    def counts(self) -> collections.Counter[str]:
        """How many tests passed, failed and were skipped.

        A deviation from the plan counts as a test that failed.
        """
        counts = collections.Counter(one.result for one in self.judgements)
        counts['failed'] += len(self.deviations)
        return counts

    def text(self) -> str:
        """Return what to print of it."""
        lines = [f'{self.title}: {summary(self.counts)}, {self.seconds} s']
        lines += [f'  {deviation}' for deviation in self.deviations]
        return '\n'.join(lines)


def summary(counts: Mapping[str, int]) -> str:
    """Return counts as the last line of ``tools/test.sh`` has them."""
    return ', '.join(
        f'{counts[result]} {result}'
        for result in ('passed', 'failed', 'skipped')
    )
