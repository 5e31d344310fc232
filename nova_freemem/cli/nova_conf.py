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

"""The configuration of nova-compute, as a command on its host reads it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from oslo_config import cfg

from nova_freemem import conf as freemem_conf
from nova_freemem import conf_files
from nova_freemem.cli import base

# nova-compute reads the files of these two, and those in their folders.
PROJECT = 'nova'
PROGRAM = 'nova-compute'

# Of Nova's options those that a command needs, as Nova has them: Nova itself
# takes seconds to be imported, and may be another than the plugin knows.
_OPTIONS: list[tuple[str | None, list[cfg.Opt]]] = [
    (
        None,
        [
            cfg.StrOpt('compute_driver'),
            cfg.StrOpt('my_ip'),
            cfg.StrOpt('state_path'),
        ],
    ),
    (
        'libvirt',
        [
            cfg.StrOpt('virt_type', default='kvm'),
            cfg.StrOpt('connection_uri', default=''),
            cfg.IntOpt('mem_stats_period_seconds', default=10),
            cfg.StrOpt('live_migration_inbound_addr'),
            cfg.IntOpt('live_migration_bandwidth', default=0),
            cfg.IntOpt('live_migration_parallel_connections', default=1),
            cfg.BoolOpt('live_migration_permit_post_copy', default=False),
        ],
    ),
    (
        'oslo_messaging_notifications',
        [cfg.MultiStrOpt('driver', default=[])],
    ),
]


class Unreadable(base.Refused):
    """The configuration of nova-compute cannot be read."""

    message = (
        'the configuration of nova-compute cannot be read: {problem}. Run '
        'this as a user that may, and specify --config-file and --config-dir '
        'if nova-compute is started with them'
    )


class WrongValue(base.Refused):
    """An option of Nova's has a value that is not valid."""

    message = (
        '[{group}] {option} has a value that is not valid, with which Nova '
        'does not start: correct it'
    )


class _Word(argparse.Action):
    """Keeps an argument with its name: their order says which file wins."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        words = [*namespace.nova_conf, f'{option_string}={values}']
        namespace.nova_conf = words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments by which nova-compute is told its files.

    :param parser: its namespace has them, in order, as ``nova_conf``
    """
    parser.set_defaults(nova_conf=[])
    for name, metavar, what in (
        ('--config-file', 'PATH', 'a file'),
        ('--config-dir', 'DIR', 'a folder of files'),
    ):
        parser.add_argument(
            name,
            action=_Word,
            dest='nova_conf',
            metavar=metavar,
            help=f'Configuration of nova-compute, {what}. Repeat what '
            'nova-compute is started with (default: what it reads without).',
        )


def read(words: Sequence[str] = ()) -> cfg.ConfigOpts:
    """Read the configuration as nova-compute does.

    :param words: what its command line has of files and folders
    :returns: with the plugin's options, and those of Nova that are needed
    :raises Unreadable: there is none, or it cannot be read
    """
    conf = cfg.ConfigOpts()
    for group, options in _OPTIONS:
        conf.register_opts(options, group=group)
    try:
        conf(list(words), project=PROJECT, prog=PROGRAM)
    except (cfg.Error, OSError, ValueError) as error:
        raise Unreadable(problem=_one_line(error)) from None
    freemem_conf.register_opts(conf)
    if not conf_files.read_files(conf):
        raise Unreadable(
            problem='no file of it is found, there is no nova.conf where '
            'nova-compute looks for it'
        )
    return conf


def value(conf: cfg.ConfigOpts, name: str, group: str | None = None) -> Any:
    """Return the value of one of Nova's options.

    :param conf: what :func:`read` returned
    :param name: of the option
    :param group: its group
    :raises WrongValue: it has none that is valid
    """
    try:
        return conf[name] if group is None else conf[group][name]
    except (cfg.Error, ValueError):
        raise WrongValue(group=group or 'DEFAULT', option=name) from None


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.')
