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

"""The request that log lines show."""

from __future__ import annotations

from collections.abc import Callable
import functools
from typing import ParamSpec
from typing import TypeVar

from oslo_context import context as oslo_context

P = ParamSpec('P')
T = TypeVar('T')


def kept(function: Callable[P, T]) -> Callable[P, T]:
    """Have log lines of a function show the request of the thread this is in.

    :param function: what another thread is to call
    :returns: the function; as it is where there is no request
    """
    request = oslo_context.get_current()
    if request is None:
        return function

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        request.update_store()
        return function(*args, **kwargs)

    return run
