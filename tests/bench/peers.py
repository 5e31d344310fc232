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

"""What there is besides the plugin to migrate a guest sooner.

Each as an operator has it from libvirt, without Nova and without the plugin.
"""

from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import dataclasses
import functools
import threading
import types

import libvirt

from tests.bench import base
from tests.bench.migration import Migration
from tests.lab import guest as lab_guest
from tests.lab import steps
from tests.lab import virt

#: Two connections; QEMU's default of compression, which is none.
MULTIFD = virt.Way(
    libvirt.VIR_MIGRATE_PARALLEL,
    {libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS: 2},
)
MULTIFD_ZSTD = virt.Way(
    MULTIFD.flags | libvirt.VIR_MIGRATE_COMPRESSED,
    {**MULTIFD.settings, libvirt.VIR_MIGRATE_PARAM_COMPRESSION: 'zstd'},
)
# The cache holds what the scenario busy rewrites: with less, pages that come
# again are no longer in it.
_XBZRLE = virt.Way(
    libvirt.VIR_MIGRATE_COMPRESSED,
    {
        libvirt.VIR_MIGRATE_PARAM_COMPRESSION: 'xbzrle',
        libvirt.VIR_MIGRATE_PARAM_COMPRESSION_XBZRLE_CACHE: 512 << 20,
    },
)
_AUTO_CONVERGE = virt.Way(libvirt.VIR_MIGRATE_AUTO_CONVERGE)
_POST_COPY = virt.Way(libvirt.VIR_MIGRATE_POSTCOPY)

# What libvirt answers where it, or QEMU, does not know what it is asked for.
_REFUSALS = (
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
)

_SWITCH_SECONDS = 0.02

# The least dynamic minimum that XenServer supports for a Linux guest.
_MINIMUM_SHARE = 0.25
_BALLOON_SECONDS, _BALLOON_LOOK_SECONDS = 60.0, 0.1
_NEAR_KIB = 1024

_PORTION_MIB = 256
_NO_FILE = 3
# No more than is cold, and no more than the kernel finds.
_RECLAIM = f"""
file=/run/cgroup/memory.reclaim
mkdir -p /run/cgroup
[ -e $file ] || mount -t cgroup2 none /run/cgroup
[ -e $file ] || exit {_NO_FILE}
while read -r name kib unit; do
    [ "$name" = 'Inactive(file):' ] && break
done < /proc/meminfo
while [ $kib -gt {_PORTION_MIB << 10} ]; do
    echo {_PORTION_MIB}M > $file || break
    kib=$((kib - {_PORTION_MIB << 10}))
done
"""


class Asked(base.Plain):
    """A migration for which libvirt is asked for more than Nova asks for.

    :param way: what that is.
    """

    def __init__(self, way: virt.Way) -> None:
        super().__init__()
        self._way = way

    def at_source(self, migration: Migration) -> None:
        """Transfer."""
        try:
            migration.transfer(self._way)
        except libvirt.libvirtError as error:
            if error.get_error_code() in _REFUSALS:
                raise base.Unable(str(error)) from error
            raise


class PostCopy(Asked):
    """The guest runs at the destination at once; its memory comes after it.

    A page that it needs is fetched when it needs it.
    """

    ends_with_job = True

    def __init__(self) -> None:
        super().__init__(_POST_COPY)

    def at_source(self, migration: Migration) -> None:
        """Transfer, and have the guest switched over as soon as it goes."""
        over = threading.Event()
        switch = threading.Thread(target=_switch, args=(migration, over))
        switch.start()
        try:
            super().at_source(migration)
        finally:
            over.set()
            switch.join()


def _switch(migration: Migration, over: threading.Event) -> None:
    """Ask for the switch until libvirt takes it, or the transfer is over."""
    while not over.wait(_SWITCH_SECONDS):
        with contextlib.suppress(libvirt.libvirtError):
            migration.domain.migrateStartPostCopy()
            return


class FreePageHint(base.Plain):
    """The guest tells QEMU of its free pages as the transfer begins."""

    def spec(self, spec: virt.GuestSpec) -> virt.GuestSpec:
        """Give its balloon what libvirt has no word for."""
        return dataclasses.replace(spec, hints=True)


class FixedMinimum(base.Plain):
    """As XenServer does it: shrunk to a fixed size first, whatever it uses."""

    def at_source(self, migration: Migration) -> None:
        """Shrink the guest, wait for that, and transfer."""
        domain = migration.domain
        stats = domain.memoryStats()
        minimum_kib = int(stats['actual'] * _MINIMUM_SHARE)
        used_kib = stats['actual'] - stats['usable']
        if used_kib > minimum_kib:
            raise base.Unable(
                f'the guest uses {used_kib >> 10} MiB, more than the minimum'
                f' of {minimum_kib >> 10} MiB'
            )
        domain.setMemory(minimum_kib)
        try:
            steps.wait_for(
                lambda: (
                    domain.memoryStats()['actual'] <= minimum_kib + _NEAR_KIB
                ),
                'the balloon',
                _BALLOON_SECONDS,
                _BALLOON_LOOK_SECONDS,
            )
        except TimeoutError as error:
            raise base.Unable(
                f'the guest does not shrink to {minimum_kib >> 10} MiB'
            ) from error
        migration.transfer()

    def at_destination(self, migration: Migration) -> None:
        """Grow the guest, now and for its next start."""
        migration.arrived().setMemoryFlags(
            migration.memory_kib,
            libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )


class GuestReclaim(base.Plain):
    """The guest's kernel drops its cold page cache; reporting does the rest.

    By hand, with what Linux and QEMU have, and without a balloon that shrinks
    the guest.
    """

    def spec(self, spec: virt.GuestSpec) -> virt.GuestSpec:
        """Refuse a guest that keeps what its kernel drops."""
        if not spec.reporting:
            raise base.Unable(
                'the guest does not report free pages: what its kernel drops'
                ' stays with the guest'
            )
        return spec

    def at_source(self, migration: Migration) -> None:
        """Have page cache dropped, and transfer."""
        guest = lab_guest.Guest(migration.domain)
        done = guest.exec(['sh', '-c', _RECLAIM])
        if done.exit_code == _NO_FILE:
            raise base.Unable("the guest's kernel has no memory.reclaim")
        migration.transfer()


#: Makes a method's object for one migration, by its name.
MAKE: Mapping[str, Callable[[], base.Method]] = types.MappingProxyType(
    {
        'free-page-hint': FreePageHint,
        'xbzrle': functools.partial(Asked, _XBZRLE),
        'multifd': functools.partial(Asked, MULTIFD),
        'multifd+zstd': functools.partial(Asked, MULTIFD_ZSTD),
        'auto-converge': functools.partial(Asked, _AUTO_CONVERGE),
        'post-copy': PostCopy,
        'fixed-minimum': FixedMinimum,
        'guest-reclaim': GuestReclaim,
    }
)
