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

"""What the tests have in common."""

from __future__ import annotations

import io
import logging
import os
import pathlib
from typing import Any
from unittest import mock

import fixtures
import hypothesis
from oslo_config import cfg
from oslo_log import formatters
from oslo_log import log
from oslotest import base

from nova_freemem import conf as freemem_conf

# No example takes long, but a busy machine may; and nothing is remembered
# from one run to the next, nor written into the tree. Where CI is set, the
# same tree is tried with the same examples: whoever changes it searches.
hypothesis.settings.register_profile(
    'nova_freemem',
    deadline=None,
    database=None,
    derandomize='CI' in os.environ,
    max_examples=100,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile('nova_freemem')


class NovaLog(fixtures.Fixture):
    """The plugin's log as a service of OpenStack writes it."""

    def _setUp(self) -> None:
        conf = cfg.ConfigOpts()
        log.register_options(conf)
        conf([], default_config_files=[], default_config_dirs=[])
        self._written = io.StringIO()
        handler = logging.StreamHandler(self._written)
        handler.setFormatter(formatters.ContextFormatter(config=conf))
        logger = logging.getLogger('nova_freemem')
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        self.addCleanup(logger.removeHandler, handler)

    def lines(self, text: str) -> list[str]:
        """:returns: the lines that a text stands in."""
        return [
            line
            for line in self._written.getvalue().splitlines()
            if text in line
        ]


class TestCase(base.BaseTestCase):
    """A test with its log at hand."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.useFixture(
            fixtures.FakeLogger(format='%(levelname)s %(message)s')
        )

    def log_lines(self, level: str) -> list[str]:
        """:returns: the log lines of one level."""
        return [
            line
            for line in self.log.output.splitlines()
            if line.startswith(f'{level} ')
        ]

    def patch_autospec(
        self, target: Any, name: str, **kwargs: Any
    ) -> mock.Mock:
        """:returns: the autospecced stand-in, until the test ends."""
        patcher = mock.patch.object(target, name, autospec=True, **kwargs)
        self.addCleanup(patcher.stop)
        return patcher.start()


class ConfTestCase(TestCase):
    """A test with an operator's file."""

    def conf(
        self, text: str, compute_driver: str = 'libvirt.LibvirtDriver'
    ) -> cfg.ConfigOpts:
        """:returns: what a service makes of a file."""
        path = pathlib.Path(
            self.useFixture(fixtures.TempDir()).path, 'nova.conf'
        )
        path.write_text(text)
        conf = cfg.ConfigOpts()
        conf.register_opt(cfg.StrOpt('compute_driver', default=compute_driver))
        conf.register_opt(cfg.StrOpt('my_ip', default='192.0.2.1'))
        conf.register_opts(
            [
                cfg.StrOpt('live_migration_inbound_addr'),
                cfg.IntOpt('live_migration_bandwidth', default=0),
                cfg.IntOpt('live_migration_parallel_connections', default=1),
                cfg.BoolOpt('live_migration_permit_post_copy', default=False),
            ],
            group='libvirt',
        )
        conf([], default_config_files=[str(path)], default_config_dirs=[])
        return conf

    def registered(self, text: str) -> cfg.ConfigOpts:
        """:returns: the same, with the plugin's options."""
        conf = self.conf(text)
        freemem_conf.register_opts(conf)
        return conf
