"""The commands and their options. What a command needs is imported when it runs: the start of `run` counts."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from shipper.errors import ShipperError

app = typer.Typer(
    help="Ships JSON-Lines log files to Elasticsearch, OpenSearch or any HTTP endpoint, with nothing lost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_To = Annotated[str | None, typer.Option("--to", help="URL of the store or endpoint. [env: SHIPPER_TO]", metavar="URL")]
_Config = Annotated[Path | None, typer.Option("--config", help="A YAML file with the same keys.", metavar="FILE")]


@contextmanager
def _errors() -> Iterator[None]:
    """Turn what the shipper says to its operator into one line and an exit code."""
    try:
        yield
    except ShipperError as exc:
        print(f"shipper: {exc}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(exc.exit_code) from exc
    except (typer.Exit, typer.Abort):
        raise
    except Exception as exc:  # (the top of the command line: one sentence, never a traceback)
        where = traceback.extract_tb(exc.__traceback__)[-1]
        print(  # noqa: T201
            f"shipper: internal error: {type(exc).__name__}: {exc} ({Path(where.filename).name}:{where.lineno}); nothing "
            "that was not acknowledged has been passed over. Please report it",
            file=sys.stderr,
        )
        raise typer.Exit(70) from exc


def _show_version(wanted: bool) -> None:  # noqa: FBT001 (typer's callback)
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        print(f"shipper {version('jsonlog-shipper')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _main(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


_GivenPaths = Annotated[
    list[str] | None,
    typer.Option("--path", help="Glob of the files, or a folder; may be repeated. [env: SHIPPER_PATH]", metavar="GLOB"),
]
_Sink = Annotated[
    str | None, typer.Option("--sink", help="auto, elasticsearch or http. [env: SHIPPER_SINK]", metavar="KIND")
]
_Compression = Annotated[
    str | None, typer.Option(help="none, gzip or zstd. [env: SHIPPER_COMPRESSION]", metavar="NAME")
]
_GivenState = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the checkpoint; default: .shipper beside the files. [env: SHIPPER_STATE]", metavar="DIR"
    ),
]
_Template = Annotated[
    bool | None,
    typer.Option("--template/--no-template", help="Make sure of template and data stream before the first write."),
]
_Finished = Annotated[
    str | None,
    typer.Option(
        help="keep or delete files whose writer has ended, once acknowledged. [env: SHIPPER_FINISHED]", metavar="WHAT"
    ),
]
_Ordered = Annotated[
    bool | None,
    typer.Option("--ordered/--not-ordered", help="Deliver the records of each file in order. [env: SHIPPER_ORDERED]"),
]
_Timeout = Annotated[
    float | None,
    typer.Option(
        help="With --once: end after so many seconds with exit code 5. [env: SHIPPER_ONCE_TIMEOUT_S]", metavar="SECONDS"
    ),
]
_Metrics = Annotated[
    str | None,
    typer.Option(
        help="Serve /metrics, /healthz and /readyz there; default: not at all. [env: SHIPPER_METRICS]",
        metavar="HOST:PORT",
    ),
]


@app.command()
def run(  # noqa: PLR0913 (one parameter per option)
    *,
    path: _GivenPaths = None,
    to: _To = None,
    sink: _Sink = None,
    once: Annotated[bool, typer.Option("--once", help="Ship what is there, then exit.")] = False,
    config: _Config = None,
    compression: _Compression = None,
    state: _GivenState = None,
    template: _Template = None,
    finished: _Finished = None,
    ordered: _Ordered = None,
    timeout: _Timeout = None,
    metrics: _Metrics = None,
) -> None:
    """Follow files and ship their records; SIGTERM drains and exits 0."""
    with _errors():
        from shipper.config import load_settings, suspicious_variables  # noqa: PLC0415
        from shipper.console import Console  # noqa: PLC0415
        from shipper.service import run as serve  # noqa: PLC0415
        from shipper.service import share_out  # noqa: PLC0415

        given: dict[str, Any] = {
            "path": path or None,
            "to": to,
            "sink": sink,
            "compression": compression,
            "state": state,
            "template": template,
            "finished": finished,
            "ordered": ordered,
            "once_timeout_s": timeout,
            "metrics": metrics,
        }
        settings = load_settings(config, given)
        console = Console()
        for sentence in suspicious_variables():
            console.say(sentence)
        ship = partial(serve, settings, once=once, emit=console, reload=lambda: load_settings(config, given))
        if settings.workers > 1:
            code = share_out(settings, ship)
        else:
            code = ship(progress=console.progress if console.is_terminal else None)
    raise typer.Exit(code)


_Profiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile", help="jsonlog, ecs, foreign (all three where not given), flat; may be repeated.", metavar="NAME"
    ),
]


@app.command()
def setup(  # noqa: PLR0913 (one parameter per option)
    *,
    to: _To = None,
    config: _Config = None,
    kibana: Annotated[
        str | None,
        typer.Option(help="Import searches and a dashboard into Kibana or OpenSearch Dashboards there.", metavar="URL"),
    ] = None,
    profile: _Profiles = None,
    lifecycle: Annotated[
        str | None,
        typer.Option(help="rollover, or when to delete: 30d, ilm:30d; as it is, where not given.", metavar="WHAT"),
    ] = None,
    custom: Annotated[
        list[str] | None,
        typer.Option(
            help="A component template of yours to compose after ours, such as logs@custom; may be repeated; none: no "
            "longer; as it is, where not given.",
            metavar="NAME",
        ),
    ] = None,
    index_mode: Annotated[
        str | None, typer.Option(help="standard or logsdb (Elasticsearch); as it is, where not given.", metavar="MODE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write it all as files and ask no store.", metavar="DIR")] = None,
) -> None:
    """Install templates and saved objects, or bring them up to date; safe to repeat."""
    with _errors():
        from shipper.commands.setup import Options  # noqa: PLC0415
        from shipper.commands.setup import setup as install  # noqa: PLC0415
        from shipper.commands.templates import USUAL  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415

        options = Options(
            profiles=profile or USUAL,
            lifecycle=lifecycle,
            index_mode=index_mode,
            custom=custom or None,
            kibana=kibana,
            dry_run=dry_run,
            export=export,
        )
        text, code = install(load_settings(config, {"to": to}), options)
        print(text)  # noqa: T201
    raise typer.Exit(code)


@app.command()
def check(to: _To = None, config: _Config = None, profile: _Profiles = None) -> None:
    """Say what is missing in a store or differs, and what mends it; exits 1 if anything is."""
    with _errors():
        from shipper.commands.check import check as look  # noqa: PLC0415
        from shipper.commands.templates import USUAL  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415

        text, code = look(load_settings(config, {"to": to}), profile or USUAL)
        print(text)  # noqa: T201
    raise typer.Exit(code)


_Paths = Annotated[list[str] | None, typer.Option("--path", help="As for run.", metavar="GLOB")]
_State = Annotated[Path | None, typer.Option("--state", help="Folder of the checkpoint, as for run.", metavar="DIR")]
_Ids = Annotated[list[str] | None, typer.Argument(help="Ids of entries; all where none is given.", metavar="ID")]
_Reason = Annotated[str, typer.Option(help="Only those with this text in their reason.", metavar="TEXT")]
_Older = Annotated[str | None, typer.Option("--older-than", help="Only those so old: 30d, 12h, 5m.", metavar="AGE")]
_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def status(
    *,
    as_json: _Json = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All files, not those alone that are furthest behind.")
    ] = False,
    path: _Paths = None,
    state: _State = None,
    config: _Config = None,
) -> None:
    """Tell how far each file is, what became of its lines, and how the store is; exits 1 if the accounting does not close."""
    with _errors():
        from shipper.commands.status import status as tell  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415

        settings = load_settings(config, {"path": path, "state": state})
        text, code = tell(settings, as_json=as_json, everything=everything)
        print(text)  # noqa: T201
    raise typer.Exit(code)


@app.command()
def verify(
    *,
    to: _To = None,
    since: Annotated[
        str | None, typer.Option(help="Only records that are not older: 30d, 12h, 5m.", metavar="AGE")
    ] = None,
    pattern: Annotated[
        str, typer.Option("--index", help="Streams or indices.", metavar="PATTERN")
    ] = "logs-*.jsonlog*-*",
    as_json: _Json = False,
    path: _Paths = None,
    state: _State = None,
    config: _Config = None,
) -> None:
    """Ask a store whether every number of every run is there exactly once; exits 1 if not."""
    with _errors():
        from shipper.commands.dead import parse_age  # noqa: PLC0415
        from shipper.commands.verify import Options  # noqa: PLC0415
        from shipper.commands.verify import verify as ask  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415

        options = Options(pattern, parse_age(since) if since else 0.0, as_json)
        text, code = ask(load_settings(config, {"path": path, "state": state, "to": to}), options)
        print(text)  # noqa: T201
    raise typer.Exit(code)


dead = typer.Typer(help="Look at what could not be delivered, send it again, or give it up.", no_args_is_help=True)
app.add_typer(dead, name="dead")


@dead.command("list")
def dead_list(
    *,
    reason: _Reason = "",
    older_than: _Older = None,
    limit: Annotated[int, typer.Option(min=1, help="The most lines of the table.", metavar="N")] = 100,
    as_json: _Json = False,
    path: _Paths = None,
    state: _State = None,
    config: _Config = None,
) -> None:
    """List the dead letters, the oldest first."""
    with _errors():
        from shipper.commands.dead import Choice, parse_age, show_list  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415

        choice = Choice(reason=reason, older_s=parse_age(older_than) if older_than else 0.0)
        text = show_list(load_settings(config, {"path": path, "state": state}), choice, limit=limit, as_json=as_json)
        if text:
            print(text)  # noqa: T201


@dead.command("show")
def dead_show(
    ids: Annotated[list[str], typer.Argument(help="Ids of entries.", metavar="ID")],
    *,
    path: _Paths = None,
    state: _State = None,
    config: _Config = None,
) -> None:
    """Show dead letters with their lines, exactly as they are."""
    with _errors():
        from shipper.commands.dead import show  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415

        print(show(load_settings(config, {"path": path, "state": state}), ids))  # noqa: T201


@dead.command("replay")
def dead_replay(
    ids: _Ids = None,
    *,
    reason: _Reason = "",
    older_than: _Older = None,
    to: _To = None,
    path: _Paths = None,
    state: _State = None,
    config: _Config = None,
) -> None:
    """Send dead letters again under their ids, also while the shipper runs; safe to interrupt and to repeat."""
    with _errors():
        from shipper.commands.dead import Choice, parse_age, replay  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415
        from shipper.console import Console  # noqa: PLC0415

        choice = Choice(ids or (), reason, parse_age(older_than) if older_than else 0.0)
        settings = load_settings(config, {"path": path, "state": state, "to": to})
        text, code = replay(settings, choice, Console())
        print(text)  # noqa: T201
    raise typer.Exit(code)


@dead.command("purge")
def dead_purge(
    ids: _Ids = None,
    *,
    reason: _Reason = "",
    older_than: _Older = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    path: _Paths = None,
    state: _State = None,
    config: _Config = None,
) -> None:
    """Give dead letters up for good."""
    with _errors():
        from shipper.commands.dead import Choice, parse_age, purge  # noqa: PLC0415
        from shipper.config import load_settings  # noqa: PLC0415

        choice = Choice(ids or (), reason, parse_age(older_than) if older_than else 0.0)
        print(purge(load_settings(config, {"path": path, "state": state}), choice, everything=everything))  # noqa: T201


@app.command()
def collect(
    listen: Annotated[str, typer.Option(help="Address and port.", metavar="HOST:PORT")] = "127.0.0.1:8089",
    data: Annotated[Path, typer.Option(help="Folder of the records.", metavar="DIR")] = Path("collector-data"),
) -> None:
    """Run the embedded collector: a store and a page for a machine that has no Elasticsearch."""
    with _errors():
        from shipper.commands.collect import collect as serve  # noqa: PLC0415

        serve(listen, data)


@app.command()
def demo(
    *,
    to: Annotated[
        str | None, typer.Option("--to", help="Ship to this store instead of the embedded collector.", metavar="URL")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Stay up afterwards, to look around.")] = False,
    requests: Annotated[int, typer.Option(min=20, max=100_000, help="Requests to the shop.")] = 300,
) -> None:
    """Show the whole path: a web application, the shipper, a store, queries, and an accounting that closes."""
    with _errors():
        from shipper.demo.run import run_demo  # noqa: PLC0415

        code = run_demo(to=to, serve=serve, requests=requests)
    raise typer.Exit(code)
