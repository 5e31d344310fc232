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

"""libvirt's error codes translated into exceptions, in one place.

Their meaning was read in libvirt's sources and provoked on libvirt 11.3 with
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
    """The domain has no metadata of ours."""


class IncomingMigration(exceptions.LibvirtError):
    """The domain is being migrated to this host; only the source knows."""


class NotUnderstood(exceptions.LibvirtError):
    """There was an answer, and it makes no sense."""


ERRORS = {
    'VIR_ERR_INVALID_ARG': exceptions.TargetRefused,
    'VIR_ERR_NO_DOMAIN': exceptions.DomainGone,
    'VIR_ERR_OPERATION_INVALID': exceptions.OperationInvalid,
    'VIR_ERR_OPERATION_TIMEOUT': exceptions.DomainBusy,
    'VIR_ERR_NO_DOMAIN_METADATA': MetadataAbsent,
}
JOB_ERRORS = ERRORS | {
    'VIR_ERR_OPERATION_UNSUPPORTED': IncomingMigration,
}
AGENT_ERRORS = {
    'VIR_ERR_NO_DOMAIN': exceptions.DomainGone,
    'VIR_ERR_OPERATION_INVALID': exceptions.AgentUnresponsive,
    'VIR_ERR_ARGUMENT_UNSUPPORTED': exceptions.AgentUnresponsive,
    'VIR_ERR_AGENT_UNRESPONSIVE': exceptions.AgentUnresponsive,
    'VIR_ERR_AGENT_COMMAND_TIMEOUT': exceptions.AgentUnresponsive,
    # Another program was using it for 30 s.
    'VIR_ERR_OPERATION_TIMEOUT': exceptions.AgentUnresponsive,
    'VIR_ERR_AGENT_COMMAND_FAILED': exceptions.AgentCommandRefused,
}


@contextlib.contextmanager
def translated(
    doing: str, errors: Mapping[str, type[exceptions.LibvirtError]] = ERRORS
) -> Iterator[None]:
    """Raise libvirt's errors as ours.

    :param doing: what is being done, for the message
    :param errors: our exceptions by the names of libvirt's error codes
    :raises LibvirtError: libvirt failed; the message is one line
    """
    try:
        yield
    except libvirt.libvirtError as error:
        code = error.get_error_code()
        by_code = {
            getattr(libvirt, name): ours for name, ours in errors.items()
        }
        ours = by_code.get(code, exceptions.LibvirtError)
        # libvirt quotes the guest agent in its messages, and a trace would
        # show the original, unescaped and whole.
        raise ours(
            doing=doing, error=validation.quoted(error), code=code
        ) from None


@contextlib.contextmanager
def understood(doing: str) -> Iterator[None]:
    """Raise the ValueError of an answer that makes no sense as ours.

    :param doing: what is being done, for the message
    :raises NotUnderstood: a ValueError was raised
    """
    try:
        yield
    except ValueError as error:
        raise NotUnderstood(
            doing=doing, error=validation.quoted(error)
        ) from None
