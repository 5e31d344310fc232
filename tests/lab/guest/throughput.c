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
 * Work, and write down how much has been done: twice a second a line with
 * the time of day and the bytes gone over so far. The work is to read a file
 * over and over, as fast as that goes; or, without one, to go over a little
 * memory for a tenth of the time.
 */

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "memory.h"

enum { CHUNK_BYTES = 256 << 10, MEMORY_BYTES = 4 << 20 };

static const double LINE_SECONDS = 0.5;
static const double WORK_SECONDS = 0.005, REST_SECONDS = 0.045;

/* What is read goes here, so that the compiler has it read. */
static volatile uint64_t sink;

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* Read on in the file; from its start again once it has ended. */
static size_t read_on(int file)
{
    static char chunk[CHUNK_BYTES];
    ssize_t got = read(file, chunk, sizeof chunk);

    if (got < 0)
        err(1, "cannot read");
    if (got == 0 && lseek(file, 0, SEEK_SET) != 0)
        err(1, "cannot go back");
    return got;
}

/* Go over memory for a while, and rest. */
static size_t work_and_rest(const uint64_t *memory)
{
    const struct timespec rest = {.tv_nsec = (long)(REST_SECONDS * 1e9)};
    static size_t page;
    size_t bytes = 0;

    for (double end = now() + WORK_SECONDS; now() < end;) {
        for (int count = 0; count < 16; count++, page++) {
            size_t first = page * PAGE_WORDS % (MEMORY_BYTES / 8);
            uint64_t sum = 0;

            for (int i = 0; i < PAGE_WORDS; i++)
                sum += memory[first + i];
            sink = sum;
            bytes += PAGE_BYTES;
        }
    }
    nanosleep(&rest, NULL);
    return bytes;
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3)
        errx(2, "usage: throughput LOG_FILE [FILE]");

    FILE *log = fopen(argv[1], "w");
    int file = argc == 3 ? open(argv[2], O_RDONLY) : -1;
    char *memory = map_memory(MEMORY_BYTES);
    uint64_t done = 0;

    if (!log)
        err(1, "%s", argv[1]);
    if (argc == 3 && file < 0)
        err(1, "%s", argv[2]);
    touch_pages(memory, MEMORY_BYTES, 0);
    stay();
    for (double next = now();;) {
        done += file < 0 ? work_and_rest((uint64_t *)memory) : read_on(file);
        if (now() < next)
            continue;
        fprintf(log, "%.3f %ju\n", now(), (uintmax_t)done);
        fflush(log);
        next = now() + LINE_SECONDS;
    }
}
