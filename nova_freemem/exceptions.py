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

"""The exceptions of this package, one class for each cause."""

from __future__ import annotations


class FreememError(Exception):
    """Base of all exceptions of this package.

    Subclasses set ``message``, a format string over the keywords the
    exception is raised with.
    """

    message = 'An unknown error occurred.'

    def __init__(self, **details: object) -> None:
        self.details = details
        super().__init__(self.message.format(**details))


class ConfigInvalid(FreememError):
    """An option of ``[freemem]`` has a value that cannot be used."""

    message = '[freemem] {option}: {problem}'


class NovaDiffers(FreememError):
    """Nova is not as the plugin needs it."""

    message = 'this Nova is not one the plugin can work with: {differences}'


class LibvirtError(FreememError):
    """libvirt failed a call for a reason that has no class of its own."""

    message = 'libvirt could not {doing}: {error}{number}'

    def __init__(self, *, code: int | None = None, **details: object) -> None:
        """Initialize the error.

        :param code: libvirt's number of the error, None where it has none
        :param details: ``doing`` and ``error``
        """
        number = '' if code is None else f' (error {code})'
        super().__init__(number=number, code=code, **details)


class DomainGone(LibvirtError):
    """The domain is not, or no longer, on this host."""


class DomainBusy(LibvirtError):
    """Another job, such as a migration, holds the domain."""


class AnotherJob(DomainBusy):
    """Another job was seen to hold the domain; libvirt was not called."""

    message = (
        'a snapshot, for example, or a call that QEMU does not answer, which '
        'libvirt would wait for'
    )


class OperationInvalid(LibvirtError):
    """The domain has no memory balloon, or is not running."""


class TargetRefused(LibvirtError):
    """The balloon target is zero or above the domain's maximum."""


class SourceUnavailable(FreememError):
    """A source could not report the free memory of a guest."""

    message = '{source}: {problem}'


class AgentUnresponsive(LibvirtError):
    """There is no guest agent, or it does not answer."""


class AgentCommandRefused(LibvirtError):
    """The guest agent has blocked, or failed, a command."""


class NothingToDrop(FreememError):
    """A guest that is asked to drop page cache finds no more to drop."""

    message = 'it had no more'


class SwapInTheWay(FreememError):
    """A guest's kernel cannot be asked for page cache and nothing else."""

    message = (
        'it has swap, and a kernel before Linux 6.9 cannot drop page cache '
        'alone'
    )


class JournalGone(FreememError):
    """Somebody erased a journal entry while memory is outstanding."""

    message = (
        'something else erased the journal entry while memory of the guest '
        'is outstanding'
    )


class JournalUnreadable(FreememError):
    """The journal entry of a domain cannot be read."""

    message = '{problem}: {entry}'
