"""Real Elasticsearch and OpenSearch nodes for tests, the demo and benchmarks; only the standard library is needed.

    from tests import servers

    with servers.start("opensearch") as server:
        server.call("GET", "/_cat/indices")

`available` says what a machine lacks, `prepare` fetches and compiles once, `start` runs a node that ends with this process.
`python -m tests.servers` does the same from a shell.
"""

from tests.servers._prepare import CACHE, KINDS, Missing, available, find_java, prepare
from tests.servers._server import DidNotStart, Server, free_port, start

__all__ = [
    "CACHE",
    "KINDS",
    "DidNotStart",
    "Missing",
    "Server",
    "available",
    "find_java",
    "free_port",
    "prepare",
    "start",
]
