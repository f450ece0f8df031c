"""gunicorn, uvicorn, Celery, Django and uWSGI, the real ones, with the examples: who logs, into which file, with which fields."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson
import pytest

from tests.jsonlog_ways.support import (
    BIN,
    EXAMPLES,
    ROOT,
    answers,
    environment,
    free_port,
    get,
    logged,
    server,
    until,
)

ASKED = 6


@pytest.fixture
def folder(tmp_path):
    """A copy of an example, so that its logs go nowhere else."""

    def copy(name):
        shutil.copytree(EXAMPLES / name, tmp_path / name)
        return tmp_path / name

    return copy


def find(records, **wanted):
    """The records whose fields at dotted names (`__` for the dot) have these values."""

    def value(record, name):
        for piece in name.split("__"):
            record = record.get(piece) if isinstance(record, dict) else None
        return record

    return [record for record in records if all(value(record, name) == one for name, one in wanted.items())]


def no_server_text(output):
    """Whether a server printed none of its own lines."""
    return "[INFO]" not in output and "INFO:" not in output


@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["", "preload"])
@pytest.mark.parametrize("how", ["configure", "dict"])
@pytest.mark.parametrize("kind", ["sync", "gthread", "asgi", "uvicorn_worker.UvicornWorker"])
def test_gunicorn(folder, kind, how, preload):
    """Master and workers each have a file; messages, requests and tracebacks are records, and gunicorn prints nothing."""
    here, port = folder("gunicorn"), free_port()
    app = "app:wsgi" if kind in ("sync", "gthread") else "app:asgi"
    env = {"GUNICORN_BIND": f"127.0.0.1:{port}", "GUNICORN_DICT": "1" if how == "dict" else "", "JSONLOG_CONSOLE": "0"}
    with server(
        "gunicorn", "--worker-class", kind, *preload, app, cwd=here, port=port, path="/health", env=env
    ) as process:
        for number in range(ASKED):
            assert get(port, f"/item/{number}?card=secret", **{"X-Request-ID": f"r-{number}"})[0] == 200
        assert get(port, "/fail")[0] == 500
    records = logged(here / "logs")
    started = find(records, log__logger="gunicorn.error", process__pid=process.pid)
    assert any(record["message"].startswith("Starting gunicorn") for record in started)
    own = find(records, log__logger="shop")
    assert sorted(r["message"] for r in own if "item" in r["message"]) == [f"asked for /item/{n}" for n in range(ASKED)]
    assert process.pid not in {record["process"]["pid"] for record in own}
    assert len({record["run"] for record in records}) == len({record["process"]["pid"] for record in records}) >= 2
    access = find(records, log__logger="uvicorn.access" if "Uvicorn" in kind else "gunicorn.access")
    assert not [record for record in access if "/health" in record["message"]] or "Uvicorn" in kind
    for number in range(ASKED):
        (record,) = find(access, extra__path=f"/item/{number}")
        assert record["message"] == f"GET /item/{number} 200"
        assert record["extra"]["status"] == 200
        assert record["extra"]["client"] == "127.0.0.1"
        if "Uvicorn" not in kind:
            assert record["extra"]["request_id"] == f"r-{number}"
            assert record["extra"]["duration_ms"] > 0
            assert record["extra"]["bytes"] > 0
    (failed,) = [record for record in records if "exc" in record]
    assert failed["exc"]["message"] == "the till is closed"
    assert "secret" not in str(records)
    assert "color_message" not in str(records)
    assert (here / "server.out").read_text() == ""


def test_gunicorn_with_one_flag(folder):
    """Without a configuration file the class alone is enough: the environment says the rest, and records are readable on stderr."""
    here, port = folder("gunicorn"), free_port()
    (here / "gunicorn.conf.py").unlink()
    command = [
        "gunicorn",
        "--bind",
        f"127.0.0.1:{port}",
        "--logger-class",
        "jsonlog.integrations.gunicorn.Logger",
        "app:wsgi",
    ]
    with server(*command, cwd=here, port=port, env={"JSONLOG_SERVICE": "till"}) as process:
        process.send_signal(signal.SIGHUP)  # a reload of the configuration sets logging up once more
        until(lambda: "Hang up" in (here / "server.out").read_text())
        until(lambda: answers(port))
        get(port, "/after")
    records = logged(here / "logs")
    assert len(find(records, log__logger="gunicorn.access", extra__path="/after")) == 1
    assert {record["service"]["name"] for record in records} == {"till"}
    assert (here / "server.out").read_text().count("GET /after 200") == 1


def test_gunicorn_keeps_what_it_was_given(folder):
    """A file for the access log and a handler that `logconfig_dict` names stay; the records are in our files as well."""
    here, port = folder("gunicorn"), free_port()
    (here / "gunicorn.conf.py").write_text(
        f"""
bind = "127.0.0.1:{port}"
accesslog = "access.log"
logger_class = "jsonlog.integrations.gunicorn.Logger"
logconfig_dict = {{
    "version": 1, "disable_existing_loggers": False,
    "formatters": {{"json": {{"class": "jsonlog.JsonFormatter"}}, "text": {{"format": "%(message)s"}}}},
    "handlers": {{
        "json": {{"class": "jsonlog.ProcessFileHandler", "directory": "logs", "formatter": "json"}},
        "text": {{"class": "logging.FileHandler", "filename": "errors.log", "formatter": "text"}},
    }},
    "root": {{"level": "INFO", "handlers": ["json"]}},
    "loggers": {{"gunicorn.error": {{"level": "INFO", "handlers": ["text"], "propagate": True}}}},
}}
"""
    )
    with server("gunicorn", "app:wsgi", cwd=here, port=port):
        get(port, "/once")
    assert "GET /once 200" in (here / "access.log").read_text()
    assert "Starting gunicorn" in (here / "errors.log").read_text()
    records = logged(here / "logs")
    assert len(find(records, extra__path="/once")) == 1
    assert len([record for record in records if record["message"].startswith("Starting gunicorn")]) == 1


UVICORN = {
    "one": ["uvicorn", "app:app"],
    "workers": ["uvicorn", "app:app", "--workers", "2"],
    "reload": ["uvicorn", "app:app", "--reload"],
    "config file": ["uvicorn", "app:app", "--log-config", "log_config.json"],
    "config file and workers": ["uvicorn", "app:app", "--workers", "2", "--log-config", "log_config.json"],
    "log_config": [sys.executable, "app.py"],
}


@pytest.mark.parametrize("name", UVICORN)
def test_uvicorn(folder, name):
    """The workers' messages, requests and tracebacks are records with fields; so are the supervisor's, by `log_config`."""
    here, port = folder("uvicorn"), free_port()
    command = UVICORN[name] if name == "log_config" else [*UVICORN[name], "--port", port]
    with server(*command, cwd=here, port=port, env={"JSONLOG_CONSOLE": "0", "PORT": str(port)}) as process:
        for number in range(ASKED):
            assert get(port, f"/item/{number}?card=secret")[0] == 200
        assert get(port, "/fail")[0] == 500
    records = logged(here / "logs")
    for number in range(ASKED):
        (record,) = find(records, log__logger="uvicorn.access", extra__path=f"/item/{number}")
        assert record["extra"] == {"method": "GET", "path": f"/item/{number}", "status": 200, "client": "127.0.0.1"}
        assert record["message"] == f"GET /item/{number} 200"
    assert len(find(records, log__logger="shop")) >= ASKED + 1
    assert [record["exc"]["message"] for record in records if "exc" in record] == ["the till is closed"]
    assert "color_message" not in str(records)
    assert "secret" not in str(records)
    own = find(records, process__pid=process.pid)
    if "config" in name:
        assert own
        assert no_server_text((here / "server.out").read_text())
    if "workers" in name or name == "log_config":
        assert len({record["process"]["pid"] for record in records} - {process.pid}) == 2
    assert {record["service"]["name"] for record in records} == {"shop"}


def test_uvicorn_reloads(folder):
    """After a change the new process writes to a file of its own; the old one's is whole."""
    here, port = folder("uvicorn"), free_port()
    command = ["uvicorn", "app:app", "--reload", "--reload-delay", "0.1", "--port", port]
    with server(*command, cwd=here, port=port, env={"JSONLOG_CONSOLE": "0"}):
        get(port, "/before")
        text = (here / "app.py").read_text()
        (here / "app.py").write_text(text.replace("asked for %s", "changed: asked for %s"))
        until(lambda: answers(port, "/after") and "changed" in str(logged(here / "logs")))
    records = logged(here / "logs")
    before, after = (
        find(records, log__logger="shop", message=m) for m in ("asked for /before", "changed: asked for /after")
    )
    assert len(before) == 1
    assert after
    assert before[0]["run"] != after[0]["run"]


def test_celery(folder):
    """Tasks of a prefork pool: id and name in each record, Celery's own as records too, the root logger not replaced."""
    here = folder("celery")
    with (here / "worker.out").open("wb") as output:
        worker = subprocess.Popen(
            ["celery", "-A", "tasks", "worker", "--concurrency", "2", "--pool", "prefork", "--loglevel", "INFO"],
            cwd=here, env=environment(JSONLOG_CONSOLE="0"), stdout=output, stderr=output,
        )  # fmt: skip
    try:
        sent = subprocess.run(
            [sys.executable, "tasks.py"],
            cwd=here,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        worker.terminate()
        worker.wait(30)
    assert sent.stdout.splitlines()[:2] == ["12.5", "40"], sent.stderr
    records = logged(here / "logs")
    own = find(records, log__logger="shop.tasks")
    assert sorted(record["message"] for record in own) == [f"charging order {n}" for n in (1, 2, 3)]
    ids = {record["extra"]["task_id"] for record in own}
    assert len(ids) == 3
    assert {record["extra"]["task_name"] for record in own} == {"shop.charge"}
    (failed,) = [record for record in records if "exc" in record]
    assert failed["exc"]["type"] == "ValueError"
    assert failed["extra"]["task_id"] in ids
    succeeded = [record for record in records if "succeeded" in record["message"]]
    assert {record["extra"]["task_name"] for record in succeeded} == {"shop.charge"}
    assert worker.pid not in {record["process"]["pid"] for record in own}
    ready = [record for record in records if record["message"].endswith(" ready.")]
    assert [record["process"]["pid"] for record in ready] == [worker.pid]
    assert "task_id" not in ready[0].get("extra", {})
    assert "INFO/" not in (here / "worker.out").read_text()


def test_a_task_leaves_nothing_behind(folder):
    """A task that runs another one in itself has its own id again afterwards, and behind a task there is none."""
    here = folder("celery")
    program = """
import logging, sys
sys.path.insert(0, ".")
import jsonlog, tasks
jsonlog.configure("shop", "logs", console=False)
log = logging.getLogger("shop")

@tasks.app.task(name="outer")
def outer():
    log.info("before")
    tasks.charge.apply((1, 5))
    log.info("after")

outer.apply()
log.info("outside")
"""
    subprocess.run([sys.executable, "-c", program], cwd=here, env=environment(), check=True, timeout=60)
    names = {r["message"]: r.get("extra", {}).get("task_name") for r in find(logged(here / "logs"))}
    assert names["before"] == names["after"] == "outer"
    assert names["charging order 1"] == "shop.charge"
    assert names["outside"] is None


@pytest.mark.parametrize("name", ["application", "asgi_application"])
def test_django(folder, name):
    """Records of views, of Django itself and of failures have the request's fields and not the request."""
    here, port = folder("django"), free_port()
    if name == "application":
        command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "shop:application"]
    else:
        command = ["uvicorn", "--port", port, "shop:asgi_application"]
    with server(*command, cwd=here, port=port, path="/order/1"):
        for path in ("order", "async"):
            assert get(port, f"/{path}/17?card=secret", **{"X-Request-ID": f"r-{path}"})[0] == 200
        assert get(port, "/nowhere", **{"X-Request-ID": "r-404"})[0] == 404
        assert get(port, "/order/0", **{"X-Request-ID": "r-500"})[0] == 500
    records = logged(here / "logs")
    for path in ("order", "async"):
        (record,) = find(records, log__logger="shop", extra__request_id=f"r-{path}")
        assert record["extra"] == {
            "method": "GET", "path": f"/{path}/17", "client": "127.0.0.1", "request_id": f"r-{path}",
        }  # fmt: skip
    (missing,) = find(records, log__logger="django.request", extra__request_id="r-404")
    assert missing["extra"]["status_code"] == 404
    assert missing["extra"]["path"] == "/nowhere"
    (failed,) = find(records, log__logger="django.request", extra__request_id="r-500")
    assert failed["exc"]["type"] == "LookupError"
    for record in (missing, failed):
        assert "request" not in record["extra"]
        assert "tags" not in record
    assert "secret" not in str(records)
    assert "LookupError: no order has the number 0" in (here / "server.out").read_text()


def test_a_request_is_left_to_the_other_handlers(tmp_path):
    """The record keeps its request: Django's mail to the admins needs it."""
    program = """
import logging, sys
sys.path.insert(0, sys.argv[1])
import shop
from django.test import RequestFactory
from jsonlog.integrations.django import RequestFormatter
record = logging.makeLogRecord({"msg": "x", "request": RequestFactory().get("/y?q=1"), "path": "mine"})
text = RequestFormatter().format(record)
assert record.request.path == "/y"
assert '"path":"mine"' in text and '"method":"GET"' in text and "WSGIRequest" not in text, text
record.request = object()
assert "request" not in RequestFormatter().format(record)
"""
    subprocess.run(
        [sys.executable, "-c", program, EXAMPLES / "django"], cwd=tmp_path, env=environment(), check=True, timeout=30
    )


@pytest.mark.parametrize(
    "options", [[], ["--lazy-apps"], ["--enable-threads", "--threads", "2"]], ids=["fork", "lazy", "threads"]
)
def test_uwsgi(folder, options):
    """uWSGI forks in C, which runs no hook of Python's: each worker has a file of its own all the same, and nothing is mixed."""
    here, port = folder("uwsgi"), free_port()
    command = [
        "uwsgi", "--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "2", "--die-on-term", "--need-app",
        "--virtualenv", BIN.parent, "--pythonpath", ROOT, "--wsgi-file", "app.py", *options,
    ]  # fmt: skip
    with server(*command, cwd=here, port=port, env={"JSONLOG_CONSOLE": "0"}) as process:
        assert [get(port, f"/item/{number}")[0] for number in range(40)] == [200] * 40
        expected = 2 if "--lazy-apps" in options else 1
        until(lambda: len(find(logged(here / "logs"), message="imported")) == expected)
    records = check_items(here / "logs")
    assert process.pid not in {record["process"]["pid"] for record in records if "/item" in record["message"]}


def check_items(directory):
    """Every request is there once, and every process has a file of its own."""
    records = logged(directory)
    own = [record["message"] for record in records if "/item/" in record["message"]]
    assert sorted(own) == sorted(f"asked for /item/{number}" for number in range(40))
    pids = {record["process"]["pid"] for record in records}
    assert len({record["run"] for record in records}) == len(pids) >= 2
    return records


APACHE = """
ServerRoot {here}
ServerName localhost
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule wsgi_module {modules}/mod_wsgi.so
Listen 127.0.0.1:{port}
PidFile {here}/pid
ErrorLog {here}/error.log
User www-data
Group www-data
WSGISocketPrefix {here}/socket
WSGIDaemonProcess shop processes=2 threads=3 python-path={here}/lib
WSGIProcessGroup shop
WSGIApplicationGroup {group}
WSGIScriptAlias / {here}/shop.wsgi
WSGIImportScript {here}/shop.wsgi process-group=shop application-group={group}
<Directory {here}>
Require all granted
</Directory>
"""


@pytest.mark.parametrize("group", ["%{GLOBAL}", "shop"])
def test_mod_wsgi(group):
    """Under Apache each daemon process has a file of its own, in the main interpreter and in another one."""
    modules = Path("/usr/lib/apache2/modules")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not (modules / "mod_wsgi.so").exists():
        if os.environ.get("SHIPPER_REQUIRE_PARTS"):
            pytest.fail("Apache with mod_wsgi is not here")
        pytest.skip("Apache with mod_wsgi is not here (Debian: apache2-bin, libapache2-mod-wsgi-py3)")
    if not (modules / f"mod_wsgi.so-{version}").exists():
        pytest.skip(f"the mod_wsgi that is here was built for another Python than {version}")
    here = Path(tempfile.mkdtemp(prefix="mod_wsgi-"))
    try:
        # What Apache's user can read, whoever owns this checkout.
        here.chmod(0o777)
        shutil.copytree(ROOT / "jsonlog", here / "lib" / "jsonlog")
        shutil.copytree(Path(orjson.__file__).parent, here / "lib" / "orjson")
        shutil.copy(EXAMPLES / "mod_wsgi" / "shop.wsgi", here)
        port = free_port()
        (here / "httpd.conf").write_text(APACHE.format(here=here, modules=modules, port=port, group=group))
        with server("/usr/sbin/apache2", "-f", here / "httpd.conf", "-DFOREGROUND", cwd=here, port=port):
            assert [get(port, f"/item/{number}")[0] for number in range(40)] == [200] * 40
        records = check_items(here / "logs")
        assert len(find(records, message="imported")) == 2
    finally:
        shutil.rmtree(here)
