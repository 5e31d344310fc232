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

"""Run tempest on the lab: python -m tests.tempest PYTHON.

PYTHON is that of the environment that has tempest and our plugin for it. The
lab is brought up for it, with a folder of its own for the disks of each host,
and taken down afterwards. See ``tools/test.sh tempest``.
"""

import collections
import sys
import time

from tests.lab import cloud as lab_cloud
from tests.lab import layout
from tests.lab import steps
from tests.lab import teardown
from tests.tempest import checks
from tests.tempest import configuration
from tests.tempest import session
from tests.tempest import verdict


def _judge(cloud: checks.Cloud, outcome: session.Outcome) -> verdict.Judgement:
    """Look at the cloud after a test, and show what came of it."""
    requests, wrong = cloud.look()
    judgement = verdict.Judgement(
        outcome, [name for one in requests for name in one.decisions], wrong
    )
    print(judgement.text(), flush=True)
    return judgement


def _run(
    python: str, cloud: lab_cloud.Cloud, plan: verdict.Plan, plugin: bool
) -> verdict.Verdict:
    """Run the tests of a plan.

    :param python: of the environment that has tempest.
    :param cloud: the lab's, with the plugin on both hosts or on none.
    :param plan: what to run.
    :param plugin: whether both hosts have the plugin.
    """
    title = f'{plan.name}, {"with" if plugin else "without"} nova-freemem'
    print(f'\n{title}:', flush=True)
    started = time.monotonic()
    look = checks.Cloud(cloud.api, plugin)
    judgements = [
        _judge(look, outcome) for outcome in session.run(python, plan.modules)
    ]
    return verdict.Verdict(
        title, plan, judgements, round(time.monotonic() - started)
    )


def _run_all(python: str, cloud: lab_cloud.Cloud) -> list[verdict.Verdict]:
    cloud.up(plugin=True, own_disks=True)
    configuration.write(cloud.api)
    with_plugin = [
        _run(python, cloud, plan, plugin=True)
        for plan in (verdict.TEMPEST, verdict.OURS)
    ]
    cloud.plugin(False)
    return [*with_plugin, _run(python, cloud, verdict.TEMPEST, plugin=False)]


def main(python: str) -> int:
    """Run everything, and print the counts last.

    :param python: of the environment that has tempest.
    :returns: the exit code: 0; 1 where something failed; 2 where the lab is
        up already, with whatever folders for disks.
    """
    cloud = lab_cloud.Cloud()
    if cloud.is_up:
        print('the lab is up: tools/lab.sh down', file=sys.stderr)
        return 2
    failed = True
    # The logs, which tell more of a failure, stay with the databases.
    teardown.at_exit(lambda: failed)
    try:
        verdicts = _run_all(python, cloud)
    except steps.LabError as error:
        print(error, file=sys.stderr)
        return 1
    print()
    for one in verdicts:
        print(one.text())
    counts = sum((one.counts for one in verdicts), collections.Counter())
    failed = counts['failed'] > 0
    if failed:
        print(f'The logs of tempest and of all services: {layout.LAB.log}')
    print(verdict.summary(counts))
    return int(failed)


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
