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

"""Putting our driver where Nova looks for its own."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import functools
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging

from nova_freemem import conf as freemem_conf
from nova_freemem import exceptions
from nova_freemem import policy
from nova_freemem.migrate import engine as engines

LOG = logging.getLogger(__name__)

STOCK_DRIVER = 'libvirt.LibvirtDriver'


def prepare(
    conf: cfg.ConfigOpts, compute_driver: str | None
) -> contextlib.AbstractContextManager[None]:
    """Prepare everything for Nova to load its compute driver.

    :param conf: the service's configuration
    :param compute_driver: the driver asked for, None for the configured one
    :returns: a context in which Nova finds our driver in the place of its
              own, or its own where the plugin is not enabled
    :raises FreememError: the plugin is enabled and cannot work
    """
    apart = freemem_conf.read_apart(conf)
    if not policy.is_enabled(apart):
        LOG.info(
            'nova_freemem is installed but not enabled ([freemem] '
            "enabled is false): Nova's own libvirt driver is used."
        )
        return contextlib.nullcontext()
    name = compute_driver or conf.compute_driver
    if name != STOCK_DRIVER:
        raise exceptions.ConfigInvalid(
            option='enabled',
            problem=f'it works with compute_driver = '
            f'{STOCK_DRIVER}, not with {name}',
        )
    engine = engines.Engine.from_conf(
        apart, conf.libvirt.live_migration_inbound_addr or conf.my_ip
    )
    # Here, not on entering the context: an error of ours is still told apart
    # from one of Nova's.
    from nova_freemem import driver

    freemem_conf.register_opts(conf)
    return _in_place(
        functools.partial(driver.FreememLibvirtDriver, engine=engine)
    )


@contextlib.contextmanager
def _in_place(ours: Callable[..., Any]) -> Iterator[None]:
    from nova.virt import libvirt

    stock = libvirt.LibvirtDriver
    libvirt.LibvirtDriver = ours
    try:
        yield
    finally:
        libvirt.LibvirtDriver = stock
