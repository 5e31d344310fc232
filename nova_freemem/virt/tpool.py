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
a C library blocks eventlet's hub, so under eventlet it is done by a native
thread. Those of eventlet's own pool, of which there are twenty, are Nova's:
each live migration keeps one until its transfer ends, and Nova waits without
end where none is left. So each call of the plugin's has a thread of its own,
and no thread of the pool waits for an agent or a QEMU that does not answer.
There are as many as there are calls at the same time: a few for each guest
that is migrated, and one for each worker of the reconciler.

eventlet is never imported here on its own account: it is used only where Nova
has imported it and has patched the standard library with it.
"""

from __future__ import annotations

from collections.abc import Callable
import functools
import importlib
import sys
from typing import Any
from typing import TypeVar

T = TypeVar('T')

# The native threads that are in a call, which need no other for calls of
# their own.
_calling: set[int] = set()


def call(function: Callable[..., T], *args: Any) -> T:
    """Call a blocking function without blocking other green threads.

    :param function: a function that calls into a C library
    :param args: its positional arguments; proxies of libvirt's objects are
                 replaced by what they stand for
    :returns: what the function returns
    :raises: what the function raises
    """
    eventlet = _eventlet()
    if eventlet is None:
        return function(*args)
    args = tuple(_bare(eventlet, arg) for arg in args)
    threading = eventlet.patcher.original('threading')
    if threading.get_ident() in _calling:
        return function(*args)
    return _call_in_thread(eventlet, threading, function, args)


def own(handle: Any) -> Any:
    """Return a proxy of our own in the place of one of Nova's.

    :param handle: a proxy of Nova's, or an object of libvirt's
    :returns: a proxy whose methods are called as :func:`call` does; the
              handle itself where it is no proxy
    """
    eventlet = _eventlet()
    if eventlet is None or not isinstance(handle, eventlet.tpool.Proxy):
        return handle
    return _Proxy(handle._obj, handle._autowrap)


class _Proxy:
    """Has each method of an object called in a native thread.

    What a method returns is a proxy as well if Nova's would be one.
    """

    def __init__(self, target: Any, kinds: tuple[type, ...]) -> None:
        self._target = target
        self._kinds = kinds

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if callable(attribute):
            return functools.partial(self._call, attribute)
        return attribute

    def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        result = call(method, *args)
        if isinstance(result, self._kinds):
            return _Proxy(result, self._kinds)
        return result


def _eventlet() -> Any:
    """Return eventlet where Nova runs on it, otherwise None."""
    eventlet = sys.modules.get('eventlet')
    if eventlet is None or not eventlet.patcher.is_monkey_patched('thread'):
        return None
    importlib.import_module('eventlet.hubs')
    importlib.import_module('eventlet.tpool')
    return eventlet


def _bare(eventlet: Any, argument: Any) -> Any:
    """Return what a proxy stands for.

    eventlet's own waits for its pool, which a native thread cannot.
    """
    if isinstance(argument, _Proxy):
        return argument._target
    if isinstance(argument, eventlet.tpool.Proxy):
        return argument._obj
    return argument


def _call_in_thread(
    eventlet: Any,
    threading: Any,
    function: Callable[..., T],
    args: tuple[Any, ...],
) -> T:
    """Call a function in a native thread of its own.

    A green thread can wait for a file, and for no native thread: the thread
    closes its end of a pipe when it is done. It is a daemon: a call that does
    not return does not keep nova-compute from ending.

    :param eventlet: the package
    :param threading: the module as it was before eventlet patched it
    """
    os = eventlet.patcher.original('os')
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        _calling.add(threading.get_ident())
        try:
            outcome.append((function(*args), None))
        except BaseException as error:
            outcome.append((None, error))
        finally:
            _calling.discard(threading.get_ident())
            os.close(writer)

    reader, writer = os.pipe()
    try:
        thread = threading.Thread(
            target=work, daemon=True, name='freemem-libvirt'
        )
        try:
            thread.start()
        except RuntimeError:  # nova-compute is out of threads
            os.close(writer)
            result: T = eventlet.tpool.execute(function, *args)
            return result
        eventlet.hubs.trampoline(reader, read=True)
    finally:
        os.close(reader)
    result, error = outcome[0]
    if error is not None:
        raise error
    return result
