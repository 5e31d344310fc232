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

"""All checks of how a host is set up, and where what they judge is found."""

from __future__ import annotations

from collections.abc import Callable
import contextlib
import dataclasses
from importlib import metadata
import io

from oslo_config import cfg

from nova_freemem import conf as freemem_conf
from nova_freemem import conf_files
from nova_freemem import exceptions
from nova_freemem import extensions
from nova_freemem import policy
from nova_freemem import trait
from nova_freemem.cli import base
from nova_freemem.cli import checks
from nova_freemem.cli import nova
from nova_freemem.cli import nova_conf
from nova_freemem.cli.checks import Verdict
from nova_freemem.cli.compute_host import ComputeHost
from nova_freemem.virt import guest as guests

_DRIVERS = 'oslo.messaging.notify.drivers'


def _configuration(here: ComputeHost) -> Verdict:
    return checks.configuration(conf_files.read_files(here.conf))


def _options(here: ComputeHost) -> Verdict:
    conf = here.conf
    sections = conf_files.find(conf)
    settings = [
        checks.Setting(
            option.dest, str(freemem_conf.read(conf, option)), source
        )
        for option in freemem_conf.OPTIONS
        if (source := conf_files.origin(conf, sections, option.dest))
        is not None
    ]
    return checks.options(
        settings,
        conf_files.unknown_options(sections),
        _problem(conf),
    )


def _problem(conf: cfg.ConfigOpts) -> str | None:
    """Return which value keeps the plugin from being loaded, if one does."""
    try:
        one = policy.Policy.from_conf(conf)
        for name in one.acquire:
            extensions.load('acquire', name)
        extensions.load_release(one.release)
    except exceptions.ConfigInvalid as error:
        return str(error)
    return None


def _enabled(here: ComputeHost) -> Verdict:
    conf = here.conf
    sections = conf_files.find(conf)
    return checks.enabled(
        conf.freemem.enabled is True,
        conf_files.why_not_enabled(
            sections, conf_files.origin(conf, sections, 'enabled')
        ),
    )


def _plugin(here: ComputeHost) -> Verdict:
    drivers = nova_conf.value(
        here.conf, 'driver', 'oslo_messaging_notifications'
    )
    found = metadata.entry_points(
        group=_DRIVERS, name=checks.NOTIFICATION_DRIVER
    )
    problem = None if found else 'it is not installed'
    try:
        # oslo.service says on standard error that it has found eventlet.
        with contextlib.redirect_stderr(io.StringIO()):
            for one in found:
                one.load()
    except Exception as error:  # whatever an import ends in
        problem = repr(error)
    return checks.plugin(drivers, problem)


def _nova(here: ComputeHost) -> Verdict:
    version = nova.version()
    return checks.nova(
        version,
        nova_conf.value(here.conf, 'compute_driver'),
        None if version is None else nova.difference(),
    )


def _statistics_period(here: ComputeHost) -> Verdict:
    return checks.statistics_period(
        nova_conf.value(here.conf, 'mem_stats_period_seconds', 'libvirt')
    )


def _libvirt(here: ComputeHost) -> Verdict:
    return checks.libvirt(
        here.host.versions(),
        nova_conf.value(here.conf, 'virt_type', 'libvirt'),
    )


def _trait(here: ComputeHost) -> Verdict:
    node = here.host.name()
    return checks.trait(node, trait.is_reported(here.placement.get, node))


def _destinations(here: ComputeHost) -> Verdict:
    node = here.host.name()
    return checks.destinations(
        [
            name
            for name in trait.hosts_without(here.placement.get)
            if name != node
        ],
        here.conf.freemem.require_destination_trait is not False,
    )


def _outstanding(here: ComputeHost) -> Verdict:
    return checks.outstanding(sorted(here.host.journal_entries()))


def _balloon_statistics(here: ComputeHost) -> Verdict:
    found = {}
    unread = []
    for uuid in here.host.uuids():
        try:
            guest = here.host.guest(uuid)
            # What has a job, or a QEMU that does not answer, could take long.
            if guest.situation() is guests.Situation.RUNNING:
                found[uuid] = guest.memory_stats()
        except exceptions.DomainGone:
            continue
        except exceptions.LibvirtError:
            unread.append(uuid)
    return checks.balloon_statistics(found, unread)


@dataclasses.dataclass(frozen=True)
class Check:
    """One check.

    :ivar name: what is looked at
    :ivar look: looks at it
    :ivar tells: what it alone says everything about that went wrong
    """

    name: str
    look: Callable[[ComputeHost], Verdict]
    tells: type[exceptions.FreememError] | None = None

    def verdict(self, here: ComputeHost) -> Verdict:
        """Look, whatever is missing.

        :param here: the host
        """
        try:
            return self.look(here)
        except nova_conf.WrongValue as error:
            return checks.failure(f'{error}.')
        except RuntimeError as error:
            return checks.warning(
                f'Not checked: Placement could not be asked: {error}.'
            )
        except exceptions.FreememError as error:
            for one in CHECKS:
                if one.tells is not None and isinstance(error, one.tells):
                    if one is not self:
                        return checks.warning(
                            f'Not checked: see "{one.name}".'
                        )
                    return checks.failure(f'{error}.')
            return checks.warning(f'Not checked: {error}.')


CHECKS = (
    Check('configuration', _configuration, nova_conf.Unreadable),
    Check('options', _options),
    Check('enabled', _enabled),
    Check('plugin', _plugin),
    Check('nova', _nova),
    Check('statistics period', _statistics_period),
    Check('libvirt', _libvirt, base.NoLibvirt),
    Check('trait', _trait),
    Check('destinations', _destinations),
    Check('outstanding memory', _outstanding),
    Check('balloon statistics', _balloon_statistics),
)
