import java.io.IOException;
import java.util.concurrent.CountDownLatch;

/**
 * How a node ends: SIGTERM closes it. With -Dend.with.stdin=true the end of standard input does too, which is how the node
 * ends with the process that started it, whatever that one died of.
 */
final class Ending {
    interface Closing { void close() throws IOException, InterruptedException; }

    private Ending() { }

    /** Close what runs when this process is told to end; gives what is open until then. */
    static CountDownLatch with(Closing running) {
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                running.close();
            } catch (IOException | InterruptedException error) {
                error.printStackTrace();
            }
            closed.countDown();
        }));
        if (Boolean.getBoolean("end.with.stdin")) watchStdin();
        return closed;
    }

    private static void watchStdin() {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) { }
            } catch (IOException gone) {
                // the other end is gone all the same
            }
            System.exit(0);
        });
        watch.setDaemon(true);
        watch.start();
    }
}
