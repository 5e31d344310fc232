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

"""The ways to migrate a guest that are compared.

The plugin's are driven as :mod:`nova_freemem.driver` drives them, by the
plugin's own code, without Nova around it.
"""

import abc
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import types

from oslo_config import cfg

from nova_freemem import clock as clocks
from nova_freemem import conf as freemem_conf
from nova_freemem.migrate import destination
from nova_freemem.migrate import source
from nova_freemem.migrate.engine import Engine
from nova_freemem.plan import planner
from nova_freemem.plan import reasons
from nova_freemem.release import base as release_base
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import restoration as restorations
from nova_freemem.virt import guest as guests
from tests.bench import matrix
from tests.bench.migration import Migration
from tests.lab import layout
from tests.lab import steps


class Method(abc.ABC):
    """A way to migrate; one object for each migration.

    :ivar told: what it has to say afterwards, a line each.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    @abc.abstractmethod
    def depart(self, migration: Migration) -> None:
        """Do what is done at the source; ``migration.transfer()`` in it."""

    @abc.abstractmethod
    def landed(self, migration: Migration) -> None:
        """Do what is done as soon as the guest runs at the destination.

        In a thread of its own, while the source may still be at work.
        """

    @abc.abstractmethod
    def arrive(self, migration: Migration) -> None:
        """Do what is done once the transfer has ended at the source."""


class Plain(Method):
    """What Nova does without the plugin."""

    def depart(self, migration: Migration) -> None:
        """Transfer."""
        migration.transfer()

    def landed(self, migration: Migration) -> None:
        """Do nothing: nothing was taken."""

    def arrive(self, migration: Migration) -> None:
        """Do nothing."""


class Freemem(Method):
    """The plugin, by one of its modes.

    :param engine: of the source, kept from migration to migration.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine
        self._reporter = Keeper(self.told)
        self._clock = clocks.Clock()
        self._begun: restorations.Restoration | None = None

    def depart(self, migration: Migration) -> None:
        """Release first or beside, and transfer what is left."""
        guest = source.SourceMigration(
            guests.Guest(migration.domain),
            self._engine,
            self._reporter,
            migration.source.layout.hostname,
            migration.domain.UUIDString(),
            None,
            self._clock,
        )
        dest = migration.destination.layout.hostname
        try:
            state = guest.prepare(dest)
            if isinstance(state, source.Cancelled):
                raise steps.LabError('release', 'aborted by nobody')
            with guest.transfer(dest, state):
                migration.transfer()
        finally:
            guest.restore()

    def landed(self, migration: Migration) -> None:
        """Begin to give back, as upon Nova's event of a resumed guest."""
        try:
            self._begun = restorations.begin(
                guests.Guest(migration.arrived()), self._clock
            )
        except Exception as fault:
            self.told.append(f'not begun to give back: {fault}')

    def arrive(self, migration: Migration) -> None:
        """See to it, as beside Nova's steps after a landing."""
        destination.restore_memory(
            guests.Guest(migration.arrived()),
            self._reporter,
            self._clock,
            self._begun,
        )


class Keeper(reporters.Reporter):
    """Keeps what it is told, for there is no Nova to tell.

    :param told: where each line goes.
    """

    def __init__(self, told: list[str]) -> None:
        super().__init__(None, types.SimpleNamespace(uuid='bench'), 'bench')
        self._told = told

    @contextlib.contextmanager
    def event(self, name: str) -> Iterator[None]:
        """Let a step pass: its figures are told elsewhere."""
        yield

    def skipped(self, why: reasons.Skip) -> None:
        """Keep why nothing is released."""
        self._told.append(f'left alone: {why}')

    def released(
        self, plan: planner.Plan, release: release_base.Release
    ) -> None:
        """Keep what was released, and what was expected."""
        self._told.append(
            f'released {plan.mode.value}: {release.released_kib >> 10} of'
            f' {plan.release_kib >> 10} MiB in {release.seconds:.1f} s'
            f' ({release.end.value}); RSS fell by'
            f' {release.resident_fall_kib >> 10} MiB; expected to save'
            f' {plan.expected_saving_kib >> 10} MiB and'
            f' {plan.expected_saving_seconds:.1f} s ({plan.bandwidth})'
        )

    def pressure_during_transfer(self, plan: planner.Plan) -> None:
        """Keep that the guest came under pressure."""
        self._told.append('needed back while it was transferred')

    def restored(self, assigned: restorations.RestoreResult) -> None:
        """Keep what was given back."""
        self._told.append(
            f'gave back in {assigned.seconds:.1f} s:'
            f' {assigned.before_kib >> 10} -> {assigned.after_kib >> 10} MiB'
        )

    def restore_failed(self, fault: Exception) -> None:
        """Keep that memory could not be given back."""
        self._told.append(f'not given back: {fault}')

    def error(self, doing: str, fault: Exception) -> None:
        """Keep a fault of the plugin."""
        self._told.append(f'fault, {doing}: {fault!r}')


@dataclasses.dataclass(frozen=True)
class Kit:
    """The methods on one link.

    :param make: makes a method's object for one migration, by its name.
    :param link_rate: tells what the plugin takes the link to carry.
    """

    make: Mapping[str, Callable[[], Method]]
    link_rate: Callable[[], str]


def kit(migration_bandwidth_mbps: int | None, destination: str) -> Kit:
    """Get the methods ready for a link.

    The plugin is told a shaped link's rate, as an operator would who shapes
    it. An unshaped one's it learns from the migrations; as on one host, all
    modes know what one of them has learnt.

    :param migration_bandwidth_mbps: 10^6 bits a second; None where nothing limits it.
    :param destination: the hostname of where guests go.
    """
    modes = [name for name in matrix.METHODS if name != matrix.PLAIN]
    engines = {mode: _engine(mode, migration_bandwidth_mbps) for mode in modes}
    links = engines[modes[0]].bandwidths
    make: dict[str, Callable[[], Method]] = {matrix.PLAIN: Plain}
    for mode, engine in engines.items():
        shared = dataclasses.replace(engine, bandwidths=links)
        make[mode] = functools.partial(Freemem, shared)
    return Kit(make, lambda: str(links.to(destination)))


def _engine(mode: str, migration_bandwidth_mbps: int | None) -> Engine:
    """Load the plugin with its defaults but for mode and link."""
    conf = cfg.ConfigOpts()
    freemem_conf.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override('mode', mode, freemem_conf.GROUP)
    conf.set_override(
        'migration_bandwidth_mbps',
        migration_bandwidth_mbps or 0,
        freemem_conf.GROUP,
    )
    return Engine.from_conf(conf, layout.HOSTS['host1'].link_address)
