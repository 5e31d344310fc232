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

"""What has hurt a guest, by its own account; pure."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import re

_PAGE_KIB = 4

# Of the journal: the kernel, earlyoom and systemd-oomd.
_KILLS = (
    r'\bKilled process \d+',
    r'earlyoom.*sending SIG(TERM|KILL) to process',
    r'systemd-oomd.*Killed .* due to',
)
_FAILED = (
    r'page allocation failure',
    r'Cannot allocate memory',
)


@dataclasses.dataclass(frozen=True)
class Account:
    """How a guest stands at a moment.

    :param counters: its kernel's, since it booted.
    :param journal: the lines of its journal since then.
    :param inactive: the services that do not run.
    """

    counters: Mapping[str, int]
    journal: Sequence[str]
    inactive: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Harm:
    """What happened to a guest between two moments.

    :param killed: processes and services.
    :param failed_allocations: by its kernel's and its programs' messages.
    :param swapped_out_kib: memory.
    :param refaulted_kib: page cache that it read again after dropping it.
    :param stalls: how often a process had to free memory itself to get some.
    :param lines: of the journal, which tell of the former two.
    """

    killed: int
    failed_allocations: int
    swapped_out_kib: int
    refaulted_kib: int
    stalls: int
    lines: tuple[str, ...]


def between(before: Account, after: Account) -> Harm:
    """Compare two accounts of a guest."""
    lines = after.journal[len(before.journal) :]
    kills = _matching(lines, _KILLS)
    failed = _matching(lines, _FAILED)
    ended = sorted(after.inactive - before.inactive)
    counted = {
        name: value - before.counters.get(name, 0)
        for name, value in after.counters.items()
    }
    return Harm(
        # A service that was killed is in both lists.
        killed=max(len(kills), len(ended)),
        failed_allocations=len(failed),
        swapped_out_kib=_PAGE_KIB * counted['pswpout'],
        refaulted_kib=_PAGE_KIB * counted['workingset_refault_file'],
        stalls=sum(
            value
            for name, value in counted.items()
            if name.startswith('allocstall')
        ),
        lines=(*kills, *failed, *(f'{name} has ended' for name in ended)),
    )


def _matching(lines: Sequence[str], patterns: Sequence[str]) -> list[str]:
    any_of = re.compile('|'.join(patterns))
    return [line for line in lines if any_of.search(line)]
