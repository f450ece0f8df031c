import java.nio.file.Path;
import java.util.Map;
import org.elasticsearch.plugins.PluginsLoader;

/** What the node is made of besides its core. */
final class Modules {
    private Modules() { }

    static PluginsLoader load(Path home) {
        var modules = PluginsLoader.loadModulesBundles(home.resolve("modules"));
        var plugins = PluginsLoader.loadPluginsBundles(home.resolve("plugins"));
        return PluginsLoader.createPluginsLoader(modules, plugins, Map.of(), false);
    }
}
