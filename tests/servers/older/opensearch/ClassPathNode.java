import java.util.List;
import org.opensearch.env.Environment;
import org.opensearch.index.mapper.MapperExtrasPlugin;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.ingest.common.IngestCommonPlugin;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/** Node takes modules from the class path only through its protected constructor. */
class ClassPathNode extends Node {
    ClassPathNode(Environment environment) {
        super(environment,
            List.of(Netty4Plugin.class, MapperExtrasPlugin.class, ReindexPlugin.class, IngestCommonPlugin.class), true);
    }
}
