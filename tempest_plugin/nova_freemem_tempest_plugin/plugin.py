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

"""What tempest finds by the entry point ``tempest.test_plugins``."""

from __future__ import annotations

import pathlib

from oslo_config import cfg
from tempest.test_discover import plugins

from nova_freemem_tempest_plugin import config


class FreememTempestPlugin(plugins.TempestPlugin):
    """The tests of this distribution, and their options."""

    def load_tests(self) -> tuple[str, str]:
        """Return the folder of the tests, and that of the distribution."""
        package = pathlib.Path(__file__).parent
        return str(package / 'tests'), str(package.parent)

    def register_opts(self, conf: cfg.ConfigOpts) -> None:
        """Register the options.

        :param conf: tempest's configuration
        """
        conf.register_opt(config.AVAILABLE, group='service_available')
        conf.register_group(config.GROUP)
        conf.register_opts(config.OPTIONS, group=config.GROUP)

    def get_opt_lists(self) -> list[tuple[str, list[cfg.Opt]]]:
        """Return the options, for tempest's sample configuration."""
        return [
            ('service_available', [config.AVAILABLE]),
            (config.GROUP.name, config.OPTIONS),
        ]
