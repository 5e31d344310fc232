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

"""What a benchmark is measured on: the machine and the versions."""

from collections.abc import Iterator
from collections.abc import Mapping
from importlib import metadata
import os
import pathlib
import platform
import subprocess
import time

import libvirt
import psutil

from tests.bench import reserve
from tests.lab import accelerator
from tests.lab import host as lab_host

_ROOT = pathlib.Path(__file__).parents[2]
_CPUINFO = pathlib.Path('/proc/cpuinfo')
_GIB, _FILLED_BYTES = 1 << 30, 1 << 28


def describe(host: lab_host.Host) -> Mapping[str, str]:
    """Describe the machine.

    :param host: one that is up, whose libvirt is asked.
    :returns: the facts by their names, for people.
    """
    connection = host.libvirt()
    system = platform.freedesktop_os_release()['PRETTY_NAME']
    return {
        'processors': f'{os.cpu_count()}, {_processor()}',
        'memory': f'{psutil.virtual_memory().total >> 20} MiB',
        'time to get a GiB of it': f'{gib_seconds():.1f} s',
        'system': f'{system}, Linux {platform.release()}',
        'guests run by': {'kvm': 'KVM', 'qemu': 'emulation (TCG)'}[
            accelerator.virt_type()
        ],
        'QEMU': _dotted(connection.getVersion()),
        'libvirt': _dotted(connection.getLibVersion()),
        'libvirt-python': _dotted(libvirt.getVersion()),
        'Python': platform.python_version(),
        'Nova': metadata.version('nova'),
        'nova-freemem': ' '.join(_project()),
    }


def busy_processors() -> float:
    """Measure how many processors are busy, over two seconds."""
    share = psutil.cpu_percent(interval=2.0) / 100
    return share * (os.cpu_count() or 1)


def gib_seconds() -> float:
    """Measure how long this machine takes to get a GiB of memory.

    0.03 s where it is at hand. More where this machine is a guest itself whose
    host reclaims what is free: then a guest that arrives here waits for the
    memory that it fills.
    """
    began = time.monotonic()
    with reserve.filled(_FILLED_BYTES):
        seconds = time.monotonic() - began
    return seconds * _GIB / _FILLED_BYTES


def _processor() -> str:
    for line in _CPUINFO.read_text().splitlines():
        name, _, value = line.partition(':')
        if name.strip() == 'model name':
            return value.strip()
    return platform.machine()


def _dotted(number: int) -> str:
    """Read a version as libvirt writes it: 1,000,000 * major and so on."""
    return f'{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}'


def _project() -> Iterator[str]:
    """Find the version, and the commit where there is one."""
    yield metadata.version('nova-freemem')
    described = subprocess.run(
        ['git', '-C', str(_ROOT), 'describe', '--always', '--dirty'],
        capture_output=True,
        text=True,
    )
    if described.returncode == 0:
        yield f'({described.stdout.strip()})'
