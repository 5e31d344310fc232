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
 * Write to memory, free it in pieces, and keep what is between them (as much
 * as a piece, or less), so that what is free is in blocks of one piece
 * (smaller than the 2 MiB that free page reporting wants).
 */

#include "memory.h"

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4)
        errx(2, "usage: fragment MIB PIECE_KIB [KEPT_KIB]");

    size_t bytes = count_argument("MIB", argv[1]) << 20;
    size_t piece = count_argument("PIECE_KIB", argv[2]) << 10;
    size_t kept = argc < 4 ? piece : count_argument("KEPT_KIB", argv[3]) << 10;

    if (piece % PAGE_BYTES != 0 || kept % PAGE_BYTES != 0)
        errx(2, "PIECE_KIB and KEPT_KIB: not multiples of 4");

    char *memory = map_memory(bytes);

    /* Of a huge page no part is freed before all of it is. */
    if (madvise(memory, bytes, MADV_NOHUGEPAGE) != 0)
        err(1, "cannot do without huge pages");
    touch_pages(memory, bytes, 0);
    for (size_t at = 0; at + piece <= bytes; at += piece + kept)
        if (madvise(memory + at, piece, MADV_DONTNEED) != 0)
            err(1, "cannot free a piece");
    stay();
    pause();
    return 0;
}
