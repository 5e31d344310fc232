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


"""Records of faults that nobody injected, for the tests of their verdict."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.chaos import record
from tests.lab import guest as lab_guest

WHOLE_KIB = 768 * 1024

BEFORE = record.Account(
    boot_id='first',
    checksum=17,
    mismatches=0,
    total_kib=WHOLE_KIB - 40_000,
    balloon_kib=WHOLE_KIB,
    definition_kib=WHOLE_KIB,
    period_seconds=(10, 10),
    oom_kills=0,
)

NOVA = record.Nova(
    status='ACTIVE',
    task=None,
    host='freemem-host2',
    migration='completed',
    allocations={'server on freemem-host2': 768},
)

_MOVED: dict[str, Any] = {
    'phase': 'releasing',
    'fault': 'agent-killed',
    'plugin': True,
    'injected_in': ('releasing', 'releasing'),
    'outstanding': True,
    'source': 'host1',
    'destination': 'host2',
    'refused': None,
    'runs_on': ('host2',),
    'journal_entry': False,
    'before': BEFORE,
    'after': BEFORE,
    'nova': NOVA,
    'reached_seconds': 3.0,
    'recovered_seconds': 1.0,
    'whole_seconds': 7.25,
    'timeout_seconds': 30.0,
    'warnings': (),
    'headroom': lab_guest.Headroom(0.0, 150 * 1024),
}

_OTHER: dict[str, Any] = {
    'source': 'host2',
    'stopped': False,
    'runs_on': ('host1',),
    'journal_entry': False,
    'before': BEFORE,
    'after': BEFORE,
    'nova': NOVA,
    'whole_seconds': 3.5,
    'headroom': None,
}


def moved(**figures: Any) -> record.Record:
    """:returns: a guest that moved whole, with some figures chosen."""
    return record.Record(**{**_MOVED, **figures})


def other(**figures: Any) -> record.Other:
    """:returns: another guest that moved whole, with some figures chosen."""
    return record.Other(**{**_OTHER, **figures})


def after(**figures: Any) -> record.Account:
    """:returns: the guest as before, with some figures chosen."""
    return dataclasses.replace(BEFORE, **figures)


def nova(**figures: Any) -> record.Nova:
    """:returns: a completed migration, with some figures chosen."""
    return dataclasses.replace(NOVA, **figures)
