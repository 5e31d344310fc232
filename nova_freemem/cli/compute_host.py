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

"""This host and its nova-compute, for commands that need both."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import contextlib
import functools

from oslo_config import cfg

from nova_freemem.cli import base
from nova_freemem.cli import nova_conf
from nova_freemem.cli import placement
from nova_freemem.virt import host as hosts


class ComputeHost:
    """A compute host; each part is looked up when it is asked for."""

    def __init__(
        self, conf_words: Sequence[str] = (), uri: str | None = None
    ) -> None:
        """Initialize it, with nothing looked up.

        :param conf_words: what the command line of nova-compute has of files
                           and folders of configuration
        :param uri: of libvirt, None for the one of nova-compute
        """
        self._conf_words = conf_words
        self._uri = uri

    @functools.cached_property
    def conf(self) -> cfg.ConfigOpts:
        """The configuration of nova-compute.

        :raises Unreadable: it cannot be read
        """
        return nova_conf.read(self._conf_words)

    @functools.cached_property
    def host(self) -> hosts.Host:
        """This host, by the libvirt that nova-compute uses.

        Without a configuration, by the default one.

        :raises NoLibvirt: the connection failed
        """
        return base.connected(self._uri or self._configured_uri())

    @functools.cached_property
    def placement(self) -> placement.Placement:
        """Placement, as nova-compute reaches it.

        :raises Unreadable: the configuration cannot be read
        """
        return placement.Placement(self.conf)

    def _configured_uri(self) -> str:
        configured: str | None = None
        with contextlib.suppress(nova_conf.Unreadable):
            configured = nova_conf.value(
                self.conf, 'connection_uri', 'libvirt'
            )
        return configured or base.DEFAULT_URI


class HostCommand(base.Command):
    """A command about the guests of this host.

    :ivar here: the host
    """

    here: ComputeHost

    @property
    def host(self) -> hosts.Host:
        """This host's libvirt; connects on first use.

        :raises NoLibvirt: the connection failed
        """
        return self.here.host

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--uri',
            help='URI of libvirt (default: [libvirt] connection_uri in the '
            'configuration of nova-compute, or else '
            f'{base.DEFAULT_URI}).',
        )
        parser.set_defaults(nova_conf=[])
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """See :meth:`cliff.command.Command.run`."""
        self.here = ComputeHost(parsed_args.nova_conf, parsed_args.uri)
        return super().run(parsed_args)


class ComputeHostCommand(HostCommand):
    """A command that needs the configuration of nova-compute as well."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """See :meth:`cliff.command.Command.get_parser`."""
        parser = super().get_parser(prog_name)
        nova_conf.add_arguments(parser)
        return parser
