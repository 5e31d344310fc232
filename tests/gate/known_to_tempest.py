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

"""Find options of a ``tempest.conf`` that tempest does not know.

Run by the Python of the environment that has tempest and our plugin.
"""

from __future__ import annotations

import configparser
import sys

from oslo_config import cfg
from tempest import config


def main(file: str) -> None:
    """Print them, each with its section.

    :param file: the file
    """
    config.CONF.set_config_path(file)
    # Whatever is read has all options registered.
    config.CONF.compute  # noqa: B018
    # [DEFAULT] is a section like the others to oslo.config.
    written = configparser.ConfigParser(
        interpolation=None, default_section='none'
    )
    written.read(file)
    for section in written.sections():
        options = cfg.CONF if section == 'DEFAULT' else cfg.CONF[section]
        for option in written[section]:
            try:
                getattr(options, option)
            except cfg.NoSuchOptError:
                print(section, option)


if __name__ == '__main__':
    main(*sys.argv[1:])
