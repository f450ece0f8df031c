"""Small HTTP servers in place of what cannot run here: Kibana, and stores that refuse or have plugins that ours lack."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


def rows(text):
    """The rows of the table that `shipper setup` and `check` print: what, outcome, detail."""
    lines = [line.split("  ") for line in text.splitlines()]
    return {parts[0]: [part.strip() for part in parts[1:] if part] for parts in lines if len(parts) > 1}


@contextmanager
def serving(answer):
    """Serve `answer(method, path, headers, body) -> (status, JSON or text)` on the loopback address; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, said = answer(self.command, self.path, self.headers, body)
            data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_HEAD = _serve

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ELASTIC = {"version": {"number": "9.5.3", "lucene_version": "10", "build_flavor": "default"}}
OPENSEARCH = {"version": {"number": "3.8.0", "distribution": "opensearch"}}


class Store:
    """Says that it is a store, has nothing, takes everything, and keeps what was asked; *answers* come first."""

    def __init__(self, root, answers=None):
        self.root = root
        self.answers = answers or {}
        self.asked = {}

    def __call__(self, method, path, headers, body):
        if path == "/":
            return 200, self.root
        if method != "GET":
            self.asked[f"{method} {path}"] = json.loads(body) if body else None
        for start, answer in self.answers.items():
            if f"{method} {path}".startswith(start):
                return answer
        return (404, {}) if method == "GET" else (200, {"acknowledged": True})


class Lifecycles(Store):
    """A store with streams and with ILM or ISM, as far as the products' documentation and the plugin's source say how.

    A policy comes back with what the server adds to it. ISM overwrites one only if its numbers are given (409), attaches none to an
    index that has one (200, and `failures`), and goes on with the old version of a policy until `change_policy`.
    """

    INDICES = (".ds-logs-a.jsonlog-b-000001", ".ds-logs-a.jsonlog-b-000002", ".ds-logs-c.jsonlog_ecs-d-000001")

    def __init__(self, root, answers=None):
        super().__init__(root, answers)
        self.kept = {}  # what was PUT, by path
        self.under = dict.fromkeys(self.INDICES)  # index to (policy, its version)
        self.version = 0

    def __call__(self, method, path, headers, body):
        answer = super().__call__(method, path, headers, body)
        sent = json.loads(body) if body else None
        path, _, query = path.partition("?")
        if path == "/" or any(f"{method} {path}".startswith(start) for start in self.answers):
            return answer
        if path.startswith("/_plugins/_ism/"):
            return self._ism(method, path.removeprefix("/_plugins/_ism/").split("/"), query, sent)
        if method == "PUT":
            self.kept[path] = sent
        if method == "GET" and path.startswith("/_data_stream/logs-*.jsonlog*-*"):
            return 200, {"data_streams": [{"name": "logs-a.jsonlog-b"}, {"name": "logs-c.jsonlog_ecs-d"}]}
        if method == "GET" and path in self.kept:
            return 200, self._shown(path)
        return answer

    def _shown(self, path):
        kind, name = path.rpartition("/")[0][1:].removeprefix("_"), path.rpartition("/")[2]
        if kind == "ilm/policy":
            policy = json.loads(json.dumps(self.kept[path]["policy"]))
            policy["phases"]["hot"]["min_age"] = "0ms"
            if "delete" in policy["phases"]:
                policy["phases"]["delete"]["actions"]["delete"]["delete_searchable_snapshot"] = True
            return {
                name: {"version": 1, "modified_date": "2026-11-22T05:02:17.220Z", "policy": policy, "in_use_by": {}}
            }
        return {f"{kind}s": [{"name": name, kind: self.kept[path]}]}

    def _ism(self, method, parts, query, sent):
        verb, name = parts
        if verb == "policies" and method == "GET":
            if name not in self.kept:
                return 404, {"error": {"type": "status_exception", "reason": "Policy not found"}, "status": 404}
            policy = json.loads(json.dumps(self.kept[name]["policy"]))
            for state in policy["states"]:
                for action in state["actions"]:
                    action["retry"] = {"count": 3, "backoff": "exponential", "delay": "1m"}
            policy["ism_template"][0]["last_updated_time"] = 1795323737220
            policy |= {"policy_id": name, "schema_version": 21, "error_notification": None}
            return 200, {
                "_id": name,
                "_version": self.version,
                "_seq_no": self.version,
                "_primary_term": 1,
                "policy": policy,
            }
        if verb == "policies":
            if name in self.kept and query != f"if_seq_no={self.version}&if_primary_term=1":
                return 409, {"error": {"type": "version_conflict_engine_exception"}, "status": 409}
            self.kept[name] = sent
            self.version += 1
            return 201, {"_id": name, "_version": self.version, "_primary_term": 1, "_seq_no": self.version}
        if verb == "explain":
            key = "index.plugins.index_state_management.policy_id"
            return 200, {
                **{index: {key: under and under[0], "enabled": bool(under)} for index, under in self.under.items()},
                "total_managed_indices": sum(map(bool, self.under.values())),
            }
        return self._attached(verb, name.split(","), sent["policy_id"])

    def _attached(self, verb, indices, policy):
        failed = [
            {
                "index_name": index,
                "index_uuid": "u",
                "reason": "This index already has a policy, use the update policy API",
            }
            for index in indices
            if bool(self.under[index]) is (verb == "add")
        ]
        for index in {*indices} - {one["index_name"] for one in failed}:
            self.under[index] = (policy, self.version)
        return 200, {
            "updated_indices": len(indices) - len(failed),
            "failures": bool(failed),
            "failed_indices": failed,
        }


class Kibana:
    """Imports saved objects as Kibana and OpenSearch Dashboards do, as far as their documentation says how.

    A request without the product's own header is refused, and so is an object of an unknown type, one with a stamp that is
    newer than the product's version, and one that refers to what is neither there nor in the import.
    """

    TYPES = {
        "kbn": {"index-pattern", "search", "lens", "dashboard"},
        "osd": {"index-pattern", "search", "visualization", "dashboard"},
    }

    def __init__(self, product: str, version: str) -> None:
        self.product = product
        self.version = tuple(map(int, version.split(".")))
        self.objects: dict[tuple[str, str], Any] = {}

    def __call__(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        if (method, path) != ("POST", "/api/saved_objects/_import?overwrite=true"):
            return 404, {"statusCode": 404, "error": "Not Found"}
        if f"{self.product}-xsrf" not in headers:
            return 400, {"statusCode": 400, "message": f"Request must contain a {self.product}-xsrf header."}
        objects = [json.loads(line) for line in self._file(headers, body).splitlines() if line.strip()]
        there = set(self.objects) | {(it["type"], it["id"]) for it in objects}
        errors = [error for it in objects if (error := self._wrong(it, there))]
        good = [it for it in objects if not self._wrong(it, there)]
        self.objects |= {(it["type"], it["id"]): it for it in good}
        return 200, {"success": not errors, "successCount": len(good), **({"errors": errors} if errors else {})}

    def _file(self, headers: Any, body: bytes) -> str:
        kind, _, boundary = headers["content-type"].partition("; boundary=")
        assert kind == "multipart/form-data"
        start, part, end = body.split(b"--" + boundary.encode())
        assert (start, end) == (b"", b"--\r\n")
        head, _, content = part.partition(b"\r\n\r\n")
        assert b'name="file"' in head
        assert b".ndjson" in head
        return content.decode().removesuffix("\r\n")

    def _wrong(self, it: Any, there: set[tuple[str, str]]) -> Any:
        stamps = [
            it.get("coreMigrationVersion"),
            it.get("typeMigrationVersion"),
            *it.get("migrationVersion", {}).values(),
        ]
        if it["type"] not in self.TYPES[self.product]:
            error = {"type": "unsupported_type"}
        elif any(tuple(map(int, stamp.split("."))) > self.version for stamp in stamps if stamp):
            error = {"type": "unknown", "message": "the document belongs to a more recent version"}
        elif any((one["type"], one["id"]) not in there for one in it["references"]):
            error = {"type": "missing_references"}
        else:
            return None
        return {"id": it["id"], "type": it["type"], "error": error}
