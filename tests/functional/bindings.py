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

"""Nova's fake libvirt instead of the binding, for the whole process.

It is imported before the plugin is, so that the plugin gets the fake as well;
Nova's fixtures forbid the real one.
"""

import sys
import types
from typing import Any

from nova.tests.fixtures import libvirt as nova_fake

# What the plugin tells apart and Nova's fake does not name; libvirt's values.
for _name, _code in (
    ('VIR_ERR_ARGUMENT_UNSUPPORTED', 74),
    ('VIR_ERR_OPERATION_ABORTED', 78),
    ('VIR_ERR_NO_DOMAIN_METADATA', 80),
    ('VIR_ERR_AGENT_COMMAND_TIMEOUT', 112),
    ('VIR_ERR_AGENT_COMMAND_FAILED', 113),
    ('VIR_DOMAIN_CONTROL_OCCUPIED', 2),
    ('VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT', 5),
):
    if not hasattr(nova_fake, _name):
        setattr(nova_fake, _name, _code)


def _agent_command(domain: Any, command: str, timeout: int, flags: int) -> str:
    return domain.agent_command(command, timeout)


def _monitor_command(domain: Any, command: str, flags: int) -> str:
    return domain.monitor_command(command)


libvirt_qemu = types.ModuleType('libvirt_qemu')
libvirt_qemu.qemuAgentCommand = _agent_command  # type: ignore[attr-defined]
libvirt_qemu.qemuMonitorCommand = _monitor_command  # type: ignore[attr-defined]
sys.modules |= {'libvirt': nova_fake, 'libvirt_qemu': libvirt_qemu}
