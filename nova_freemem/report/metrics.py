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

"""Counters of this host's migrations, in a file for Prometheus.

The textfile collector of node_exporter reads the file, so that nova-compute
opens no port. The counters begin at zero when nova-compute starts, as those
of any process do.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator

from oslo_log import log as logging
import prometheus_client
from prometheus_client import core
from prometheus_client import registry

from nova_freemem.history import Outcome
from nova_freemem.history import Record
from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip

LOG = logging.getLogger(__name__)

PREFIX = 'nova_freemem'

BYTES_PER_KIB = 1024

# Prometheus sees no increase where a counter appears with its first one.
_MIGRATIONS = [
    (Outcome.RELEASED, ''),
    (Outcome.FAILED, ''),
    *((Outcome.SKIPPED, Skip(reason).name) for reason in Reason),
]
_RESTORES = [Outcome.RESTORED, Outcome.SLOW]


class Metrics(registry.Collector):
    """What became of the migrations since nova-compute has started.

    One thread at a time may use it.
    """

    def __init__(self, path: str) -> None:
        """Initialize it; nothing is written yet.

        :param path: of the file
        """
        self._path = path
        self._failing = False
        self._outcomes: collections.Counter[tuple[Outcome, str]] = (
            collections.Counter()
        )
        self._not_sent_kib = 0
        self._saved_seconds = 0.0
        self._lost_seconds = 0.0
        self._outstanding_guests: int | None = None

    def append(self, record: Record) -> None:
        """Count what became of a migration, and write the file; never raise.

        :param record: what became of it
        """
        self._outcomes[record.outcome, record.reason or ''] += 1
        if record.outcome is Outcome.RELEASED:
            seconds = record.seconds or 0.0
            self._not_sent_kib += record.not_sent_kib or 0
            self._saved_seconds += max(0.0, seconds)
            self._lost_seconds += max(0.0, -seconds)
        self._write()

    def outstanding(self, guests: int) -> None:
        """Tell of guests that have not all their memory; never raise.

        :param guests: how many there are on this host
        """
        self._outstanding_guests = guests
        self._write()

    def collect(self) -> Iterator[core.Metric]:
        """See :meth:`prometheus_client.registry.Collector.collect`."""
        migrations = core.CounterMetricFamily(
            f'{PREFIX}_migrations',
            'Live migrations from this host, by what became of the release '
            'of memory, and the reason where it was skipped.',
            labels=('outcome', 'reason'),
        )
        for outcome, reason in _MIGRATIONS:
            migrations.add_metric(
                (outcome.value, reason), self._outcomes[outcome, reason]
            )
        yield migrations
        restores = core.CounterMetricFamily(
            f'{PREFIX}_restores',
            'Guests of this host that had less than all their memory, as '
            'after a landing: restored within ten seconds, or slow.',
            labels=('outcome',),
        )
        for outcome in _RESTORES:
            restores.add_metric((outcome.value,), self._outcomes[outcome, ''])
        yield restores
        for name, documentation, value in (
            (
                'not_sent_bytes',
                'Memory that was not sent.',
                self._not_sent_kib * BYTES_PER_KIB,
            ),
            (
                'saved_seconds',
                'By how much releases made migrations shorter.',
                self._saved_seconds,
            ),
            (
                'lost_seconds',
                'By how much other releases made migrations longer.',
                self._lost_seconds,
            ),
        ):
            yield core.CounterMetricFamily(
                f'{PREFIX}_{name}', documentation, value
            )
        if self._outstanding_guests is not None:
            yield core.GaugeMetricFamily(
                f'{PREFIX}_outstanding_guests',
                'Guests of this host with outstanding memory, those in a '
                'migration among them.',
                self._outstanding_guests,
            )

    def _write(self) -> None:
        try:
            prometheus_client.write_to_textfile(self._path, self)
        except Exception as error:
            if not self._failing:
                LOG.warning(
                    'Could not write %(path)s: %(error)s. Prometheus sees the '
                    'figures of nova_freemem from before, or none. Its '
                    'folder must exist, and the user that runs nova-compute '
                    'must be able to write to it.',
                    {'path': self._path, 'error': error},
                )
            self._failing = True
        else:
            self._failing = False
