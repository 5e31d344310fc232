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

"""The lab's long-running processes: started, found again, and ended."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess

from tests.lab import layout
from tests.lab import steps

_BOOT_ID = pathlib.Path('/proc/sys/kernel/random/boot_id')
# Fields of /proc/<pid>/stat after the command's name (proc(5)).
_STATE, _SESSION, _START_TICKS = 0, 3, 19


def _stat(pid: int) -> list[str] | None:
    """Read /proc/<pid>/stat behind the name, which may hold anything."""
    try:
        text = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(')')[2].split()
    return None if fields[_STATE] in 'ZX' else fields


def _session(session: int) -> Iterator[int]:
    """Find the living processes of a session."""
    for entry in pathlib.Path('/proc').iterdir():
        if not entry.name.isdigit():
            continue
        fields = _stat(int(entry.name))
        if fields and int(fields[_SESSION]) == session:
            yield int(entry.name)


# What this process has started: reaped when it has ended, so that it does
# not stay as a zombie, and dropped by nobody before.
_CHILDREN: list[subprocess.Popen[bytes]] = []


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A process of the lab, in a session of its own.

    Its pid file holds the pid, the time it was started at and the boot it
    belongs to: a pid that has been given to somebody else since is never
    taken for it.

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
        fields = _stat(process.pid)
        ticks = fields[_START_TICKS] if fields else '0'
        self.pid_file.write_text(
            f'{process.pid} {ticks} {_BOOT_ID.read_text()}'
        )

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
    """Say what a process of the lab finds in its environment.

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


def _recorded(pid_file: pathlib.Path) -> tuple[int, str] | None:
    """Read the pid and start time of this boot from a pid file."""
    try:
        pid, ticks, boot_id = pid_file.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    of_this_boot = boot_id == _BOOT_ID.read_text().strip()
    return (int(pid), ticks) if of_this_boot else None


def living_pid(pid_file: pathlib.Path) -> int | None:
    """Find the process a pid file speaks of.

    :returns: its pid; None where it ended, whoever has the number today.
    """
    recorded = _recorded(pid_file)
    fields = _stat(recorded[0]) if recorded else None
    if recorded and fields and fields[_START_TICKS] == recorded[1]:
        return recorded[0]
    return None


def end(pid_file: pathlib.Path, grace_seconds: float = 5) -> None:
    """End the process of a pid file, its session's rest, and the file.

    The session's number stays taken as long as a process is in it, so the
    rest is ours unless somebody else leads a session of that number now.

    :param grace_seconds: from SIGTERM to SIGKILL.
    """
    recorded = _recorded(pid_file)
    if recorded and (living_pid(pid_file) or not _stat(recorded[0])):
        session = recorded[0]
        _signal(_session(session), signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            _wait_empty(session, grace_seconds)
        _signal(_session(session), signal.SIGKILL)
        _wait_empty(session, 10)
    pid_file.unlink(missing_ok=True)
    for child in _CHILDREN:
        child.poll()


def kill(pid_file: pathlib.Path) -> None:
    """End the process of a pid file and its session's rest, unasked.

    As the kernel does when memory is short, and a machine that crashes.
    """
    pid = living_pid(pid_file)
    if pid is not None:
        _signal(_session(pid), signal.SIGKILL)
        _wait_empty(pid, 10)


def _signal(pids: Iterator[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait_empty(session: int, seconds: float) -> None:
    steps.wait_for(
        lambda: not any(_session(session)),
        f'end of the processes of session {session}',
        seconds,
        every_seconds=0.1,
    )
