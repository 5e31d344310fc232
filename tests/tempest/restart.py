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

"""Restart nova-compute on a host: python -m tests.tempest.restart HOST.

HOST is its name in Nova. For the option ``restart_command`` of our tempest
plugin; it returns when nova-compute is up.
"""

import sys

from tests.lab import cloud as lab_cloud


def main(hostname: str) -> None:
    """Restart it.

    :param hostname: its host.
    """
    cloud = lab_cloud.Cloud()
    (compute,) = (
        one for one in cloud.computes if one.host.layout.hostname == hostname
    )
    compute.stop()
    compute.start(cloud.api)


if __name__ == '__main__':
    main(*sys.argv[1:])
