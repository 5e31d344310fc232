/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

/*
 * Write a file whose pages all differ, get it onto the disk, and drop it
 * from the page cache: whoever reads it then fills the cache with it.
 */

#include <fcntl.h>

#include "memory.h"

enum { CHUNK_BYTES = 1 << 20 };

int main(int argc, char **argv)
{
    if (argc != 3)
        errx(2, "usage: writefile PATH MIB");

    size_t chunks = count_argument("MIB", argv[2]);
    int file = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    char *chunk = map_memory(CHUNK_BYTES);

    if (file < 0)
        err(1, "%s", argv[1]);
    for (size_t number = 0; number < chunks; number++) {
        touch_pages(chunk, CHUNK_BYTES, number * CHUNK_BYTES);
        if (write(file, chunk, CHUNK_BYTES) != CHUNK_BYTES)
            err(1, "%s: MiB %zu", argv[1], number);
    }
    if (fsync(file) != 0)
        err(1, "%s", argv[1]);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}
