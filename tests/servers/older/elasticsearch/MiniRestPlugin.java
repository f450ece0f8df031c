import java.util.*;
import java.util.function.*;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.metadata.*;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.settings.*;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.rest.*;

/** The calls of MiniRest as version 8 has what they need. */
public class MiniRestPlugin extends MiniRest {
    @Override
    public Collection<RestHandler> getRestHandlers(Settings settings, NamedWriteableRegistry r, RestController c, ClusterSettings cs,
            IndexScopedSettings is, SettingsFilter f, IndexNameExpressionResolver e, Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> features) {
        return handlers(settings);
    }

    @Override
    Collection<DataStream> dataStreams(ClusterState state) { return state.metadata().dataStreams().values(); }

    @Override
    String template(ClusterState state, String stream) {
        return MetadataIndexTemplateService.findV2Template(state.metadata(), stream, false);
    }

    @Override
    ClusterState without(ClusterState state, Set<DataStream> streams, Settings settings) {
        return MetadataDataStreamsService.deleteDataStreams(state, streams, settings);
    }
}
