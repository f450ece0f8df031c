import java.util.*;
import org.elasticsearch.Build;
import org.elasticsearch.action.admin.indices.create.*;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.*;
import org.elasticsearch.cluster.metadata.*;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.regex.Regex;
import org.elasticsearch.common.settings.*;
import org.elasticsearch.plugins.*;
import org.elasticsearch.rest.*;
import org.elasticsearch.rest.action.RestToXContentListener;

/** The few REST calls that live in modules which are not on Maven Central: GET /, PUT|GET|DELETE _data_stream. */
abstract class MiniRest extends Plugin implements ActionPlugin, MapperPlugin {
    /** The failure store's built-in mapping wants this type; here it is plain text (it comes back as "type":"text"). */
    @Override
    public Map<String, org.elasticsearch.index.mapper.Mapper.TypeParser> getMappers() {
        return Map.of("match_only_text", org.elasticsearch.index.mapper.TextFieldMapper.PARSER);
    }

    ClusterService cluster;

    @Override
    public Collection<?> createComponents(PluginServices s) {
        cluster = s.clusterService();
        return List.of();
    }

    interface Call { void run(RestRequest req, RestChannel ch, NodeClient client) throws Exception; }

    private static RestHandler handler(String name, Call call, RestHandler.Route... routes) {
        return new BaseRestHandler() {
            @Override public String getName() { return name; }
            @Override public List<Route> routes() { return List.of(routes); }
            @Override protected RestChannelConsumer prepareRequest(RestRequest req, NodeClient client) {
                req.param("name");
                return ch -> call.run(req, ch, client);
            }
        };
    }

    private static RestHandler.Route on(RestRequest.Method m, String path) { return new RestHandler.Route(m, path); }

    private static void reply(RestChannel ch, RestStatus status, Map<String, Object> body) throws Exception {
        ch.sendResponse(new RestResponse(status, ch.newBuilder().map(body)));
    }

    // What has another name or place in another version.
    abstract Collection<DataStream> dataStreams(ClusterState state);

    abstract String template(ClusterState state, String stream);

    abstract ClusterState without(ClusterState state, Set<DataStream> streams, Settings settings);

    private Set<DataStream> streams(ClusterState state, String names) {
        Set<DataStream> found = new TreeSet<>(Comparator.comparing(DataStream::getName));
        for (DataStream d : dataStreams(state))
            if (names == null || Regex.simpleMatch(names.split(","), d.getName())) found.add(d);
        return found;
    }

    Collection<RestHandler> handlers(Settings settings) {
        return List.of(
            handler("mini_root", (req, ch, client) -> {
                Map<String, Object> v = new LinkedHashMap<>();
                v.put("number", Build.current().version());
                v.put("build_flavor", "default");
                v.put("lucene_version", org.apache.lucene.util.Version.LATEST.toString());
                Map<String, Object> m = new LinkedHashMap<>();
                m.put("name", cluster.getNodeName());
                m.put("cluster_name", cluster.getClusterName().value());
                m.put("cluster_uuid", cluster.state().metadata().clusterUUID());
                m.put("version", v);
                m.put("tagline", "You Know, for Search");
                reply(ch, RestStatus.OK, m);
            }, on(RestRequest.Method.GET, "/"), on(RestRequest.Method.HEAD, "/")),
            handler("mini_put_ds", (req, ch, client) -> {
                client.execute(AutoCreateAction.INSTANCE, new CreateIndexRequest(req.param("name")), new RestToXContentListener<>(ch));
            }, on(RestRequest.Method.PUT, "/_data_stream/{name}")),
            handler("mini_get_ds", (req, ch, client) -> {
                String names = req.param("name");
                List<Object> out = new ArrayList<>();
                ClusterState state = cluster.state();
                for (DataStream d : streams(state, names)) {
                    Map<String, Object> m = new LinkedHashMap<>();
                    m.put("name", d.getName());
                    m.put("timestamp_field", Map.of("name", "@timestamp"));
                    m.put("indices", d.getIndices().stream().map(i -> Map.of("index_name", i.getName(), "index_uuid", i.getUUID())).toList());
                    m.put("generation", d.getGeneration());
                    m.put("hidden", d.isHidden());
                    m.put("template", template(state, d.getName()));
                    out.add(m);
                }
                if (out.isEmpty() && names != null && !names.contains("*"))
                    reply(ch, RestStatus.NOT_FOUND, Map.of("error", Map.of("type", "index_not_found_exception", "reason", "no such index [" + names + "]"), "status", 404));
                else reply(ch, RestStatus.OK, Map.of("data_streams", out));
            }, on(RestRequest.Method.GET, "/_data_stream"), on(RestRequest.Method.GET, "/_data_stream/{name}")),
            handler("mini_delete_ds", (req, ch, client) -> {
                String names = req.param("name");
                cluster.submitUnbatchedStateUpdateTask("mini-delete-data-stream", new ClusterStateUpdateTask() {
                    int n;
                    @Override public ClusterState execute(ClusterState state) {
                        Set<DataStream> s = streams(state, names);
                        n = s.size();
                        return n == 0 ? state : without(state, s, settings);
                    }
                    @Override public void onFailure(Exception e) {
                        try { ch.sendResponse(new RestResponse(ch, e)); } catch (Exception x) { throw new RuntimeException(x); }
                    }
                    @Override public void clusterStateProcessed(ClusterState a, ClusterState b) {
                        try {
                            reply(ch, n > 0 || names.contains("*") ? RestStatus.OK : RestStatus.NOT_FOUND, n > 0 || names.contains("*") ? Map.of("acknowledged", true) : Map.of("status", 404));
                        } catch (Exception x) { throw new RuntimeException(x); }
                    }
                });
            }, on(RestRequest.Method.DELETE, "/_data_stream/{name}")));
    }
}
