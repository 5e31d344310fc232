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

"""What our tests of tempest read in a ``tempest.conf``."""

from __future__ import annotations

import json
import pathlib
import sys

from oslo_config import cfg

TOP = pathlib.Path(__file__).parents[2]


def read(file: str) -> dict[str, object]:
    """Read a file as tempest does, with the options of our plugin.

    :param file: the file
    :returns: their values
    """
    sys.path.append(str(TOP / 'tempest_plugin'))
    from nova_freemem_tempest_plugin import config

    conf = cfg.ConfigOpts()
    conf.register_opt(config.AVAILABLE, group='service_available')
    conf.register_opts(config.OPTIONS, group=config.GROUP)
    conf([], project='tempest', default_config_files=[file])
    return {
        'available': conf.service_available.nova_freemem,
        **conf.nova_freemem,
    }


if __name__ == '__main__':
    print(json.dumps(read(*sys.argv[1:])))
