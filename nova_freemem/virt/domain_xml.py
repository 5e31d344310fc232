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

"""What libvirt's XML of a domain says about its memory; pure functions."""

from __future__ import annotations

from lxml import etree

from nova_freemem.virt import validation
from nova_freemem.virt.errors import understood

# Models of memory devices that are no RAM.
_PERSISTENT = ('nvdimm', 'virtio-pmem')

# libvirt's own type for it, an int.
LONGEST_STATS_PERIOD_SECONDS = (1 << 31) - 1


def stats_period_seconds(domain: etree._Element) -> int:
    """Read how often the balloon driver sends its statistics.

    :param domain: the domain XML
    :returns: seconds, 0 for never
    :raises LibvirtError: the XML holds no usable period
    """
    stats = domain.find('./devices/memballoon/stats')
    if stats is None:
        return 0
    with understood('read the statistics period'):
        return validation.whole_number(
            stats.get('period', '0'), LONGEST_STATS_PERIOD_SECONDS
        )


def balloon_alias(domain: etree._Element) -> str | None:
    """Read what QEMU calls the balloon of a running domain.

    :param domain: the live domain XML
    :returns: its name, None where there is none
    """
    alias = domain.find('./devices/memballoon/alias')
    return None if alias is None else alias.get('name')


def nodes(domain: etree._Element) -> int:
    """Count the NUMA nodes that a domain has.

    :param domain: the domain XML
    :returns: how many; 1 where it says nothing of them
    """
    return max(1, len(domain.findall('./cpu/numa/cell')))


def balloon_counts_as_used(domain: etree._Element) -> bool:
    """Return whether what a balloon takes stays in the guest's MemTotal.

    With autodeflate (VIRTIO_BALLOON_F_DEFLATE_ON_OOM) Linux counts it as used;
    otherwise MemTotal shrinks with the balloon (drivers/virtio/
    virtio_balloon.c, ``adjust_managed_page_count``).

    :param domain: the domain XML
    """
    return _balloon_has(domain, 'autodeflate')


def balloon_reports_free(domain: etree._Element) -> bool:
    """Return whether a guest can report free pages, which the host then drops.

    It does with Linux 5.7 and later (VIRTIO_BALLOON_F_REPORTING).

    :param domain: the domain XML
    """
    return _balloon_has(domain, 'freePageReporting')


def _balloon_has(domain: etree._Element, feature: str) -> bool:
    balloon = domain.find('./devices/memballoon')
    return balloon is not None and balloon.get(feature) == 'on'


def runs_windows(domain: etree._Element) -> bool:
    """Return whether the image of a guest says that it runs Windows.

    Nova gives the features of Hyper-V to such guests, and to no others.

    :param domain: the domain XML
    """
    return domain.find('./features/hyperv') is not None


def extra_specs(domain: etree._Element) -> dict[str, str]:
    """Return the extra specs of the flavor that a guest was made of.

    :param domain: the domain XML
    :returns: by their names; none where this Nova does not write them
    """
    return {
        spec.get('name', ''): spec.text or ''
        for spec in domain.findall(
            './metadata/{*}instance/{*}flavor/{*}extraSpecs/{*}extraSpec'
        )
    }


def memory_kib(domain: etree._Element) -> int:
    """Read how much memory the host gave a domain.

    libvirt counts its persistent memory as well, which its balloon does not.

    :param domain: the domain XML, in which libvirt writes KiB
    :returns: KiB
    :raises LibvirtError: the XML holds no usable amount
    """
    with understood('read the memory of the domain'):
        total_kib = validation.whole_number(domain.findtext('./memory'))
    return max(0, total_kib - persistent_memory_kib(domain))


def persistent_memory_kib(domain: etree._Element) -> int:
    """Read how much persistent memory (``hw:pmem``) a domain has.

    :param domain: the domain XML, in which libvirt writes KiB
    :returns: KiB
    :raises LibvirtError: the XML holds an amount that is not usable
    """
    with understood('read the persistent memory of the domain'):
        return sum(
            validation.whole_number(device.findtext('./target/size'))
            for device in domain.findall('./devices/memory')
            if device.get('model') in _PERSISTENT
        )


def current_memory_kib(domain: etree._Element) -> int:
    """Read how much memory a domain has now, its balloon deducted.

    libvirt learns of a change by an event, which can be a second late.

    :param domain: the domain XML, in which libvirt writes KiB
    :returns: KiB
    :raises LibvirtError: the XML holds no usable amount
    """
    with understood('read the current memory of the domain'):
        return validation.whole_number(domain.findtext('./currentMemory'))
