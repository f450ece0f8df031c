import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One real OpenSearch node: OpenSearchServer HOME [setting=value ...].
 *
 * <p>HOME holds config/. SIGTERM closes the node. With -Dend.with.stdin=true the end of standard input does too, which is
 * how the node ends with the process that started it, whatever that one died of.
 */
public class OpenSearchServer {
    private static final List<Class<? extends Plugin>> MODULES = List.of(
        Netty4Plugin.class, MapperExtrasPlugin.class, ReindexPlugin.class);

    /** Node takes modules from the class path only through its protected constructor. */
    private static class ClassPathNode extends Node {
        ClassPathNode(Environment environment) {
            super(environment, MODULES, true);
        }

    }

    public static void main(String[] args) throws Exception {
        Path home = Path.of(args[0]).toAbsolutePath();
        Settings.Builder builder = Settings.builder()
            .put("path.home", home.toString())
            .put("cluster.name", "for-tests")
            .put("node.name", "node-1")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("transport.port", "0")
            .put("cluster.routing.allocation.disk.threshold_enabled", "false");
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            builder.put(pair[0], pair[1]);
        }
        String name = builder.get("node.name");
        var environment = InternalSettingsPreparer.prepareEnvironment(builder.build(), Map.of(), home.resolve("config"), () -> name);
        LogConfigurator.registerErrorListener();
        LogConfigurator.configure(environment);
        Node node = new ClassPathNode(environment);
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.close();
                node.awaitClose(10, TimeUnit.SECONDS);
            } catch (IOException | InterruptedException error) {
                error.printStackTrace();
            }
            closed.countDown();
        }));
        endWithStdin();
        node.start();
        closed.await();
    }

    private static void endWithStdin() {
        if (!Boolean.getBoolean("end.with.stdin")) return;
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
