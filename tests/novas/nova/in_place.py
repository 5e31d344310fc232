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

"""Our driver in the place of Nova's, for tests that Nova wrote for its own."""

import inspect
import sys
import threading
import types
from typing import Any
from unittest import mock

from nova import objects
from nova.virt import libvirt as virt_libvirt
from nova.virt.libvirt import driver as libvirt_driver
from oslo_config import cfg

from nova_freemem import conf as freemem_conf
from nova_freemem import driver as freemem_driver
from nova_freemem import loader
from nova_freemem.migrate import engine as engines

STOCK = libvirt_driver.LibvirtDriver
OURS = freemem_driver.FreememLibvirtDriver


class LibvirtDriver(OURS):
    """Our driver, enabled, built and called as Nova's tests do it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Before Nova 33 its constructor looks its own class up by name.
        with mock.patch.object(libvirt_driver, 'LibvirtDriver', STOCK):
            super().__init__(*args, engine=_engine(), **kwargs)

    def live_migration(
        self, context: Any, instance: Any, *args: Any, **kwargs: Any
    ) -> None:
        """See :meth:`nova.virt.driver.ComputeDriver.live_migration`."""
        super().live_migration(context, _instance(instance), *args, **kwargs)

    def live_migration_abort(self, instance: Any) -> None:
        """See :meth:`nova.virt.driver.ComputeDriver.live_migration_abort`."""
        super().live_migration_abort(_instance(instance))


class _Event(threading.Event):
    """One whose ``wait`` is its own."""

    wait = threading.Event.wait


class _Thread(threading.Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._started = _Event()


def _keep_events_apart() -> None:
    """Give our modules events that Nova's tests do not touch.

    Up to Nova 32 some of these have ``threading.Event.wait`` return once, for
    the one event that its own driver waits for, and fail after that.
    """
    ours = types.ModuleType('threading')
    vars(ours).update(vars(threading), Event=_Event, Thread=_Thread)
    for name, module in list(sys.modules.items()):
        if name.startswith('nova_freemem.') and hasattr(module, 'threading'):
            module.threading = ours  # type: ignore[attr-defined]


def put() -> None:
    """Have Nova and its tests find our driver, wherever they look.

    Ours takes more parameters than Nova's, for those of a later Nova. That
    it takes Nova's is checked as in nova-compute; then it shows Nova's.
    """
    loader.check_nova(OURS)
    _keep_events_apart()
    for name, method in inspect.getmembers(LibvirtDriver, inspect.isfunction):
        if name in vars(OURS) and not name.startswith('_'):
            stock = inspect.signature(getattr(STOCK, name))
            method.__signature__ = stock  # type: ignore[attr-defined]
    # Fixtures take a static method for one only in the class that has it.
    for name, member in vars(STOCK).items():
        if isinstance(member, staticmethod):
            setattr(LibvirtDriver, name, member)
    for module in (libvirt_driver, virt_libvirt):
        module.LibvirtDriver = LibvirtDriver


def _instance(instance: Any) -> Any:
    """Nova hands its driver objects; a few of its tests hand a dict."""
    return (
        objects.Instance(**instance)
        if isinstance(instance, dict)
        else instance
    )


def _engine() -> engines.Engine:
    conf = cfg.ConfigOpts()
    freemem_conf.register_opts(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override('enabled', True, group=freemem_conf.GROUP)
    # The path is known: nothing is asked of this machine's interfaces.
    conf.set_override(
        'migration_bandwidth_mbps', 1000, group=freemem_conf.GROUP
    )
    return engines.Engine.from_conf(conf, '192.0.2.1')
