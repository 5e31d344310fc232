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


"""Where a migration is, from what is seen of it."""

from __future__ import annotations

from typing import Any

import ddt

from tests import base
from tests.chaos import phases
from tests.chaos.phases import Phase
from tests.lab.observation import Sample
from tests.lab.observation import State
from tests.lab.observation import View

WHOLE_KIB = 768 * 1024
BEFORE = phases.Before(original_kib=WHOLE_KIB, stats_updated_at=1000)
UNKNOWN = Sample(state=State.UNKNOWN)
AWAY = Sample(state=State.AWAY)
ARRIVING = Sample(state=State.ARRIVING)


def running(balloon_kib: int = WHOLE_KIB, **seen: Any) -> Sample:
    return Sample(
        **{
            'state': State.RUNNING,
            'journal_entry': False,
            'balloon_kib': balloon_kib,
            'still_seconds': 5.0,
            'stats_updated_at': 1000,
            'definition_kib': WHOLE_KIB,
            **seen,
        }
    )


OUTSTANDING = running(WHOLE_KIB - 300_000, journal_entry=True)
SWITCHING = Sample(state=State.SWITCHING, journal_entry=True)


@ddt.ddt
class PhaseTest(base.TestCase):
    @ddt.unpack
    @ddt.data(
        (Phase.BEFORE, running(), AWAY),
        (Phase.BEFORE, UNKNOWN, UNKNOWN),
        (Phase.ACQUIRING, running(stats_updated_at=1004), AWAY),
        (
            Phase.BEFORE,
            running(stats_updated_at=1010),
            AWAY,
        ),  # Its period is over.
        (
            Phase.JOURNALED,
            running(journal_entry=True, stats_updated_at=1004),
            AWAY,
        ),
        (
            Phase.RELEASING,
            running(WHOLE_KIB - 2000, journal_entry=True, still_seconds=0.0),
            AWAY,
        ),
        (Phase.RELEASED, OUTSTANDING, AWAY),
        (Phase.RELEASED, OUTSTANDING, ARRIVING),
        (
            Phase.TRANSFER,
            running(WHOLE_KIB - 300_000, journal_entry=True, job_bytes=4096),
            ARRIVING,
        ),
        (Phase.TRANSFER, running(job_bytes=4096), ARRIVING),
        (
            Phase.POST_COPY,
            Sample(state=State.POST_COPY),
            Sample(state=State.POST_COPY),
        ),
        (Phase.SWITCH_OVER, SWITCHING, ARRIVING),
        (Phase.SWITCH_OVER, AWAY, ARRIVING),
        (Phase.LANDED, SWITCHING, Sample(state=State.RUNNING)),
        (Phase.LANDED, AWAY, OUTSTANDING),
        (
            Phase.RESTORING,
            AWAY,
            running(WHOLE_KIB - 2000, journal_entry=True, still_seconds=0.0),
        ),
        (Phase.RESTORED, AWAY, running(journal_entry=True)),
        (Phase.OVER, AWAY, running()),
    )
    def test_what_is_seen_tells_the_phase(
        self, phase: Phase, source: Sample, destination: Sample
    ) -> None:
        self.assertIs(phase, phases.now(View(source, destination), BEFORE))


@ddt.ddt
class WholeTest(base.TestCase):
    @ddt.unpack
    @ddt.data(
        (True, running(), AWAY),
        (True, AWAY, running()),
        (True, UNKNOWN, running()),  # The other host's libvirtd is down.
        (False, running(), running()),
        (False, AWAY, AWAY),
        (False, AWAY, running(journal_entry=True)),
        (False, AWAY, running(journal_entry=None)),
        (False, AWAY, running(WHOLE_KIB - 1)),
        (False, AWAY, running(definition_kib=WHOLE_KIB - 1)),
    )
    def test_whole_is_one_guest_with_everything(
        self, is_whole: bool, source: Sample, destination: Sample
    ) -> None:
        view = View(source, destination)
        self.assertIs(is_whole, phases.is_whole(view, WHOLE_KIB))

    def test_gone_is_gone_from_both_hosts(self) -> None:
        self.assertTrue(phases.is_gone(View(AWAY, AWAY)))
        self.assertFalse(phases.is_gone(View(AWAY, Sample(state=State.OFF))))
        self.assertFalse(phases.is_gone(View(AWAY, UNKNOWN)))
