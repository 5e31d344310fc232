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

"""What the guests run, and what is asked of it all the time.

The standard library alone, as :mod:`tests.guests.preflight` needs it.
"""

import dataclasses
import pathlib

#: The memory of a guest, unless its case needs more.
MEMORY_MIB = 1024

#: Where the program that asks writes down each answer.
LOG = '/run/load.log'


@dataclasses.dataclass(frozen=True)
class Case:
    """A guest and its work.

    :param about: what its guest is, for people.
    :param load: the program that works, or asks for work, and writes down
        each answer: words of ``inside/load.py``, or a whole command line.
    :param packages: of Debian, which it needs.
    :param setup: a shell script that is run before its disk is made.
    :param prepare: a shell script that the guest runs once it has booted.
    :param services: units that must not end.
    :param log: where the answers are, a shell pattern.
    :param warm_seconds: for how long it works, from its first answer on,
        before anything is measured.
    """

    name: str
    about: str
    load: tuple[str, ...]
    memory_mib: int = MEMORY_MIB
    packages: tuple[str, ...] = ()
    setup: str = ''
    prepare: str = ''
    services: tuple[str, ...] = ()
    log: str = LOG
    warm_seconds: float = 15.0


# --- PostgreSQL

_POSTGRESQL_MIB = 2048
_POSTGRESQL_SCALE = 100  # 1.3 GiB of accounts: more than the page cache.
# Of 10 million accounts; 196 MiB of the table, 32 MiB of its index.
_HOT_ACCOUNTS = 1_500_000
_HOT_MIB = 196
_POSTGRESQL_QUERY = (
    f'\\set account random(1, {_HOT_ACCOUNTS})\n'
    'SELECT abalance FROM pgbench_accounts WHERE aid = :account;'
)
_POSTGRESQL_LOG = '/run/postgresql/load'
_POSTGRESQL_SETUP = f"""
conf=/etc/postgresql/15/main/postgresql.conf
cat >> $conf <<'END'
shared_buffers = {_POSTGRESQL_MIB // 4}MB
dynamic_shared_memory_type = mmap
max_wal_size = 128MB
ssl = off
END
cat > /srv/one.sql <<'END'
{_POSTGRESQL_QUERY}
END
mkdir -p /run/postgresql /var/run/postgresql
chown postgres: /run/postgresql
bin=/usr/lib/postgresql/15/bin data=/var/lib/postgresql/15/main
as() {{ setpriv --reuid=postgres --regid=postgres --clear-groups \\
    env LC_ALL=C HOME=/tmp "$@"; }}
as $bin/pg_ctl -D $data -o "-c config_file=$conf" -l /tmp/log -w start >&2
as $bin/pgbench -i -q -s {_POSTGRESQL_SCALE} postgres >&2
as $bin/psql -c 'VACUUM FREEZE ANALYZE' -c CHECKPOINT postgres >&2
as $bin/pg_ctl -D $data -w stop >&2
rm -rf /run/postgresql /tmp/log
"""
# The accounts that are asked for are read twice, and so hot; after that all
# of the table is read once, as a backup does. Parts of it are files of 1 GiB.
_POSTGRESQL_PREPARE = f"""
cd /var/lib/postgresql/15/main
for try in $(seq 60); do pg_isready -q && break; sleep 1; done
file() {{
    setpriv --reuid=postgres --regid=postgres --clear-groups \\
        psql -Atc "select pg_relation_filepath('$1')" postgres
}}
table=$(file pgbench_accounts) index=$(file pgbench_accounts_pkey)
for twice in 1 2; do
    head -c {_HOT_MIB}M $table > /dev/null
    head -c {_HOT_MIB // 6}M $index > /dev/null
done
cat $table* > /dev/null
"""

_POSTGRESQL = Case(
    name='postgresql',
    about='PostgreSQL: shared_buffers a quarter of the memory, the accounts'
    ' that pgbench asks for in the page cache, the rest of the table read'
    ' once',
    memory_mib=_POSTGRESQL_MIB,
    packages=('postgresql-15',),
    setup=_POSTGRESQL_SETUP,
    prepare=_POSTGRESQL_PREPARE,
    load=(
        *('setpriv', '--reuid=postgres', '--regid=postgres'),
        *('--clear-groups', 'pgbench', '-n', '-M', 'prepared', '-c', '1'),
        *('-T', '3600', '-f', '/srv/one.sql', '-l'),
        *('--log-prefix', _POSTGRESQL_LOG, 'postgres'),
    ),
    services=('postgresql@15-main',),
    log=f'{_POSTGRESQL_LOG}.*',
    warm_seconds=20.0,
)


# --- what the others have in common

_FILES = 1200  # Of 1 MiB each: more than the guest has memory.
_PACKAGES = (
    'earlyoom',
    'gcc',
    'libc6-dev',
    'nginx',
    'openjdk-17-jre-headless',
    'python3',
    'redis-server',
)
_UNITS = ('earlyoom', 'nginx', 'redis-server')
_INSIDE = pathlib.Path(__file__).parent / 'inside'
_SERVICE = _INSIDE / 'Service.java'
# Debian's runtime has the compiler as well, but no command for it. Without
# /proc, as in a root that is not booted, it does not find its own libraries.
_JAVA_HOME = '/usr/lib/jvm/java-17-openjdk-amd64'
_JAVAC = (
    f'LD_LIBRARY_PATH={_JAVA_HOME}/lib {_JAVA_HOME}/bin/java'
    ' -m jdk.compiler/com.sun.tools.javac.Main'
)
# Random bytes, so that no page of them is zero, which QEMU would not send.
# Which services run is for the case to say.
_SETUP = f"""
mkdir /srv/files
for name in $(seq 0 {_FILES - 1}); do
    dd if=/dev/urandom of=/srv/files/$name bs=1M count=1 status=none
done
sed -i 's|root /var/www/html;|root /srv/files;|' \\
    /etc/nginx/sites-available/default
printf 'enable-debug-command yes\nsave ""\n' >> /etc/redis/redis.conf
for unit in {' '.join(_UNITS)}; do
    rm -f /etc/systemd/system/*.wants/$unit.service
done
for name in $(seq 20); do
    echo "int f$name(int *p) {{ int s = 0;"
    echo "for (int i = 0; i < $name; i++) s += p[i]; return s; }}"
done > /srv/one.c
cat > /srv/Service.java <<'END'
{_SERVICE.read_text()}
END
{_JAVAC} -d /srv /srv/Service.java >&2
"""


def _read(first: int, count: int) -> str:
    """Have files read once, which makes cold page cache of them."""
    last = first + count - 1
    return f'(cd /srv/files; seq {first} {last} | xargs cat > /dev/null)\n'


def _common(
    name: str,
    about: str,
    load: tuple[str, ...],
    prepare: str,
    services: tuple[str, ...] = (),
    warm_seconds: float = Case.warm_seconds,
    packages: tuple[str, ...] = (),
    setup: str = '',
) -> Case:
    starts = ''.join(f'systemctl start {unit}\n' for unit in services)
    return Case(
        name=name,
        about=about,
        load=load,
        packages=(*_PACKAGES, *packages),
        setup=_SETUP + setup,
        prepare=starts + prepare,
        services=services,
        warm_seconds=warm_seconds,
    )


_REDIS = _common(
    'redis',
    'Redis: 200 MiB of keys, 500 MiB of files read once',
    ('redis', '140000', '1500'),
    _read(0, 500),
    ('redis-server',),
)
_NGINX = _common(
    'nginx',
    'nginx: 1.2 GiB of files, nine of ten requests for 150 MiB of them',
    ('http', str(_FILES), '150'),
    2 * _read(0, 150) + _read(150, 600),
    ('nginx',),
)
_EARLYOOM = _common(
    'earlyoom',
    'earlyoom, which kills below 10 % of available memory; a process holds'
    ' 500 MiB and takes 16 MiB more now and then; 250 MiB of files read once',
    ('memory', '500', '16'),
    _read(0, 250),
    ('earlyoom',),
)
_OVERCOMMIT = _common(
    'overcommit',
    'vm.overcommit_memory = 2; a process holds 100 MiB, takes 32 MiB more and'
    ' forks, over and over; 500 MiB of files read once',
    ('memory', '100', '32'),
    'echo 2 > /proc/sys/vm/overcommit_memory\n' + _read(0, 500),
)
_MGLRU = _common(
    'mglru',
    'the multi-generational LRU; 250 MiB of files read over and over, 450 MiB'
    ' read once',
    ('read', '250'),
    'echo y > /sys/kernel/mm/lru_gen/enabled\n'
    + 3 * _read(0, 250)
    + _read(250, 450),
)
# In the guest: where all is zeros the file of its disk would have holes, and
# its kernel does not swap to such a file.
_SWAP_ON = """
fallocate -l 512M /srv/swap
chmod 600 /srv/swap
mkswap -q /srv/swap
swapon /srv/swap
"""
_SWAP = _common(
    'swap',
    'a file to swap to; a process holds 400 MiB and takes 32 MiB more now and'
    ' then; 350 MiB of files read once',
    ('memory', '400', '32'),
    _SWAP_ON + _read(0, 350),
)
_COMPILE = _common(
    'compile',
    'a compiler, one file after the other; 500 MiB of files read once',
    ('run', 'gcc', '-O1', '-c', '-o', '/dev/null', '/srv/one.c'),
    _read(0, 500),
)
_JVM = _common(
    'jvm',
    'a JVM whose heap is 40 % of the memory, half of it in use, which'
    ' allocates all the time; 350 MiB of files read once',
    (
        *('java', '-Xms400m', '-Xmx400m', '-cp', '/srv'),
        *('Service', LOG, '200'),
    ),
    _read(0, 350),
    warm_seconds=30.0,  # It compiles what it runs often.
)


# --- what limits memory in the guest itself

_LIMITING = ('crun', 'systemd-oomd')
_CONTAINER_MIB, _CONTAINER_FILES = 200, 400
_CONTAINER = '/srv/container'
_LIMITING_SETUP = f"""
cat > /srv/load.py <<'END'
{(_INSIDE / 'load.py').read_text()}
END
python3 - {_CONTAINER} {_CONTAINER_MIB} \\
    python3 /srv/load.py {LOG} read {_CONTAINER_FILES} <<'END'
{(_INSIDE / 'bundle.py').read_text()}
END
rm -f /etc/systemd/system/*.wants/systemd-oomd.service
"""
# It may kill what works.
_OOMD_ON = """
modprobe zram
echo 512M > /sys/block/zram0/disksize
mkswap -q /dev/zram0
swapon /dev/zram0
mkdir -p /run/systemd/system/load.service.d
cat > /run/systemd/system/load.service.d/oomd.conf <<'END'
[Service]
ManagedOOMSwap=kill
ManagedOOMMemoryPressure=kill
END
systemctl daemon-reload
"""
_OOMD = _common(
    'oomd',
    'systemd-oomd, and swap that is compressed (zram); a process holds 450 MiB'
    ' and takes 32 MiB more now and then; 300 MiB of files read once',
    ('memory', '450', '32'),
    _OOMD_ON + _read(0, 300),
    ('systemd-oomd',),
    packages=_LIMITING,
    setup=_LIMITING_SETUP,
)
_LIMITED = _common(
    'container',
    f'a container that may have {_CONTAINER_MIB} MiB and reads'
    f' {_CONTAINER_FILES} MiB of files over and over; 500 MiB of files read'
    ' once',
    ('crun', 'run', '--bundle', _CONTAINER, 'load'),
    _read(_CONTAINER_FILES, 500),
    packages=_LIMITING,
    setup=_LIMITING_SETUP,
)

#: Every case, by its name.
CASES = {
    case.name: case
    for case in (
        _POSTGRESQL,
        _REDIS,
        _NGINX,
        _EARLYOOM,
        _OVERCOMMIT,
        _MGLRU,
        _SWAP,
        _COMPILE,
        _JVM,
        _OOMD,
        _LIMITED,
    )
}
#: The cases of a quick run, all of them in one guest.
QUICK = ('redis', 'nginx', 'earlyoom', 'overcommit', 'mglru')
