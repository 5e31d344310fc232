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

"""Whether memory of a guest may be released, from what the host knows."""

from __future__ import annotations

import dataclasses

from lxml import etree

from nova_freemem.plan.reasons import Reason
from nova_freemem.plan.reasons import Skip
from nova_freemem.policy import Policy
from nova_freemem.virt import domain_xml
from nova_freemem.virt.memory_stats import TOLERANCE_KIB
from nova_freemem.virt.memory_stats import MemoryStats

# Elements of the domain XML that say that the host would not get what is
# released, or that a release would break the guest.
_SIGNS = (
    ('./memoryBacking/hugepages', Reason.PINNED_MEMORY),
    ('./memoryBacking/locked', Reason.PINNED_MEMORY),
    ("./memoryBacking/source[@type='file']", Reason.PINNED_MEMORY),
    ("./memoryBacking/allocation[@mode='immediate']", Reason.PINNED_MEMORY),
    ('./devices/hostdev', Reason.PASSTHROUGH_DEVICE),
    ("./devices/interface[@type='hostdev']", Reason.PASSTHROUGH_DEVICE),
    ("./devices/interface[@type='vdpa']", Reason.PASSTHROUGH_DEVICE),
    ('./launchSecurity', Reason.CONFIDENTIAL),
)

# Of QEMU's resident size, what is not the guest's memory: its program and
# libraries, its heap, the buffers of its devices. Measured with QEMU 10.0 and
# two vCPUs, by /proc/<pid>/smaps; more devices make it more, and so does the
# code that emulation translates, which makes what the host holds of the guest
# seem more than it is.
QEMU_OWN_KIB = 64 * 1024


@dataclasses.dataclass(frozen=True)
class Eligible:
    """A guest whose memory may be released.

    :ivar original_kib: memory its domain has; its balloon is empty, up to
                        the tolerance
    :ivar rss_kib: resident memory of its QEMU process
    :ivar windows: whether its image says that it runs Windows
    :ivar nodes: how many NUMA nodes it has
    :ivar persistent_kib: persistent memory that it has besides
    :ivar total_shrinks: whether its MemTotal shrinks with its balloon
    :ivar holds_zeros: whether its host may hold free memory of it that is
                       zero: see :func:`holds_zeros`
    :ivar zero_kib: what of its memory counts as that
    """

    original_kib: int
    rss_kib: int
    windows: bool = False
    nodes: int = 1
    persistent_kib: int = 0
    total_shrinks: bool = False
    holds_zeros: bool = False
    zero_kib: int = 0

    @property
    def resident_kib(self) -> int:
        """What the host holds of its memory: never all that QEMU occupies.

        All of its persistent memory may be resident as well. What counts as
        zero is not sent, as if the host did not hold it.
        """
        held_kib = self.rss_kib - QEMU_OWN_KIB - self.persistent_kib
        return max(0, min(held_kib, self.original_kib - self.zero_kib))

    @property
    def nonresident_kib(self) -> int:
        """What the host does not hold: never touched, or reported free."""
        return max(0, self.original_kib - self.resident_kib)

    def with_free(self, free_kib: int) -> Eligible:
        """Return it as it is once its free memory is known.

        :param free_kib: what it reported
        """
        if not self.holds_zeros:
            return self
        return dataclasses.replace(self, zero_kib=free_kib)


def holds_zeros(connections: int, permits_post_copy: bool) -> bool:
    """Return whether hosts hold memory of zeros for guests that landed.

    Over several connections QEMU writes the zeros of a page at the destination
    if post-copy is permitted, in which a guest would wait for ever for one
    that counts as received and was not written
    (``multifd_recv_zero_page_process`` of QEMU 10.1 and later; Nova does not
    start with an older one and both options). All memory of the guest is
    resident then. Of its free memory, its next migration sends what it has
    used since and not the rest, and nobody can tell one from the other.

    :param connections: that QEMU sends over for one migration
    :param permits_post_copy: whether Nova permits it
    """
    return connections > 1 and permits_post_copy


def disabled(policy: Policy) -> Skip | None:
    """Find that the host, the flavor or the image says no.

    :param policy: the guest's
    :returns: the reason for a skip, None where memory may be released
    """
    if not policy.enabled:
        return Skip(Reason.DISABLED_BY_HOST)
    if not policy.enabled_by_flavor:
        return Skip(Reason.DISABLED_BY_FLAVOR)
    if not policy.enabled_by_image:
        return Skip(Reason.DISABLED_BY_IMAGE)
    return None


def unwatchable(stats: MemoryStats) -> Skip | None:
    """Find that nobody could see whether a guest needs its memory.

    :param stats: what its balloon driver reported
    :returns: the reason for a skip, None where it reports enough
    """
    if stats.available_kib is None and stats.free_kib is None:
        return Skip(
            Reason.NO_BALLOON_DRIVER,
            'it reports neither usable nor unused memory',
        )
    return None


def examine(
    running: bool,
    xml: etree._Element,
    stats: MemoryStats | None,
    os_type: str | None = None,
    holds_zeros: bool = False,
) -> Eligible | Skip:
    """Decide from the outside whether memory of a guest may be released.

    :param running: whether its processors run
    :param xml: the live domain XML, in which libvirt writes KiB
    :param stats: its memory statistics, None where it has no balloon
    :param os_type: what its image says it runs
    :param holds_zeros: whether the host may hold zeros of it
    :returns: what the host knows of the guest, or the reason for a skip
    :raises LibvirtError: the XML lacks the guest's memory
    """
    if not running:
        return Skip(Reason.NOT_RUNNING)
    if stats is None:
        return Skip(Reason.NO_BALLOON)
    for path, reason in _SIGNS:
        if xml.find(path) is not None:
            return Skip(reason)
    if stats.rss_kib is None:
        return Skip(Reason.NO_RSS)
    given_kib = domain_xml.memory_kib(xml)
    if abs(given_kib - stats.actual_kib) > TOLERANCE_KIB:
        return Skip(
            Reason.BALLOONED_ALREADY,
            f'{stats.actual_kib} of {given_kib} KiB',
        )
    # Its size by the domain, not by its balloon: what a driver leaves in the
    # balloon each time would add up over many migrations.
    return Eligible(
        original_kib=given_kib,
        rss_kib=stats.rss_kib,
        windows=os_type == 'windows',
        nodes=domain_xml.nodes(xml),
        persistent_kib=domain_xml.persistent_memory_kib(xml),
        total_shrinks=(
            os_type != 'windows' and not domain_xml.balloon_counts_as_used(xml)
        ),
        holds_zeros=holds_zeros,
    )
