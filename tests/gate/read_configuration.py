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

"""What a service of Nova reads when it is started with a command line.

Run as a process of its own: oslo.config takes the name of the program, which
decides about the folders that are read, from its first argument.
"""

from __future__ import annotations

import json
import sys

from oslo_config import cfg
from oslo_messaging import opts

from nova_freemem import conf as freemem


def read(command_line: list[str]) -> dict[str, object]:
    """Read the configuration as :func:`nova.config.parse_args` does.

    :param command_line: the program and its arguments
    :returns: the drivers of notifications, and the options of ``[freemem]``
    """
    sys.argv = command_line
    conf = cfg.ConfigOpts()
    for group, options in opts.list_opts():
        conf.register_opts(options, group=group)
    freemem.register_opts(conf)
    conf(command_line[1:], project='nova')
    return {
        'drivers': conf.oslo_messaging_notifications.driver,
        'freemem': dict(conf.freemem),
    }


if __name__ == '__main__':
    print(json.dumps(read(sys.argv[1:])))
