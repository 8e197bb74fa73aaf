package cartstream.peers;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;

/** Tells the bench, on standard output, how many clicks are done: after the first, every fortieth part, and the last. */
public final class Progress {
    private static final long TOTAL = Env.number("PEER_EVENTS");
    private static final long STEP = Math.max(1, TOTAL / 40);
    private static final AtomicLong DONE = new AtomicLong();
    private static final CountDownLatch ALL = new CountDownLatch(1);

    private Progress() { }

    public static void count() {
        long done = DONE.incrementAndGet();
        if (done == 1 || done % STEP == 0 || done == TOTAL) System.out.println("PROGRESS " + done);
        if (done == TOTAL) ALL.countDown();
    }

    public static void awaitAll() throws InterruptedException {
        ALL.await();
    }
}
