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

Those of the plugin run its own code, called as :mod:`nova_freemem.driver`
calls it, without Nova around it.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import logging
import types

from oslo_config import cfg

from nova_freemem import clock as clocks
from nova_freemem import conf as freemem_conf
from nova_freemem.migrate import decision
from nova_freemem.migrate import source
from nova_freemem.migrate import states
from nova_freemem.migrate.engine import Engine
from nova_freemem.report import event_queue
from nova_freemem.report import events
from nova_freemem.report import reporter as reporters
from nova_freemem.restore import locks
from nova_freemem.restore import reconciler
from nova_freemem.virt import guest as guests
from nova_freemem.virt import host as hosts
from tests.bench import base
from tests.bench import matrix
from tests.bench import peers
from tests.bench.migration import Migration
from tests.lab import host as lab_host
from tests.lab import layout
from tests.lab import steps
from tests.lab import virt

# The plugin's default mode, and what else an operator may ask libvirt for.
_COMBINED = {
    'auto+multifd': peers.MULTIFD,
    'auto+multifd+zstd': peers.MULTIFD_ZSTD,
}

# Longer than a run takes.
RECONCILE_INTERVAL_SECONDS = 3600


class Freemem(base.Method):
    """The plugin, in one of its modes.

    :param engine: of the source, kept from migration to migration.
    :param way: what else libvirt is asked for.
    """

    def __init__(self, engine: Engine, way: virt.Way | None = None) -> None:
        super().__init__()
        self._engine = engine
        self._way = way
        self._clock = clocks.Clock()
        self._restorer: reconciler.Reconciler | None = None

    def at_source(self, migration: Migration) -> None:
        """Release before or during the transfer, and transfer the rest."""
        guest = source.SourceMigration(
            guests.Guest(migration.domain),
            self._engine,
            Reporter(),
            decision.Migration(
                uuid=migration.domain.UUIDString(),
                host=migration.source.layout.hostname,
                dest=migration.destination.layout.hostname,
            ),
            self._clock,
            functools.partial(
                self._restorer_at(migration.source).restore_and_wait,
                migration.domain.UUIDString(),
                Reporter(),
            ),
        )
        with reported_to(self.told):
            try:
                state = guest.prepare()
                if isinstance(state, states.Cancelled):
                    raise steps.LabError('release', 'aborted by nobody')
                with guest.transfer(state):
                    migration.transfer(self._way)
            finally:
                guest.restore()

    def landed(self, migration: Migration) -> None:
        """Begin to restore, as upon Nova's event of a resumed guest."""
        self._restorer = self._restorer_at(migration.destination)
        self._restorer.start()
        self._restorer.notify(migration.domain.UUIDString())

    def at_destination(self, migration: Migration) -> None:
        """Restore, as the driver does after Nova's steps at the landing."""
        uuid, reporter = migration.domain.UUIDString(), Reporter()
        restorer = self._restorer or self._restorer_at(migration.destination)
        with reported_to(self.told):
            restorer.restore(
                uuid,
                reporter,
                reporter.restoring,
                contextlib.nullcontext(),
            )
            with restorer.hold(uuid, 2 * reconciler.WAIT_SECONDS):
                restorer.stop()

    def _restorer_at(self, host: lab_host.Host) -> reconciler.Reconciler:
        return reconciler.Reconciler(
            hosts.Connections(host.libvirt, 1).host,
            locks.Locks(self._clock),
            self._clock,
            RECONCILE_INTERVAL_SECONDS,
            workers=1,
        )


class Reporter(reporters.Reporter):
    """Logs as the plugin does; there is no Nova to record events."""

    def __init__(self) -> None:
        super().__init__(
            events.Events(
                None,
                types.SimpleNamespace(uuid='bench'),
                'bench',
                event_queue.EventQueue(clocks.Clock()),
            )
        )

    @contextlib.contextmanager
    def event(self, name: str) -> Iterator[None]:
        """Record nothing."""
        yield


class _Lines(logging.Handler):
    """Keeps the messages of a log, as lines.

    :param lines: where they go.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.INFO)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self._lines.append(record.getMessage())


@contextlib.contextmanager
def reported_to(lines: list[str]) -> Iterator[None]:
    """Keep what the plugin reports in its log.

    :param lines: where it goes.
    """
    log, handler = logging.getLogger(reporters.__name__), _Lines(lines)
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@dataclasses.dataclass(frozen=True)
class Kit:
    """The methods at one bandwidth.

    :param make: makes a method's object for one migration, by its name.
    :param bandwidth: says what the plugin takes the bandwidth to be.
    """

    make: Mapping[str, Callable[[], base.Method]]
    bandwidth: Callable[[], str]


def kit(migration_bandwidth_mbps: int | None, destination: str) -> Kit:
    """Get the methods ready for a bandwidth.

    The plugin is told a bandwidth that is limited, as an operator would who
    limits it. Another it learns from the migrations; as on one host, all modes
    know what one of them has learnt.

    :param migration_bandwidth_mbps: 10^6 bits a second; None where nothing
        limits it.
    :param destination: the hostname of where guests go.
    """
    engines = {
        mode: _engine(mode, migration_bandwidth_mbps) for mode in matrix.MODES
    }
    learnt = engines[matrix.MODES[0]].bandwidths
    make: dict[str, Callable[[], base.Method]] = {
        matrix.PLAIN: base.Plain,
        **peers.MAKE,
    }
    for mode, engine in engines.items():
        shared = dataclasses.replace(engine, bandwidths=learnt)
        make[mode] = functools.partial(Freemem, shared)
    for name, way in _COMBINED.items():
        # What compressed pages take of a path says nothing of the others.
        own = _engine('auto', migration_bandwidth_mbps)
        make[name] = functools.partial(Freemem, own, way)
    return Kit(make, lambda: str(learnt.to(destination, clocks.Clock().now())))


def _engine(mode: str, migration_bandwidth_mbps: int | None) -> Engine:
    """Load the plugin with its defaults but for mode and bandwidth."""
    conf = cfg.ConfigOpts()
    freemem_conf.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override('enabled', True, freemem_conf.GROUP)
    conf.set_override('mode', mode, freemem_conf.GROUP)
    conf.set_override(
        'migration_bandwidth_mbps',
        migration_bandwidth_mbps or 0,
        freemem_conf.GROUP,
    )
    return Engine.from_conf(conf, layout.HOSTS['host1'].link_address)
