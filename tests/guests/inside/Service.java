// Licensed under the Apache License, Version 2.0 (the "License"); you may
// not use this file except in compliance with the License. You may obtain
// a copy of the License at
//
//      http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
// WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
// License for the specific language governing permissions and limitations
// under the License.

import java.io.FileWriter;
import java.io.IOException;
import java.io.Writer;
import java.util.Locale;
import java.util.Random;

/**
 * A service that keeps entries in its heap and allocates with each request.
 *
 * <p>{@code java Service LOG MIB}: a line of the log is as load.py writes it.
 */
public final class Service {
    private static final int ENTRY_BYTES = 4096;
    private static final int ENTRIES_READ = 16;
    private static final long PAUSE_MILLIS = 100; // After a failure.
    private static final long FLUSH_NANOS = 500_000_000;

    private final Random random = new Random();
    private final byte[][] entries;

    private Service(int heldMib) {
        entries = new byte[(heldMib << 20) / ENTRY_BYTES][ENTRY_BYTES];
        for (byte[] entry : entries) {
            random.nextBytes(entry);
        }
    }

    /** Answers with copies of some entries; one of them is then kept. */
    private void answer() {
        byte[][] copies = new byte[ENTRIES_READ][];
        int sum = 0;
        for (int i = 0; i < copies.length; i++) {
            copies[i] = entries[random.nextInt(entries.length)].clone();
            for (byte one : copies[i]) {
                sum = 31 * sum + one;
            }
        }
        byte[] kept = copies[0];
        kept[random.nextInt(kept.length)] = (byte) sum;
        entries[random.nextInt(entries.length)] = kept;
    }

    private String attempt() throws InterruptedException {
        long began = System.nanoTime();
        String took;
        try {
            answer();
            took = Long.toString((System.nanoTime() - began) / 1000);
        } catch (OutOfMemoryError error) {
            took = "failed";
            Thread.sleep(PAUSE_MILLIS);
        }
        double now = System.currentTimeMillis() / 1e3;
        return String.format(Locale.ROOT, "%.3f %s\n", now, took);
    }

    public static void main(String[] words)
            throws InterruptedException, IOException {
        Service service = new Service(Integer.parseInt(words[1]));
        try (Writer log = new FileWriter(words[0])) {
            long flushed = System.nanoTime();
            while (true) {
                log.write(service.attempt());
                if (System.nanoTime() - flushed > FLUSH_NANOS) {
                    log.flush();
                    flushed = System.nanoTime();
                }
            }
        }
    }
}
