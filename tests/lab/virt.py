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

"""Guests on libvirt as Nova makes them, without Nova."""

from collections.abc import Mapping
import dataclasses
import shutil
import subprocess
import time
from typing import Any
import uuid

import libvirt
from lxml import etree

from tests.lab import accelerator
from tests.lab import debian
from tests.lab import guest_image
from tests.lab import host as lab_host
from tests.lab import layout
from tests.lab import room
from tests.lab import steps

# What Nova 34 writes for a guest of a plain flavor and image, as far as it
# matters to memory and migration.
_DOMAIN = """
<domain type='{virt_type}'{namespace}>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory_mib}</memory>
  <vcpu>{vcpus}</vcpu>
  {threads}
  <os>
    <type machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initramfs}</initrd>
    <cmdline>{command_line}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  {cpu}
  <clock offset='utc'>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='rtc' tickpolicy='catchup'/>
    <timer name='hpet' present='no'/>
  </clock>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='file'><source path='{console}'/></serial>
    {channel}
    {balloon}
  </devices>
  {override}
</domain>
"""
_CHANNEL = """
<channel type='unix'>
  <target type='virtio' name='org.qemu.guest_agent.0'/>
</channel>
"""
_BALLOON = """
<memballoon model='virtio' {reporting}><stats period='10'/></memballoon>
"""
_REPORTING = "autodeflate='on' freePageReporting='on'"  # Nova >= 32.
# libvirt knows nothing of free page hints; QEMU wants a thread for them.
_NAMESPACE = " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
_THREADS = '<iothreads>1</iothreads>'
_HINTS = """
<qemu:override>
  <qemu:device alias='balloon0'>
    <qemu:frontend>
      <qemu:property name='free-page-hint' type='bool' value='true'/>
      <qemu:property name='iothread' type='string' value='iothread1'/>
    </qemu:frontend>
  </qemu:device>
</qemu:override>
"""

# [libvirt]live_migration_* of Nova at their defaults.
_MIGRATION_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
)


@dataclasses.dataclass(frozen=True)
class GuestSpec:
    """How a guest is made.

    :param reporting: whether its balloon reports free pages, as those do
        that Nova >= 32 has made.
    :param hints: whether its balloon tells of free pages when a migration
        asks for them (QEMU's ``free-page-hint``).
    :param balloon: whether it has a balloon device.
    :param channel: whether it has a channel for the guest agent.
    :param flags: words for its kernel's command line; ``guest/init`` has
        the meaning of the small guest's own.
    :param system: what it runs; None for the small guest.
    :param nodes: how many NUMA nodes it has, each with the same share of its
        processors and memory.
    """

    name: str
    memory_mib: int = 512
    vcpus: int = 2
    reporting: bool = False
    hints: bool = False
    balloon: bool = True
    channel: bool = True
    flags: str = ''
    system: debian.Debian | None = None
    nodes: int = 1

    @property
    def boot_seconds(self) -> float:
        """How long its boot may take, emulated on a busy machine."""
        return 600 if self.system else 90

    def image(self) -> guest_image.GuestImage:
        """Find the files that it is started from, or make them."""
        return self.system.get() if self.system else guest_image.get()


@dataclasses.dataclass(frozen=True)
class Way:
    """What libvirt is asked for beyond what Nova asks for by default.

    :param flags: ``VIR_MIGRATE_*``.
    :param settings: by ``VIR_MIGRATE_PARAM_*``.
    """

    flags: int = 0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Migration:
    """A migration that has ended.

    :param domain: the guest, at the destination.
    :param seconds: how long it took.
    :param bytes_sent: over the link, by the source's interface.
    :param downtime_ms: for how long the guest was paused, by QEMU; None with
        post-copy, where libvirt does not tell.
    :param job: libvirt's own statistics of it.
    """

    domain: libvirt.virDomain
    seconds: float
    bytes_sent: int
    downtime_ms: int | None
    job: Mapping[str, Any]


def boot(host: lab_host.Host, spec: GuestSpec) -> libvirt.virDomain:
    """Define a guest and start it; see wait_booted().

    :returns: its domain.
    """
    folder = layout.LAB.instances / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    image = spec.image()
    disk = folder / 'disk'
    backing = ['-b', str(image.disk), '-F', 'qcow2']
    subprocess.run(
        ['qemu-img', 'create', '-q', '-f', 'qcow2', *backing, str(disk)],
        check=True,
    )
    domain = host.libvirt().defineXML(_describe(spec))
    domain.create()
    return domain


def wait_booted(name: str, seconds: float = 90) -> None:
    """Wait until a guest's init has done its work, agent or not.

    :param name: the guest's.
    :raises LookupError: it has ended instead.
    :raises TimeoutError: it has not booted in time.
    """
    console = layout.LAB.instances / name / 'console.log'

    def booted() -> bool:
        find(name)
        return guest_image.READY in console.read_text(errors='replace')

    steps.wait_for(booted, f'"{guest_image.READY}" in {console}', seconds)


def find(name: str) -> tuple[lab_host.Host, libvirt.virDomain]:
    """Find a guest.

    :returns: the host it runs on, and its domain.
    :raises LookupError: it runs on neither.
    """
    for host in room.hosts():
        for domain in host.libvirt().listAllDomains():
            if domain.name() == name and domain.isActive():
                return host, domain
    logs = layout.LAB.state / 'host?' / 'var-log-libvirt' / 'qemu'
    raise LookupError(f'{name} runs on no host; see {logs}/{name}.log')


def _describe(spec: GuestSpec) -> str:
    image = spec.image()
    folder = layout.LAB.instances / spec.name
    virt_type = accelerator.virt_type()
    reporting = _REPORTING if spec.reporting else ''
    balloon = _BALLOON.format(reporting=reporting)
    return _DOMAIN.format(
        virt_type=virt_type,
        namespace=_NAMESPACE if spec.hints else '',
        threads=_THREADS if spec.hints else '',
        override=_HINTS if spec.hints else '',
        name=spec.name,
        uuid=uuid.uuid4(),
        memory_mib=spec.memory_mib,
        vcpus=spec.vcpus,
        kernel=image.kernel,
        initramfs=image.initramfs,
        command_line=f'{image.command_line} {spec.flags}'.strip(),
        cpu=_cpu(spec, virt_type),
        disk=folder / 'disk',
        console=folder / 'console.log',
        channel=_CHANNEL if spec.channel else '',
        balloon=balloon if spec.balloon else "<memballoon model='none'/>",
    )


def _cpu(spec: GuestSpec, virt_type: str) -> str:
    mode = " mode='host-model'" if virt_type == 'kvm' else ''
    if spec.nodes == 1:
        return f'<cpu{mode}/>' if mode else ''
    cpus, mib = spec.vcpus // spec.nodes, spec.memory_mib // spec.nodes
    cells = ''.join(
        f"<cell id='{node}' cpus='{node * cpus}-{(node + 1) * cpus - 1}'"
        f" memory='{mib}' unit='MiB'/>"
        for node in range(spec.nodes)
    )
    return f'<cpu{mode}><numa>{cells}</numa></cpu>'


def migrate(
    domain: libvirt.virDomain, to: lab_host.Host, way: Way | None = None
) -> Migration:
    """Live-migrate a guest over the link, as Nova asks libvirt to.

    :param domain: the guest, at the source.
    :param to: the host it goes to.
    :param way: what else libvirt is asked for.
    :returns: what it took.
    :raises libvirtError: it failed; the guest runs on at the source.
    """
    source, _ = find(domain.name())
    description = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)
    way = way or Way()
    settings = {
        **way.settings,
        libvirt.VIR_MIGRATE_PARAM_URI: f'tcp://{to.layout.link_address}',
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: description,
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: description,
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: 0,
    }
    sent_before, _ = source.link_bytes()
    started = time.monotonic()
    uri = to.layout.migration_uri
    domain.migrateToURI3(uri, settings, _MIGRATION_FLAGS | way.flags)
    seconds = time.monotonic() - started
    sent, _ = source.link_bytes()
    arrived = to.libvirt().lookupByUUIDString(domain.UUIDString())
    job = arrived.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    return Migration(
        domain=arrived,
        seconds=seconds,
        bytes_sent=sent - sent_before,
        downtime_ms=job.get(libvirt.VIR_DOMAIN_JOB_DOWNTIME),
        job=job,
    )


def persistent_memory_kib(domain: libvirt.virDomain) -> int:
    """Read how much memory a guest would have after its next start."""
    inactive = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    return int(etree.fromstring(inactive).findtext('currentMemory', '0'))


def remove(domain: libvirt.virDomain) -> None:
    """End a guest, and remove its definition and its disk."""
    name = domain.name()
    if domain.isActive():
        domain.destroy()
    domain.undefine()
    shutil.rmtree(layout.LAB.instances / name, ignore_errors=True)
