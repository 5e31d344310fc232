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

"""The one module that knows whether Nova runs on eventlet or on threads.

Nova 31 to 33 run nova-compute on eventlet, 34 on native threads. A call into
a C library blocks eventlet's hub, so under eventlet it goes through
eventlet's pool of native threads. eventlet is never imported here on its own
account: it is used only where Nova has imported it and has patched the
standard library with it.
"""

from __future__ import annotations

from collections.abc import Callable
import sys
from typing import Any
from typing import TypeVar

T = TypeVar('T')


def call(function: Callable[..., T], *args: Any) -> T:
    """Call a blocking function without blocking other green threads.

    :param function: a function that calls into a C library
    :param args: its positional arguments
    :returns: what the function returns
    :raises: what the function raises
    """
    eventlet = sys.modules.get('eventlet')
    if eventlet is None or not eventlet.patcher.is_monkey_patched('thread'):
        return function(*args)
    from eventlet import tpool

    result: T = tpool.execute(function, *args)
    return result
