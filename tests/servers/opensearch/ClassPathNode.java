import java.util.List;
import java.util.stream.Stream;
import org.opensearch.Version;
import org.opensearch.env.Environment;
import org.opensearch.index.mapper.MapperExtrasModulePlugin;
import org.opensearch.index.reindex.ReindexModulePlugin;
import org.opensearch.ingest.common.IngestCommonModulePlugin;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.plugins.PluginInfo;
import org.opensearch.transport.Netty4ModulePlugin;

/** Node takes modules from the class path only through its protected constructor. */
class ClassPathNode extends Node {
    ClassPathNode(Environment environment) {
        super(environment, Stream.of(Netty4ModulePlugin.class, MapperExtrasModulePlugin.class, ReindexModulePlugin.class,
            IngestCommonModulePlugin.class).map(ClassPathNode::info).toList(), true);
    }

    private static PluginInfo info(Class<? extends Plugin> type) {
        String java = Integer.toString(Runtime.version().feature());
        return new PluginInfo(type.getName(), "", "", Version.CURRENT, java, type.getName(), List.of(), false);
    }
}
