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

"""libvirt's error codes made into exceptions, once.

What they mean was read in libvirt's sources and provoked on libvirt 11.3 with
QEMU 10.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib

import libvirt

from nova_freemem import exceptions
from nova_freemem.virt import validation


class MetadataAbsent(exceptions.LibvirtError):
    """Nobody wrote metadata of ours."""


class MigratesIn(exceptions.LibvirtError):
    """The domain is being migrated to this host; the other one tells."""


FAULTS = {
    'VIR_ERR_INVALID_ARG': exceptions.TargetRefused,
    'VIR_ERR_NO_DOMAIN': exceptions.DomainGone,
    'VIR_ERR_OPERATION_INVALID': exceptions.OperationInvalid,
    'VIR_ERR_OPERATION_TIMEOUT': exceptions.DomainBusy,
    'VIR_ERR_NO_DOMAIN_METADATA': MetadataAbsent,
}
JOB_FAULTS = FAULTS | {
    'VIR_ERR_OPERATION_UNSUPPORTED': MigratesIn,
}
AGENT_FAULTS = {
    'VIR_ERR_NO_DOMAIN': exceptions.DomainGone,
    'VIR_ERR_OPERATION_INVALID': exceptions.AgentUnresponsive,
    'VIR_ERR_ARGUMENT_UNSUPPORTED': exceptions.AgentUnresponsive,
    'VIR_ERR_AGENT_UNRESPONSIVE': exceptions.AgentUnresponsive,
    'VIR_ERR_AGENT_COMMAND_TIMEOUT': exceptions.AgentUnresponsive,
    'VIR_ERR_AGENT_COMMAND_FAILED': exceptions.AgentCommandRefused,
}


@contextlib.contextmanager
def translated(
    doing: str, faults: Mapping[str, type[exceptions.LibvirtError]] = FAULTS
) -> Iterator[None]:
    """Have libvirt's errors raised as ours.

    :param doing: what is done, for the message
    :param faults: our exceptions by the names of libvirt's error codes
    :raises LibvirtFault: libvirt would not; the message is one line
    """
    try:
        yield
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        by_code = {
            getattr(libvirt, name): fault for name, fault in faults.items()
        }
        fault = by_code.get(code, exceptions.LibvirtError)
        # libvirt quotes the guest agent in its messages, and a trace would
        # show the original, unescaped and whole.
        raise fault(
            doing=doing, error=validation.quoted(error), code=code
        ) from None


@contextlib.contextmanager
def understood(doing: str) -> Iterator[None]:
    """Have what makes no sense raised as what libvirt would not do.

    :param doing: what is done, for the message
    :raises LibvirtFault: a ValueError was raised
    """
    try:
        yield
    except ValueError as error:
        raise exceptions.LibvirtError(
            doing=doing, error=validation.quoted(error), code='none'
        ) from None
