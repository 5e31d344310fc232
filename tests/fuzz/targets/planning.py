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


"""A plan made of what a guest reported: no target below the headroom."""

from nova_freemem.acquire.free_memory import CommitLimit
from nova_freemem.acquire.free_memory import FreeMemory
from nova_freemem.acquire.free_memory import NodeMemory
from nova_freemem.plan import bandwidth as bandwidths
from nova_freemem.plan import planner
from nova_freemem.plan import release_rate as release_rates
from nova_freemem.plan.eligibility import Eligible
from nova_freemem.plan.reasons import Skip
from nova_freemem.virt.memory_stats import MemoryStats
from tests.fuzz import choices as fuzz_choices
from tests.fuzz import oracle
from tests.simulation import fakes

MODULES = ('nova_freemem.plan.planner', 'nova_freemem.acquire.free_memory')


def seeds() -> list[bytes]:
    """:returns: some sequences; there is nothing to capture here."""
    return [
        b'\0',
        bytes(range(1, 200)),
        b'\x7f\xff\xf0\x01' * 9,
        b'\x3f\x00\x7f' * 20,
        b'\x8e\xc4\xa8',  # A commit limit that no float can hold.
        b'\x4c',  # A node with less than nothing on it.
    ]


def run(data: bytes) -> None:
    """Plan for a guest that reports so.

    :param data: see choices.py.
    """
    choices = fuzz_choices.Choices(data)
    guest = Eligible(
        original_kib=1 + choices.number(8 << 20),
        rss_kib=choices.number(9 << 20),
        windows=bool(choices.number(1)),
        nodes=1 + choices.number(1),
        total_shrinks=bool(choices.number(1)),
    )
    memory = _memory(choices, guest.original_kib)
    policy = fakes.make_policy(
        mode=choices.of(tuple(mode.value for mode in planner.Mode)),
        reclaim=choices.of(('free', 'cold', 'available')),
        headroom_percent=1 + choices.number(choices.of((9, 89))),
        headroom_min_mib=32 + choices.number(choices.of((200, 4096))),
        min_saving_mib=1 + choices.number(choices.of((64, 4096))),
    )
    rate = bandwidths.Bandwidth(
        1024.0 + choices.number(1 << 25), bandwidths.Origin.MEASURED
    )
    with oracle.only_own_errors():
        driver = _driver(choices)
        hopeless = planner.cannot_pay(driver, guest, policy, rate)
        if hopeless is not None:
            oracle.check_harmless(str(hopeless))
        memory.check(guest.original_kib)
        memory = memory.limited_by(driver)
        plan = planner.make(
            memory,
            guest,
            policy,
            rate,
            release_rates.ReleaseRate(
                1.0 + choices.number(1 << 22), 1.0 + choices.number(1 << 22)
            ),
        )
        if isinstance(plan, Skip):
            oracle.check_harmless(str(plan))
            return
        floor_kib = policy.headroom_kib(
            guest.original_kib,
            guest.windows,
            0.0 if guest.total_shrinks else None,
        )
        assert floor_kib <= plan.target_kib < guest.original_kib, plan
        for node in memory.nodes:
            assert plan.release_kib <= node.total_kib, plan
        if memory.commit is not None and memory.commit.share >= 1:
            assert plan.release_kib <= memory.commit.left_kib, plan
        assert 0 < plan.expected_saving_kib <= guest.rss_kib, plan
        assert abs(plan.expected_saving_seconds) < 1 << 32, plan


def _driver(choices: fuzz_choices.Choices) -> MemoryStats:
    stats = MemoryStats.from_libvirt(
        {'actual': 0}
        | {
            name: choices.value()
            for name in ('available', 'unused', 'usable', 'disk_caches')
            if choices.number(1)
        }
    )
    assert stats is not None
    return stats if choices.number(1) else MemoryStats(0)


def _memory(choices: fuzz_choices.Choices, actual_kib: int) -> FreeMemory:
    present = choices.number(255)

    def figure(largest: int) -> int:
        return (
            choices.number(largest)
            if choices.number(15)
            else (choices.amount())
        )

    def maybe(bit: int) -> int | None:
        return figure(total_kib) if present >> bit & 1 else None

    total_kib = figure(actual_kib)
    return FreeMemory(
        source='guest_agent',
        total_kib=total_kib,
        free_kib=figure(total_kib),
        available_kib=maybe(0),
        page_cache_kib=maybe(1),
        inactive_file_kib=maybe(2),
        active_file_kib=maybe(2),
        unwritten_kib=maybe(3),
        swap_free_kib=maybe(4),
        swap_total_kib=maybe(4),
        memory_pressure_share=choices.number(100) / 100
        if present >> 5 & 1
        else None,
        free_blocks=((4, figure(total_kib // 8)), (4096, figure(64)))
        if present >> 6 & 1
        else None,
        commit=CommitLimit(
            choices.amount(), choices.amount(), choices.number(200) / 100
        )
        if present >> 7 & 1
        else None,
        nodes=tuple(
            NodeMemory(
                total_kib // 2,
                figure(total_kib // 4),
                figure(total_kib // 4),
                maybe(2),
                figure(total_kib // 4),
            )
            for _number in range(choices.number(2))
        ),
    )
