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

/* What the guest's memory programs have in common. */

#ifndef MEMORY_H
#define MEMORY_H

#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, PAGE_WORDS = PAGE_BYTES / sizeof(uint64_t) };

/* Read a count of at least 1, or say which argument is wrong and exit 2. */
static inline size_t count_argument(const char *name, const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end != '\0' || value == 0 || value > 1 << 20)
        errx(2, "%s: \"%s\" is not a count between 1 and 1048576", name, text);
    return value;
}

/* Get memory that is the guest's only once it has been written to. */
static inline char *map_memory(size_t bytes)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        err(1, "cannot map %zu bytes", bytes);
    return memory;
}

/*
 * Write to each page, other values to each: neither zero pages nor equal
 * ones, which a migration or the host could send or keep for less. Half of a
 * page can be compressed and half cannot, by what Linux expects of memory
 * ("a 2:1 compression ratio", Documentation/admin-guide/blockdev/zram.rst).
 *
 * offset: of the memory in something larger whose pages all differ.
 */
static inline void touch_pages(char *memory, size_t bytes, size_t offset)
{
    for (size_t at = 0; at < bytes; at += PAGE_BYTES) {
        uint64_t *word = (uint64_t *)(memory + at);
        uint64_t value = (offset + at + 1) * 0x9e3779b97f4a7c15u;

        /* Knuth's MMIX generator. */
        for (int i = 0; i < PAGE_WORDS / 2; i++) {
            word[i] = value;
            value = value * 6364136223846793005u + 1442695040888963407u;
        }
    }
}

/* Answer the caller and stay in the background with the memory. */
static inline void stay(void)
{
    if (daemon(0, 0) != 0)
        err(1, "cannot go to the background");
}

#endif
