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

"""The lab's long-running processes are started, found again, and ended."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import subprocess

import psutil

from tests.lab import layout
from tests.lab import steps

_BOOT_ID = pathlib.Path('/proc/sys/kernel/random/boot_id')
_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)

# What this process has started, to be reaped when it has ended: otherwise it
# stays as a zombie.
_CHILDREN: list[subprocess.Popen[bytes]] = []


def find(is_wanted: Callable[[int], bool]) -> list[psutil.Process]:
    """Find living processes.

    :param is_wanted: tells by the pid; it may raise OSError for one that has
        ended meanwhile.
    """
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            if is_wanted(pid):
                process = psutil.Process(pid)
                if process.status() not in _ENDED:
                    found.append(process)
    return found


def boot_id() -> str:
    """Return what tells this boot of the machine from any other."""
    return _BOOT_ID.read_text().strip()


def _session(session: int) -> list[psutil.Process]:
    return find(lambda pid: os.getsid(pid) == session)


def _identity(pid: int) -> str | None:
    """Tell a process from any other, past and future.

    :returns: its start, in seconds since the boot, which no change of the
        clock moves, and the boot; None where no such process lives.
    """
    try:
        process = psutil.Process(pid)
        if process.status() in _ENDED:
            return None
        seconds = process.create_time() - psutil.boot_time()
    except psutil.NoSuchProcess:
        return None
    return f'{seconds:.2f} {boot_id()}'


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A process of the lab, in a session of its own.

    Its pid file holds the pid, the time of its start and the boot it belongs
    to, which tell it from a later process with the same pid.

    :param name: names its pid file, and its log in messages.
    :param argv: the command. It must stay in the foreground.
    :param log: where its output is appended to.
    :param env: environment variables, beside those of the lab's process.
    :param prefix: a command that brings ``argv`` to its place by exec, such
        as nsenter into a host's namespaces.
    :param ready: true as soon as the process does its work.
    :param ready_seconds: how long that may take.
    :param grace_seconds: from SIGTERM to SIGKILL.
    """

    name: str
    argv: Sequence[str]
    log: pathlib.Path
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    prefix: Sequence[str] = ()
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 60
    grace_seconds: float = 5

    @property
    def pid_file(self) -> pathlib.Path:
        return layout.LAB.run / f'{self.name}.pid'

    @property
    def pid(self) -> int | None:
        """The pid of the process, None unless it lives."""
        return living_pid(self.pid_file)

    @property
    def alive(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        """Start it unless it runs already, and wait until it is ready.

        :raises RuntimeError: it ended instead.
        :raises TimeoutError: it did not get ready in time.
        """
        self._launch()
        try:
            self._wait_ready()
        except TimeoutError:
            self.stop()  # So that another start begins anew.
            raise

    def _launch(self) -> None:
        if self.alive:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open('ab') as output:
            process = subprocess.Popen(
                [*self.prefix, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(self.env),
                cwd='/',
                start_new_session=True,
            )
        _CHILDREN.append(process)
        identity = _identity(process.pid) or boot_id()
        self.pid_file.write_text(f'{process.pid} {identity}')

    def _wait_ready(self) -> None:
        def check() -> bool:
            if not self.alive:
                raise RuntimeError(
                    f'{self.name} ended while starting:'
                    f' {steps.last_lines(self.log, 3)}'
                )
            return self.ready is None or self.ready()

        steps.wait_for(check, f'{self.name} ready', self.ready_seconds)

    def stop(self) -> None:
        """End it, and what is left of its session; nothing where it is not."""
        end(self.pid_file, self.grace_seconds)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a process of the lab.

    Each of the services imports a thousand modules. They are compiled once,
    even where the caller's environment forbids to keep the result.
    """
    return {**os.environ, 'PYTHONDONTWRITEBYTECODE': '', **more}


def run(
    argv: Sequence[str],
    log: pathlib.Path,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end, its output going to a log.

    :param env: environment variables, beside those of the lab's process.
    :raises RuntimeError: it failed; the end of what it wrote.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('ab') as output:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(env or {}),
            cwd='/',
        )
    if done.returncode:
        raise RuntimeError(
            f'{pathlib.Path(argv[0]).name}: exit code {done.returncode}:'
            f' {steps.last_lines(log, 3)}'
        )


def living_pid(pid_file: pathlib.Path) -> int | None:
    """Find the process that a pid file names.

    :returns: its pid; None where it has ended.
    """
    pid, identity = _recorded(pid_file)
    return pid if identity and identity == _identity(pid) else None


def _recorded(pid_file: pathlib.Path) -> tuple[int, str]:
    """Read a pid file.

    :returns: the pid and the identity; 0 and empty where there is none.
    """
    try:
        pid, _, identity = pid_file.read_text().partition(' ')
        return int(pid), identity
    except (FileNotFoundError, ValueError):
        return 0, ''


def end(pid_file: pathlib.Path, grace_seconds: float = 5) -> None:
    """End the process of a pid file, its session's rest, and the file.

    A session keeps its number as long as a process is in it, so the rest is
    the lab's unless another process has the number now.

    :param grace_seconds: from SIGTERM to SIGKILL.
    """
    pid, identity = _recorded(pid_file)
    is_of_this_boot = identity.endswith(boot_id())
    if is_of_this_boot and _identity(pid) in (identity, None):
        end_all(lambda: _session(pid), f'session {pid}', grace_seconds)
    pid_file.unlink(missing_ok=True)
    reap()


def reap() -> None:
    """Reap what this process has started and what has ended since."""
    for child in _CHILDREN:
        child.poll()


def kill(pid_file: pathlib.Path) -> None:
    """Kill the process of a pid file and its session's rest.

    As the kernel does when memory is short, and a machine that crashes.
    """
    pid = living_pid(pid_file)
    if pid is not None:
        name = f'session {pid}'
        _signal(lambda: _session(pid), psutil.Process.kill, name, 10)


def suspend(pid_file: pathlib.Path) -> None:
    """Stop the process of a pid file and its session's rest; see resume().

    Its connections stay open, and nobody answers.
    """
    _each_of_session(pid_file, psutil.Process.suspend)


def resume(pid_file: pathlib.Path) -> None:
    """Have what suspend() has stopped go on."""
    _each_of_session(pid_file, psutil.Process.resume)


def _each_of_session(
    pid_file: pathlib.Path, do: Callable[[psutil.Process], None]
) -> None:
    pid = living_pid(pid_file)
    for process in _session(pid) if pid is not None else ():
        with contextlib.suppress(psutil.NoSuchProcess):
            do(process)


def end_all(
    look: Callable[[], list[psutil.Process]],
    name: str,
    grace_seconds: float,
) -> None:
    """End processes with SIGTERM, and with SIGKILL those that stay.

    :param look: finds those that live; a process may start another.
    :param name: what they are, for the message.
    :raises TimeoutError: some outlive SIGKILL.
    """
    with contextlib.suppress(TimeoutError):
        _signal(look, psutil.Process.terminate, name, grace_seconds)
    _signal(look, psutil.Process.kill, name, 10)


def _signal(
    look: Callable[[], list[psutil.Process]],
    send: Callable[[psutil.Process], None],
    name: str,
    seconds: float,
) -> None:
    for process in look():
        with contextlib.suppress(psutil.NoSuchProcess):
            send(process)
    steps.wait_for(lambda: not look(), f'end of {name}', seconds, 0.1)
