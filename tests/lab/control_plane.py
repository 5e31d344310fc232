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

"""The cloud without its hosts, which is started first and ended last."""

from collections.abc import Callable
from collections.abc import Sequence
import functools
import pathlib

from tests.lab import layout
from tests.lab import processes
from tests.lab import steps
from tests.lab.services import broker
from tests.lab.services import catalogue
from tests.lab.services import database
from tests.lab.services import glance
from tests.lab.services import keystone
from tests.lab.services import neutron
from tests.lab.services import nova
from tests.lab.services import placement
from tests.lab.services import service
from tests.lab.services import settings


def bring_up(state: settings.Settings) -> None:
    """Bring up databases, broker and every API, unless they are up.

    Services that do not need each other start at the same time: on two cores
    that takes half of the seconds. Neutron needs the broker when it starts,
    Nova's services keystone and placement as well.
    """
    settings.make_password(state.lab)
    later = [one.describe(state) for one in (neutron, nova)]
    steps.in_parallel(
        functools.partial(broker.bring_up, state),
        functools.partial(_bring_up_first, state, later),
    )
    steps.in_parallel(
        *(functools.partial(service.start, one) for one in later)
    )
    catalogue.write_openrc(state)


def _bring_up_first(
    state: settings.Settings, later: Sequence[service.Service]
) -> None:
    """Bring up the databases, and what needs only them."""
    database.bring_up(state)
    keystone.make_keys(state)
    first = [one.describe(state) for one in (keystone, placement, glance)]
    steps.in_parallel(
        *(functools.partial(_prepare_and_start, state, one) for one in first),
        *(functools.partial(service.prepare, one, state) for one in later),
    )
    catalogue.register(state)


def _prepare_and_start(state: settings.Settings, one: service.Service) -> None:
    service.prepare(one, state)
    service.start(one)


def take_down() -> None:
    """End everything that has a pid file, the database last."""
    pid_files = set(layout.LAB.run.glob('*.pid'))
    database_file = layout.LAB.run / 'mariadb.pid'
    if not pid_files:
        return
    with steps.step('stop the control plane'):
        rest = pid_files - {database_file}
        steps.in_parallel(*(_ender(file) for file in rest))
        processes.end(database_file, grace_seconds=15)


def _ender(file: pathlib.Path) -> Callable[[], None]:
    return functools.partial(processes.end, file)
