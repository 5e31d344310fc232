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

"""The entry point that nova.conf names: a notification driver.

Nova offers no hook around a live migration, and takes its compute driver
from its own package alone. What it does load for anybody is notification
drivers, and it builds those before it loads the compute driver. So this one
notifies nobody: once built, it sees to it that nova-compute gets a subclass
of Nova's libvirt driver. Other services never load a compute driver, and
nothing happens in them.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from oslo_config import cfg
from oslo_log import log as logging
from oslo_messaging.notify import notifier

LOG = logging.getLogger(__name__)


class FreememNotifyDriver(notifier.Driver):
    """Hooks Nova's loading of its compute driver; notifies nobody."""

    def __init__(
        self, conf: cfg.ConfigOpts, topics: list[str], transport: Any
    ) -> None:
        """Initialize the driver, and hook Nova.

        Nova builds one for each notification format; the second finds
        everything in place.
        See :class:`oslo_messaging.notify.notifier.Driver`.
        """
        super().__init__(conf, topics, transport)
        hook(conf)

    def notify(self, ctxt: Any, msg: Any, priority: str, retry: int) -> None:
        """Do nothing: the operator's other drivers notify."""


def hook(conf: cfg.ConfigOpts) -> None:
    """Have Nova load our compute driver, where that is wanted.

    Logging is not set up yet when this runs: errors are reported later, when
    the compute driver is loaded.

    :param conf: the service's configuration
    """
    try:
        from nova.virt import driver
    except ImportError:
        return
    stock = driver.load_compute_driver
    if hasattr(stock, '_freemem_stock'):
        return

    @functools.wraps(stock)
    def load_compute_driver(
        virtapi: Any, compute_driver: str | None = None
    ) -> Any:
        return _load(conf, stock, virtapi, compute_driver)

    load_compute_driver._freemem_stock = stock  # type: ignore[attr-defined]
    driver.load_compute_driver = load_compute_driver


def _load(
    conf: cfg.ConfigOpts, stock: Any, virtapi: Any, compute_driver: str | None
) -> Any:
    try:
        from nova_freemem import loader

        in_place = loader.prepare(conf, compute_driver)
    except Exception as error:
        LOG.error(
            "nova_freemem is off: %s. Nova's own libvirt driver is used: live "
            'migrations transfer all memory of their guests, and outstanding '
            'memory of guests on this host is not restored. Correct this and '
            'restart nova-compute; "nova-freemem check" shows more, and '
            '"nova-freemem restore --all" restores what is outstanding.',
            error,
        )
        return _without_trait(stock(virtapi, compute_driver))
    with in_place:
        return stock(virtapi, compute_driver)


def _without_trait(compute_driver: Any) -> Any:
    with contextlib.suppress(Exception):  # the plugin itself may be broken
        from nova_freemem import trait

        trait.withdraw(compute_driver)
    return compute_driver
