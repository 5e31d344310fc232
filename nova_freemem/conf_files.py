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

"""The files that ``[freemem]`` is in, and which of them do not count."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import glob
import os

from oslo_config import cfg
from oslo_config import iniparser
from oslo_config import types
from oslo_log import log as logging

from nova_freemem import conf as freemem_conf

LOG = logging.getLogger(__name__)

# A sample file with all options of Nova 34, and their help, has 360 kB.
MOST_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Section:
    """``[freemem]`` as it stands in one file.

    :ivar path: the file
    :ivar options: the options that it sets, as they stand there
    :ivar is_read: whether this process has read the file
    """

    path: str
    options: dict[str, str]
    is_read: bool

    @property
    def disables(self) -> bool:
        """Whether it sets ``enabled`` to false."""
        try:
            return types.Boolean()(self.options.get('enabled', '1')) is False
        except ValueError:
            return False


def warn(conf: cfg.ConfigOpts, enabled: bool) -> None:
    """Log what is configured and has no effect.

    :param conf: the service's configuration, with the options registered
    :param enabled: whether releasing is enabled by it
    """
    sections = find(conf)
    unknown = unknown_options(sections)
    if unknown:
        LOG.warning(
            'Unknown options in [freemem] have no effect: %s.',
            '; '.join(unknown),
        )
    if enabled:
        return
    uncounted = why_not_enabled(sections, origin(conf, sections, 'enabled'))
    if uncounted:
        LOG.warning(
            'nova_freemem is not enabled, though [freemem] is in %s.',
            '; '.join(uncounted),
        )


def origin(
    conf: cfg.ConfigOpts, sections: Iterable[Section], name: str
) -> str | None:
    """Return where the value of an option comes from.

    oslo.config names the last file that has the group, whether or not that
    has the option.

    :param conf: the service's configuration, with the options registered
    :param sections: those there are
    :param name: of an option of ``[freemem]``
    :returns: a file, or those of which one counts, or an environment
              variable; None for its default
    """
    location = conf.get_location(name, freemem_conf.GROUP)
    if location is None or not location.location.is_user_controlled:
        return None
    setting = [
        section.path
        for section in sections
        if section.is_read and name in section.options
    ]
    if location.location is not cfg.Locations.user or (
        location.detail in setting
    ):
        return str(location.detail)
    return ' or '.join(setting) or str(location.detail)


def why_not_enabled(
    sections: Sequence[Section], source: str | None
) -> list[str]:
    """Return which files look as if they enabled releasing.

    :param sections: those there are
    :param source: where the value of ``enabled`` that counts comes from, None
                   for its default
    :returns: each file, with why it does not enable it
    """
    read = [section for section in sections if section.is_read]
    disabling = [section.path for section in read if section.disables]
    overriding = ', '.join(disabling) or source or 'another source'
    uncounted = []
    for section in sections:
        if section.disables:
            continue
        if not section.is_read:
            reason = 'which nova-compute does not read'
        elif 'enabled' in section.options:
            reason = f'whose value of enabled is overridden by {overriding}'
        elif source is None:
            reason = 'which does not set enabled'
        else:
            continue  # somebody has set it to false
        uncounted.append(f'{section.path}, {reason}')
    return uncounted


def unknown_options(sections: Iterable[Section]) -> list[str]:
    """Return the options that there are not, in files that are read.

    :param sections: those there are
    :returns: each option, with its file
    """
    known = {
        name
        for option in freemem_conf.OPTIONS
        for name in (
            option.dest,
            option.name,
            *(old.name for old in option.deprecated_opts),
        )
    }
    return [
        f'{name} in {section.path}'
        for section in sections
        if section.is_read
        for name in section.options
        if name not in known
    ]


def find(conf: cfg.ConfigOpts) -> list[Section]:
    """Look for ``[freemem]`` in the files that were read, and near them.

    :param conf: the service's configuration, its files read
    :returns: those that have it
    """
    read = read_files(conf)
    near = _near([*read, *_folders(conf)], conf.project)
    seen = set()
    sections = []
    for path, is_read in (
        *((path, True) for path in read),
        *((path, False) for path in near),
    ):
        real = os.path.realpath(os.path.expanduser(path))
        if real in seen:
            continue
        seen.add(real)
        options = _options(real)
        if options is not None:
            sections.append(Section(path, options, is_read))
    return sections


def read_files(conf: cfg.ConfigOpts) -> list[str]:
    """Return the files that a configuration was read from.

    :param conf: the service's configuration, its files read
    """
    return [*(conf.config_file or []), *_files_in(_folders(conf))]


def _folders(conf: cfg.ConfigOpts) -> list[str]:
    return list(conf.config_dirs or conf.default_config_dirs)


def _near(read: Iterable[str], project: str | None) -> Iterator[str]:
    """Find where an operator may have written what nova-compute reads.

    Beside the files that it reads, in folders beside them, and in the places
    that the manual names.
    """
    program = 'nova-compute'
    yield from cfg.find_config_files(project, program)
    yield from _files_in(cfg.find_config_dirs(project, program))
    for folder in sorted({os.path.dirname(os.path.abspath(p)) for p in read}):
        yield from _files_in([folder, os.path.join(folder, '*.conf.d')])


def _files_in(folders: Iterable[str]) -> Iterator[str]:
    for folder in folders:
        yield from sorted(
            glob.glob(os.path.join(os.path.expanduser(folder), '*.conf'))
        )


def _options(path: str) -> dict[str, str] | None:
    """Return the options of ``[freemem]`` in a file, None without it.

    Whatever else stands beside a configuration file is no concern of ours.
    """
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > MOST_BYTES:
            return None
        cfg.ConfigParser(path, sections).parse()
    except (OSError, ValueError, iniparser.ParseError):
        return None
    found = [
        options
        for name, options in sections.items()
        if name.lower() == freemem_conf.GROUP
    ]
    if not found:
        return None
    return {
        name: values[-1]
        for options in found
        for name, values in options.items()
    }
