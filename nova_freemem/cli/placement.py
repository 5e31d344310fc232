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

"""Placement, as nova-compute of this host reaches it."""

from __future__ import annotations

import functools
from typing import Any

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as keystone_exceptions
from keystoneauth1 import loading
from oslo_config import cfg

from nova_freemem import exceptions

_GROUP = 'placement'

# An operator waits for an answer; Nova sets no limit.
_TIMEOUT_SECONDS = 10


class Unreachable(exceptions.FreememError):
    """Placement does not answer, or says no."""

    message = (
        'Placement cannot be reached with the group [placement] of the '
        'configuration of nova-compute: {problem}'
    )


class Placement:
    """Reads from Placement with the rights of nova-compute."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Initialize it, with nothing asked.

        :param conf: with the group ``[placement]``
        """
        self._conf = conf

    def get(self, url: str, version: str) -> Any:
        """Read as Nova's own client does.

        :param url: path and query
        :param version: the microversion
        :returns: the response, whatever its status
        :raises Unreachable: there is none
        """
        try:
            return self._adapter.get(
                url,
                headers={'OpenStack-API-Version': f'placement {version}'},
                raise_exc=False,
            )
        # A plugin of keystoneauth can raise anything; the configuration
        # names it.
        except (
            keystone_exceptions.ClientException,
            cfg.Error,
            ValueError,
            OSError,
        ) as error:
            problem = ' '.join(str(error).split()) or type(error).__name__
            raise Unreachable(problem=problem) from None

    @functools.cached_property
    def _adapter(self) -> adapter.Adapter:
        conf = self._conf
        loading.register_auth_conf_options(conf, _GROUP)
        loading.register_session_conf_options(conf, _GROUP)
        loading.register_adapter_conf_options(conf, _GROUP)
        conf.set_default('service_type', 'placement', _GROUP)
        conf.set_default('valid_interfaces', ['internal', 'public'], _GROUP)
        conf.set_default('timeout', _TIMEOUT_SECONDS, _GROUP)
        session = loading.load_session_from_conf_options(
            conf,
            _GROUP,
            auth=loading.load_auth_from_conf_options(conf, _GROUP),
        )
        return loading.load_adapter_from_conf_options(
            conf, _GROUP, session=session
        )
