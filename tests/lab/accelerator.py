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

"""Whether guests run under KVM on this machine, or are emulated (TCG).

A guest is booted to find out: ``/dev/kvm`` may exist and not run any.
"""

import json
import pathlib
import subprocess

from tests.lab import guest_image
from tests.lab import layout
from tests.lab import processes
from tests.lab import steps

KVM_DEVICE = pathlib.Path('/dev/kvm')

_UP = 'freemem guest: kernel up'  # What the guest's init prints.
_SECONDS = 8  # Under KVM a second will do.


def virt_type() -> str:
    """Find out, once in each boot of this machine, what runs its guests.

    :returns: ``kvm`` or ``qemu``: libvirt's and Nova's names.
    """
    remembered = layout.LAB.cache / 'accelerator.json'
    boot_id = processes.boot_id()
    try:
        known = json.loads(remembered.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    if known.get('boot_id') != boot_id:
        with steps.step('find out whether a guest boots under KVM'):
            answer = 'kvm' if _boots_under_kvm() else 'qemu'
        known = {'boot_id': boot_id, 'virt_type': answer}
        remembered.write_text(json.dumps(known))
    return str(known['virt_type'])


def _boots_under_kvm() -> bool:
    if not KVM_DEVICE.exists():
        return False
    image = guest_image.get()
    options = ['-accel', 'kvm', '-m', '256', '-no-reboot', '-nodefaults']
    options += ['-display', 'none', '-serial', 'stdio']
    options += ['-kernel', str(image.kernel), '-initrd', str(image.initramfs)]
    command_line = f'{guest_image.COMMAND_LINE} freemem.probe'
    try:
        done = subprocess.run(
            ['qemu-system-x86_64', *options, '-append', command_line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors='replace',
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return False
    return _UP in done.stdout
