import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;

/** One real Elasticsearch node: ElasticsearchServer HOME [setting=value ...]. HOME holds config/ and modules/. */
public class ElasticsearchServer {
    public static void main(String[] args) throws Exception {
        Settings.Builder builder = Settings.builder();
        Given.settings(args).forEach(builder::put);
        String name = builder.get("node.name");
        var home = Given.home(args);
        System.setProperty("es.path.home", home.toString());
        LogConfigurator.configureESLogging();
        LogConfigurator.setNodeName(name);
        var environment = InternalSettingsPreparer.prepareEnvironment(builder.build(), Map.of(), home.resolve("config"), () -> name);
        LogConfigurator.configure(environment, true);
        Node node = new Node(environment, Modules.load(home));
        CountDownLatch closed = Ending.with(() -> {
            node.prepareForClose();
            node.close();
            node.awaitClose(10, TimeUnit.SECONDS);
        });
        node.start();
        closed.await();
    }
}
