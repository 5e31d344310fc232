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

"""What is looked at to see whether a host is set up; pure.

Each function is given what was found, and says whether it is well and, where
it is not, what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses

from oslo_upgradecheck.upgradecheck import Code

from nova_freemem import contract
from nova_freemem.plan import eligibility
from nova_freemem.plan.reasons import Reason
from nova_freemem.trait import TRAIT
from nova_freemem.virt.memory_stats import MemoryStats

NOTIFICATION_DRIVER = 'freemem'

# The major releases of Nova that the tests have run with.
FIRST_NOVA, LAST_NOVA = 31, 34

# An older QEMU corrupts guests that write during a migration, where the
# processor does not run them; seen with 7.2.
FIRST_QEMU_TO_EMULATE = (8, 2)

# A line is for people; what is beyond is counted.
MOST_NAMES = 10


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether something is well.

    :ivar code: how bad it is, as oslo.upgradecheck has it
    :ivar details: what was found, and what to do about it
    """

    code: Code
    details: str


@dataclasses.dataclass(frozen=True)
class Setting:
    """One option that has another value than its default.

    :ivar name: of the option
    :ivar value: as it is read
    :ivar origin: where from
    """

    name: str
    value: str
    origin: str

    def __str__(self) -> str:
        """Return it as in a file, with its origin."""
        return f'{self.name} = {self.value} ({self.origin})'


def success(details: str) -> Verdict:
    """Return that something is well.

    :param details: what was found
    """
    return Verdict(Code.SUCCESS, details)


def warning(details: str) -> Verdict:
    """Return that somebody should look at something.

    :param details: what was found, and what to do
    """
    return Verdict(Code.WARNING, details)


def failure(details: str) -> Verdict:
    """Return that the plugin does not work like this.

    :param details: what was found, and what to do
    """
    return Verdict(Code.FAILURE, details)


def configuration(files: Sequence[str]) -> Verdict:
    """Name the files that are read.

    :param files: those files
    """
    return success(f'Read from {", ".join(files)}.')


def options(
    settings: Sequence[Setting], unknown: Sequence[str], problem: str | None
) -> Verdict:
    """Judge the options of ``[freemem]``.

    :param settings: those that do not have their defaults
    :param unknown: options that there are not, with their files
    :param problem: what is wrong with a value, None where all are valid
    """
    shown = '; '.join(map(str, settings))
    if problem is not None:
        return failure(
            f'{problem}. Correct it: with this nova-compute starts without '
            f'the plugin. Set: {shown}.'
        )
    if unknown:
        return warning(
            f'No such option, remove or correct: {"; ".join(unknown)}. '
            f'Set: {shown or "none"}.'
        )
    if not settings:
        return success('All have their defaults.')
    return success(f'{shown}. All others have their defaults.')


def enabled(is_enabled: bool, uncounted: Sequence[str]) -> Verdict:
    """Judge whether memory is released from this host.

    :param is_enabled: the value of the option
    :param uncounted: files that look as if they set it, with why they do not
    """
    if is_enabled:
        return success('Memory is released in live migrations from this host.')
    but = f', though [freemem] is in {"; ".join(uncounted)}'
    return warning(
        '[freemem] enabled is false'
        f'{but if uncounted else ""}: nothing is released in live migrations '
        'from this host. Set it to true to have that.'
    )


def plugin(drivers: Sequence[str], problem: str | None) -> Verdict:
    """Judge whether nova-compute will load the plugin.

    :param drivers: the notification drivers that are configured
    :param problem: why it cannot be loaded, None where it can
    """
    if NOTIFICATION_DRIVER not in drivers:
        return failure(
            f'[oslo_messaging_notifications] driver is '
            f'{", ".join(drivers) or "not set"}. Add a line "driver = '
            f'{NOTIFICATION_DRIVER}", beside the others, and restart '
            'nova-compute.'
        )
    if problem is not None:
        return failure(
            f'The notification driver {NOTIFICATION_DRIVER} cannot be '
            f'loaded: {problem}. Install nova-freemem into the Python '
            'environment of nova-compute.'
        )
    return success(
        f'{NOTIFICATION_DRIVER} is among the notification drivers, and can '
        'be loaded.'
    )


def nova(
    version: str | None, compute_driver: str | None, difference: str | None
) -> Verdict:
    """Judge the Nova that is installed.

    :param version: None where there is none
    :param compute_driver: the one that is configured
    :param difference: in what Nova differs from what the plugin relies on
    """
    if version is None:
        return failure(
            'Nova is not in this Python environment. Install nova-freemem '
            'into the one of nova-compute, and run this there.'
        )
    if compute_driver != contract.STOCK_DRIVER:
        return failure(
            f'compute_driver is {compute_driver or "not set"}: the plugin '
            f'works with {contract.STOCK_DRIVER}.'
        )
    if difference is not None:
        return failure(
            f'Nova {version}: {difference}. Install a nova-freemem that '
            'knows this Nova.'
        )
    major = version.partition('.')[0]
    if not major.isdigit() or not FIRST_NOVA <= int(major) <= LAST_NOVA:
        return warning(
            f'Nova {version} has what the plugin relies on, but is none of '
            f'those that it is tested with ({FIRST_NOVA} to {LAST_NOVA}). '
            'Try it on one host first.'
        )
    return success(f'Nova {version} has what the plugin relies on.')


def statistics_period(seconds: int) -> Verdict:
    """Judge ``[libvirt] mem_stats_period_seconds``.

    :param seconds: its value
    """
    if seconds <= 0:
        return failure(
            f'[libvirt] mem_stats_period_seconds is {seconds}: Nova creates '
            'guests without a memory balloon. Set it above 0 and restart '
            'nova-compute; guests get a balloon by a hard reboot.'
        )
    return success(f'[libvirt] mem_stats_period_seconds is {seconds}.')


def libvirt(versions: tuple[str, str], virt_type: str) -> Verdict:
    """Judge libvirt and QEMU.

    :param versions: of libvirt and of QEMU
    :param virt_type: ``[libvirt] virt_type``
    """
    ours, qemu = versions
    shown = f'libvirt {ours}, QEMU {qemu}, virt_type {virt_type}'
    if virt_type not in ('kvm', 'qemu'):
        return failure(f'{shown}: the plugin works with kvm and qemu.')
    if virt_type == 'qemu' and _numbers(qemu) < FIRST_QEMU_TO_EMULATE:
        first = '.'.join(map(str, FIRST_QEMU_TO_EMULATE))
        return warning(
            f'{shown}: a QEMU this old corrupts guests in live migrations '
            'without KVM, with the plugin and without. Use KVM, or QEMU '
            f'{first} or later.'
        )
    return success(f'{shown}.')


def trait(node: str, is_reported: bool) -> Verdict:
    """Judge whether this host says that it restores memory.

    :param node: the name of its resource provider
    :param is_reported: whether that has the trait
    """
    if is_reported:
        return success(f'{node} has {TRAIT}: nova-compute has the plugin.')
    return failure(
        f'{node} has no trait {TRAIT} in Placement: nova-compute has not '
        'loaded the plugin, or the plugin is off for an error. Look for '
        'nova_freemem in its log, correct what it says, and restart it.'
    )


def destinations(without: Sequence[str], is_required: bool) -> Verdict:
    """Judge the hosts that guests may migrate to.

    :param without: those that do not say that they restore memory
    :param is_required: ``[freemem] require_destination_trait``
    """
    if not without:
        return success(f'All compute hosts have {TRAIT}.')
    then = (
        'nothing is released in live migrations to them'
        if is_required
        else 'a guest that lands there keeps less memory until somebody '
        'restores it'
    )
    return warning(
        f'{len(without)} compute hosts without {TRAIT}: {_named(without)}; '
        f'{then}. Install the plugin there, and have nova-compute load it.'
    )


def outstanding(uuids: Sequence[str]) -> Verdict:
    """Judge whether guests of this host lack memory.

    :param uuids: those with a journal entry
    """
    if not uuids:
        return success('All guests of this host have their memory.')
    return warning(
        f'{len(uuids)} guests with outstanding memory: {_named(uuids)}. See '
        '"nova-freemem list"; while a guest migrates, that is normal.'
    )


def balloon_statistics(
    guests: Mapping[str, MemoryStats | None], unread: Sequence[str]
) -> Verdict:
    """Judge whether guests can release anything.

    :param guests: the statistics of those that run, None without a balloon
    :param unread: guests that could not be looked at
    """
    no_balloon = [uuid for uuid, stats in guests.items() if stats is None]
    silent = [
        uuid
        for uuid, stats in guests.items()
        if stats is not None and is_silent(stats)
    ]
    problems = [
        f'{text}: {_named(uuids)}'
        for text, uuids in (
            (f'{Reason.NO_BALLOON.value} (hard reboot them)', no_balloon),
            (
                'the balloon driver has reported nothing (load one in the '
                'guest)',
                silent,
            ),
            ('could not be looked at', unread),
        )
        if uuids
    ]
    if problems:
        count = len(no_balloon) + len(silent) + len(unread)
        return warning(
            f'Nothing is released from {count} of '
            f'{len(guests) + len(unread)} guests. {"; ".join(problems)}.'
        )
    return success(f'All guests that run have them: {len(guests)}.')


def is_silent(stats: MemoryStats) -> bool:
    """Return whether a balloon driver has reported nothing of use.

    :param stats: as libvirt has them, however old
    """
    return (
        stats.last_update_seconds is None
        or eligibility.unwatchable(stats) is not None
    )


def _named(names: Sequence[str]) -> str:
    shown = ', '.join(names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f'{shown} and {more} more' if more > 0 else shown


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split('.'))
