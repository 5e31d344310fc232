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

"""The options of the tests."""

from __future__ import annotations

from oslo_config import cfg

AVAILABLE = cfg.BoolOpt(
    'nova_freemem',
    default=False,
    help='Whether nova-compute has loaded nova-freemem, enabled, on every '
    'host that the tests migrate to or from.',
)

GROUP = cfg.OptGroup(name='nova_freemem', title='nova-freemem')

OPTIONS = [
    cfg.StrOpt(
        'guest_access',
        default='ssh',
        choices=[
            ('ssh', 'By SSH, as [validation] says.'),
            ('agent', 'By the guest agent: libvirt_uris has to be set.'),
        ],
        help='How the tests run commands in guests.',
    ),
    cfg.StrOpt(
        'guest_disk_folder',
        default='.',
        help='A folder on the disk of a guest that the tests may write to, '
        'to fill its page cache.',
    ),
    cfg.StrOpt(
        'guest_memory_folder',
        default='/dev/shm',
        help='A folder in the memory of a guest (tmpfs) that the tests may '
        'write to, to have pages that a migration sends again and again.',
    ),
    cfg.IntOpt(
        'guest_memory_mib',
        default=1024,
        min=512,
        help='Memory of the guests that have something to release, in MiB.',
    ),
    cfg.IntOpt(
        'page_cache_mib',
        default=512,
        min=128,
        help='Page cache that a guest has before its migration, in MiB. The '
        'tests expect that some of it is released: what it saves has to be '
        'worth it on the migration network.',
    ),
    cfg.IntOpt(
        'written_mib',
        default=256,
        min=32,
        help='Memory of a guest whose migration is not to end by itself that '
        'it uses for that, in MiB. It writes to half of it again and again: '
        'more than the migration network carries in 0.05 s, for which Nova '
        'would pause it at first.',
    ),
    cfg.StrOpt(
        'image_without_agent',
        help='Image of a guest whose domain has no channel for a guest '
        'agent. Without it, the tests that need such a guest are skipped.',
    ),
    cfg.DictOpt(
        'libvirt_uris',
        default={},
        help='For each nova-compute, by its host in Nova, the URI of its '
        'libvirt, for the program virsh. Without them, the tests do not look '
        'at domains.',
    ),
    cfg.StrOpt(
        'restart_command',
        help='Command that restarts nova-compute on a host and returns when '
        'it is up. "{host}" stands for the host in Nova. Without it, the '
        'tests that restart nova-compute are skipped.',
    ),
]
