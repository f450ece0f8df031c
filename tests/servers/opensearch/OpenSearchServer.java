import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;

/** One real OpenSearch node: OpenSearchServer HOME [setting=value ...]. HOME holds config/. */
public class OpenSearchServer {
    public static void main(String[] args) throws Exception {
        Settings.Builder builder = Settings.builder();
        Given.settings(args).forEach(builder::put);
        String name = builder.get("node.name");
        var config = Given.home(args).resolve("config");
        var environment = InternalSettingsPreparer.prepareEnvironment(builder.build(), Map.of(), config, () -> name);
        LogConfigurator.registerErrorListener();
        LogConfigurator.configure(environment);
        Node node = new ClassPathNode(environment);
        CountDownLatch closed = Ending.with(() -> {
            node.close();
            node.awaitClose(10, TimeUnit.SECONDS);
        });
        node.start();
        closed.await();
    }
}
