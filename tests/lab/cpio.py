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

"""Archives that the kernel unpacks as a guest's first file system."""

import pathlib
import stat

# The "new" portable format: Linux, Documentation/driver-api/early-userspace/
# buffer-format.rst. Thirteen numbers of eight hexadecimal digits.
_MAGIC = '070701'
_TRAILER = 'TRAILER!!!'


class Archive:
    """A cpio archive, made in memory; its folders are made as needed."""

    def __init__(self) -> None:
        """Initialize an empty archive."""
        self._parts: list[bytes] = []
        self._names: set[str] = set()

    def folder(self, name: str) -> None:
        """Add an empty folder."""
        self._add(name, stat.S_IFDIR | 0o755, b'')

    def file(self, name: str, content: bytes, executable: bool) -> None:
        """Add a file."""
        mode = 0o755 if executable else 0o644
        self._add(name, stat.S_IFREG | mode, content)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        """Add a device node."""
        self._add(name, stat.S_IFCHR | 0o600, b'', (major, minor))

    def to_bytes(self) -> bytes:
        """Close the archive.

        :returns: the whole of it.
        """
        return b''.join([*self._parts, self._entry(_TRAILER, 0, b'', (0, 0))])

    def _add(
        self,
        name: str,
        mode: int,
        content: bytes,
        device: tuple[int, int] = (0, 0),
    ) -> None:
        parent = str(pathlib.PurePosixPath(name).parent)
        if parent != '.' and parent not in self._names:
            self.folder(parent)
        if name not in self._names:
            self._names.add(name)
            self._parts.append(self._entry(name, mode, content, device))

    def _entry(
        self, name: str, mode: int, content: bytes, device: tuple[int, int]
    ) -> bytes:
        path = name.encode() + b'\0'
        inode = len(self._names)
        numbers = (inode, mode, 0, 0, 1, 0, len(content), 0, 0)
        numbers += (*device, len(path), 0)
        header = _MAGIC + ''.join(f'{number:08X}' for number in numbers)
        return _padded(header.encode() + path) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + b'\0' * (-len(part) % 4)
