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

"""Serve a WSGI application: python -m tests.lab.services.wsgi MODULE ...

Keystone, placement, glance, neutron and Nova give their APIs as modules that
hold an ``application``, for whichever WSGI server one likes. The module is
imported first: Nova refuses to start where something has imported eventlet
before it.
"""

import importlib
import sys


def main() -> None:
    """Import an application and serve it: MODULE ADDRESS PORT."""
    module, address, port = sys.argv[1:]
    # The services parse sys.argv when they are imported.
    del sys.argv[1:]
    application = importlib.import_module(module).application

    from sqlalchemy import orm
    import waitress

    # Neutron 29 without service plugins leaves this to the first query,
    # which then fails with a half-configured mapper.
    orm.configure_mappers()
    waitress.serve(
        application, host=address, port=int(port), threads=8, ident=None
    )


if __name__ == '__main__':
    main()
