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

from nova_freemem import conf as freemem_conf
from nova_freemem import contract
from nova_freemem import exceptions
from nova_freemem.migrate import engine as engines


def prepare(
    conf: cfg.ConfigOpts, compute_driver: str | None
) -> contextlib.AbstractContextManager[None]:
    """Prepare everything for Nova to load its compute driver.

    :param conf: the service's configuration
    :param compute_driver: the driver asked for, None for the configured one
    :returns: a context in which Nova finds our driver in the place of its
              own
    :raises FreememError: an option is wrong, or the plugin cannot work with
                          this Nova
    """
    freemem_conf.register_opts(conf)
    name = compute_driver or conf.compute_driver
    if name != contract.STOCK_DRIVER:
        raise exceptions.NovaDiffers(
            differences=f'compute_driver is {name}, not '
            f'{contract.STOCK_DRIVER}'
        )
    engine = engines.Engine.from_conf(
        conf,
        conf.libvirt.live_migration_inbound_addr or conf.my_ip,
        conf.libvirt.live_migration_bandwidth,
        # Nova has it from 33 on.
        getattr(conf.libvirt, 'live_migration_parallel_connections', 1),
        conf.libvirt.live_migration_permit_post_copy,
    )
    # Here, not on entering the context: an error of ours is still told apart
    # from one of Nova's.
    from nova_freemem import driver

    check_nova(driver.FreememLibvirtDriver)
    return _in_place(
        functools.partial(driver.FreememLibvirtDriver, engine=engine)
    )


def check_nova(ours: type) -> None:
    """Compare the Nova there is with what the plugin relies on.

    Nova does not guarantee that its driver stays as it is. What has changed is
    found here, before a guest is touched.

    :param ours: our driver
    :raises NovaDiffers: it has changed
    """
    # Nova is imported here alone, by nova-compute itself, and not where only
    # the options are looked at.
    from nova import exception
    from nova import objects
    from nova import rpc
    from nova.compute import manager
    from nova.compute import provider_tree
    from nova.objects import migrate_data
    from nova.scheduler.client import report
    from nova.virt import event
    from nova.virt.libvirt import driver
    from nova.virt.libvirt import guest
    from nova.virt.libvirt import host

    objects.register_all()
    differences = [
        *contract.overrides(ours, driver.LibvirtDriver),
        *contract.attribute(driver.LibvirtDriver, '_host'),
        *contract.call(host.Host, '_connect', 'self', 'uri', 'read_only'),
        *contract.attribute(host.Host, '_uri'),
        *contract.call(
            driver.LibvirtDriver,
            '_get_migration_flags',
            'self',
            'is_block_migration',
        ),
        *contract.call(
            driver.LibvirtDriver,
            '_is_post_copy_enabled',
            'self',
            'migration_flags',
        ),
        *contract.call(host.Host, 'get_guest', 'self', 'instance'),
        *contract.attribute(guest.Guest, '_domain'),
        *contract.members(
            migrate_data.LibvirtLiveMigrateData,
            migrate_data.LibvirtLiveMigrateData.fields,
            'migration',
        ),
        *contract.members(
            objects.Migration, objects.Migration.fields, 'uuid', 'dest_node'
        ),
        *contract.attribute(driver.LibvirtDriver, 'virtapi'),
        *contract.attribute(manager.ComputeVirtAPI, 'reportclient'),
        *contract.call(
            report.SchedulerReportClient,
            'get',
            'self',
            'url',
            version='version',
        ),
        *contract.call(
            provider_tree.ProviderTree, 'add_traits', 'self', 'node', 'trait'
        ),
        *contract.call(
            manager.ComputeManager,
            '_rollback_live_migration',
            'self',
            'context',
            'instance',
            'dest',
            'migrate_data',
            migration_status='cancelled',
        ),
        *contract.members(event, vars(event), 'EVENT_LIFECYCLE_RESUMED'),
        *contract.call(event.LifecycleEvent, 'get_transition', 'self'),
        *contract.call(event.LifecycleEvent, 'get_instance_uuid', 'self'),
        *contract.call(
            objects.InstanceActionEvent,
            'create',
            'self',
            'uuid',
            'request_id',
        ),
        *contract.members(
            objects.InstanceActionEvent,
            objects.InstanceActionEvent.fields,
            'event',
            'host',
            'start_time',
            'finish_time',
            'result',
        ),
        *contract.call(
            objects.InstanceActionEvent,
            'event_finish',
            'context',
            'uuid',
            'name',
            want_result='False',
        ),
        *contract.call(
            objects.InstanceActionList,
            'get_by_instance_uuid',
            'context',
            'uuid',
            limit='100',
        ),
        *contract.members(
            objects.InstanceAction,
            objects.InstanceAction.fields,
            'action',
            'request_id',
        ),
        *contract.members(
            exception, vars(exception), 'InstanceActionEventNotFound'
        ),
        *contract.members(rpc, vars(rpc), 'NOTIFIER', 'LEGACY_NOTIFIER'),
        *contract.call(rpc, 'get_versioned_notifier', 'publisher_id'),
    ]
    if differences:
        raise exceptions.NovaDiffers(differences='; '.join(differences))


@contextlib.contextmanager
def _in_place(ours: Callable[..., Any]) -> Iterator[None]:
    from nova.virt import libvirt

    stock = libvirt.LibvirtDriver
    libvirt.LibvirtDriver = ours
    try:
        yield
    finally:
        libvirt.LibvirtDriver = stock
