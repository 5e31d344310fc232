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

"""Validators for ``freemem`` namespaced extra specs, loaded by nova-api.

nova-api validates the extra specs of a flavor with what it finds in
``nova.api.extra_spec_validators``, for microversion 2.86 and later. This
module imports what Nova's own validators import, and nothing else: no error in
the rest of the plugin can reach nova-api. So the bounds stand here once more;
a test compares them with the options.
"""

from __future__ import annotations

from nova.api.validation.extra_specs import base

EXTRA_SPEC_VALIDATORS = [
    base.ExtraSpecValidator(
        name='freemem:enabled',
        description=(
            'Whether memory is released in live migrations of the guest. '
            '``false`` turns it off for the guest; ``true`` changes nothing '
            'where ``[freemem] enabled`` of a host is false.'
        ),
        value={
            'type': bool,
            'description': 'Whether memory is released.',
        },
    ),
    base.ExtraSpecValidator(
        name='freemem:dry_run',
        description=(
            'Whether nothing is released from the guest, and what would have '
            'been is logged. ``false`` changes nothing where ``[freemem] '
            'dry_run`` of a host is true.'
        ),
        value={
            'type': bool,
            'description': 'Whether nothing is released, and all is logged.',
        },
    ),
    base.ExtraSpecValidator(
        name='freemem:mode',
        description=(
            'When memory of the guest is released, relative to the transfer, '
            'instead of ``[freemem] mode`` of the host.'
        ),
        value={
            'type': str,
            'description': 'When memory is released.',
            'enum': ['auto', 'before', 'during'],
        },
    ),
    base.ExtraSpecValidator(
        name='freemem:reclaim',
        description=(
            'Which memory of the guest is released, instead of ``[freemem] '
            'reclaim`` of the host.'
        ),
        value={
            'type': str,
            'description': 'Which memory is released.',
            'enum': ['free', 'cold', 'available'],
        },
    ),
    base.ExtraSpecValidator(
        name='freemem:headroom_percent',
        description=(
            'Memory that the guest keeps available in a release, in percent '
            'of its memory, instead of ``[freemem] headroom_percent`` of the '
            'host.'
        ),
        value={
            'type': int,
            'description': 'A share of the memory, in percent.',
            'min': 1,
            'max': 90,
        },
    ),
    base.ExtraSpecValidator(
        name='freemem:headroom_min_mib',
        description=(
            'Memory that the guest keeps available in a release at least, in '
            'MiB, instead of ``[freemem] headroom_min_mib`` of the host.'
        ),
        value={
            'type': int,
            'description': 'An amount of memory, in MiB.',
            'min': 32,
            'max': 1024 * 1024,
        },
    ),
    base.ExtraSpecValidator(
        name='freemem:deadline_seconds',
        description=(
            'Longest time that a release from the guest may delay its '
            'transfer, in seconds. ``[freemem] deadline_seconds`` of the host '
            'counts where that is shorter.'
        ),
        value={
            'type': int,
            'description': 'A time, in seconds.',
            'min': 2,
            'max': 3600,
        },
    ),
]


def register() -> list[base.ExtraSpecValidator]:
    """Return the validators, as Nova's own modules do."""
    return EXTRA_SPEC_VALIDATORS
