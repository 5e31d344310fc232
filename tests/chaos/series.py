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

"""Cells run one after the other, on one cloud with one guest."""

from collections.abc import Iterable
from collections.abc import Iterator
import contextlib

import libvirt
from openstack import exceptions as sdk_exceptions

from tests.bench import surroundings
from tests.chaos import record
from tests.chaos import runner
from tests.chaos import tidy
from tests.chaos import verdict
from tests.chaos.matrix import Cell
from tests.chaos.phases import Phase
from tests.chaos.record import Findings
from tests.chaos.stage import Stage
from tests.lab import cloud as lab_cloud
from tests.lab import lock
from tests.lab import steps

_ERRORS = (
    steps.LabError,
    libvirt.libvirtError,
    sdk_exceptions.SDKException,
    TimeoutError,
    OSError,
)


@contextlib.contextmanager
def stage(plugin: bool) -> Iterator[Stage]:
    """Bring the cloud up with one guest; take it down unless it was up.

    :param plugin: whether nova-compute loads the plugin.
    """
    cloud = lab_cloud.Cloud()
    stays = cloud.is_up
    is_whole = False
    try:
        lock.take()
        made = Stage(cloud)
        made.configure()
        cloud.up(plugin=plugin)
        made.boot()
        yield made
        made.clear()
        for other in list(made.others):
            made.dismiss(other)
        made.unconfigure()
        if stays:
            made.start_computes()
        is_whole = True
    finally:
        if not stays:
            # The logs are kept together with the databases.
            cloud.down(keep_databases=not is_whole)


def run(cells: Iterable[Cell], on: Stage) -> Iterator[Findings]:
    """Run cells, one after the other; an inconclusive one ends none of them.

    A cell whose fault came too late for its phase is run once more. So is one
    in which the release was skipped, with a new guest.

    :returns: what was found in each, as it ends.
    """
    machine = dict(surroundings.describe(on.source))
    for cell in cells:
        found = _run_one(cell, on)
        if isinstance(found, record.Record) and verdict.judge(found).missed:
            if found.plugin and not found.outstanding:
                on.boot()
            found = _run_one(cell, on)
        yield Findings(machine).plus(found)


def _run_one(cell: Cell, on: Stage) -> record.Record | record.Inconclusive:
    found: record.Record | None = None
    why = ''
    try:
        on.configure(post_copy=cell.phase is Phase.POST_COPY)
        on.start_computes()
        if cell.kind.several:
            on.gather()
        else:
            for other in list(on.others):
                on.dismiss(other)
        found = runner.run(cell, on)
    except _ERRORS as error:
        why = str(error)
    try:
        tidy.up(on, found)
    except _ERRORS as error:
        with steps.step(f'replace the guest: {error}'):
            tidy.up(on, None)
    plugin = all(on.cloud.plugins.values())
    return found or record.Inconclusive(
        cell.phase.word, cell.fault, why, plugin
    )
