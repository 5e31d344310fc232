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

"""A folder of configuration, and what a service makes of it."""

import copy
import pathlib
from typing import Any

import fixtures
from oslo_config import cfg
from oslo_log import log

from nova_freemem import conf as freemem_conf

#: A group with the same options, registered as Nova registers its own.
NOVAS = 'novas'


class EtcNova(fixtures.Fixture):
    """A folder in the place of ``/etc/nova``."""

    def _setUp(self) -> None:
        self.path = pathlib.Path(self.useFixture(fixtures.TempDir()).path)
        self.useFixture(
            fixtures.MonkeyPatch(
                f'{cfg.__name__}._get_config_dirs',
                lambda project=None: [str(self.path)],
            )
        )

    def write(self, name: str, text: str) -> str:
        """:returns: the path of a file that has been written."""
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    def start(self, *argv: str, **kwargs: Any) -> cfg.ConfigOpts:
        """Read the configuration as nova.config.parse_args does.

        :param argv: the command line, ``{etc}`` standing for the folder
        :returns: Nova's, with the plugin's options
        """
        conf = cfg.ConfigOpts()
        log.register_options(conf)
        conf.register_opts(copy.deepcopy(freemem_conf.OPTIONS), group=NOVAS)
        conf(
            [word.format(etc=self.path) for word in argv],
            project='nova',
            prog='nova-compute',
            version='34.0.0',
            **kwargs,
        )
        freemem_conf.register_opts(conf)
        return conf
