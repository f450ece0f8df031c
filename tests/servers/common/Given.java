import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a node is told: the settings of every node here, then those of the command line, HOME [setting=value ...]. */
final class Given {
    private Given() { }

    static Map<String, String> settings(String[] args) {
        Map<String, String> all = new LinkedHashMap<>(Map.of(
            "path.home", home(args).toString(),
            "cluster.name", "for-tests",
            "node.name", "node-1",
            "discovery.type", "single-node",
            "network.host", "127.0.0.1",
            "transport.port", "0",
            "cluster.routing.allocation.disk.threshold_enabled", "false"));
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            all.put(pair[0], pair[1]);
        }
        return all;
    }

    static Path home(String[] args) { return Path.of(args[0]).toAbsolutePath(); }
}
