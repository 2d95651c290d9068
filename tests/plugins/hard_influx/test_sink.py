import base64
import json
import re
import shutil
import subprocess
import time
import tomllib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from pydantic import ValidationError

import hard_influx
from hard.api import SinkUnavailable
from hard.testing import check_sink, sample_events
from hard_influx import InfluxSink
from tests.plugins.hard_delivery import receiver as receivers
from tests.running import program

README = Path(hard_influx.__file__).with_name("README.md").read_text("utf-8")


def sink_of(**config):
    return InfluxSink("influx", InfluxSink.Config(**config), "home")


def write(sink, events, looks=0):
    confirmed = []
    sink.open()
    try:
        sink.write(events, confirmed.append)
        for _ in range(looks):
            sink.check()
    finally:
        sink.close()
    return confirmed


@pytest.fixture
def receiver():
    there = receivers.Receiver()
    yield there
    there.close()


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text("t0ken\n")
    path.chmod(0o600)
    return str(path)


def test_it_keeps_the_contract(free_port):
    with program(receivers) as port:
        check_sink(
            lambda: sink_of(url=f"http://127.0.0.1:{port}", database="hard"),
            make_unreachable=lambda: sink_of(url=f"http://127.0.0.1:{free_port}", database="hard"),
        )


def test_a_file_keeps_the_contract_too(tmp_path):
    (tmp_path / "file").touch()
    check_sink(
        lambda: sink_of(path=str(tmp_path / "events.line")),
        make_unreachable=lambda: sink_of(path=str(tmp_path / "file" / "events.line")),
    )


def test_points_go_to_a_database_of_influxdb_1(receiver, secret_file):
    sink = sink_of(
        url=f"http://127.0.0.1:{receiver.port}/", database="my db", username="me",
        password_file=secret_file, tags={"room": "the attic"},
    )  # fmt: skip
    assert write(sink, sample_events(3)) == [1, 2, 3]
    (request,) = receiver.requests
    assert request.path == "/write?db=my+db&precision=ns"
    assert base64.b64decode(request.headers["authorization"].split()[1]) == b"me:t0ken"
    lines = request.body.decode().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        r"hard,activity=walking,event_type=enter,node=home,room=the\ attic,stream=conformance "
    )


def test_points_go_to_a_bucket_of_influxdb_2(receiver, secret_file):
    sink = sink_of(
        url=f"http://127.0.0.1:{receiver.port}", org="us", bucket="b", token_file=secret_file,
        batch=2,
    )  # fmt: skip
    assert write(sink, sample_events(3)) == [1, 2, 3]
    assert [r.path for r in receiver.requests] == ["/api/v2/write?org=us&bucket=b&precision=ns"] * 2
    assert receiver.requests[0].headers["authorization"] == "Token t0ken"


def test_points_go_to_a_file(tmp_path):
    path = tmp_path / "events.line"
    assert write(sink_of(path=str(path)), sample_events(3)) == [1, 2, 3]
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "either url, of the server, or path"),
        ({"url": "http://pi", "path": "x", "database": "d"}, "either url, of the server, or path"),
        ({"url": "http://pi"}, "either database"),
        ({"url": "http://pi", "database": "d", "bucket": "b"}, "either database"),
        ({"url": "http://pi", "bucket": "b"}, "bucket needs org and token_file"),
        ({"url": "http://pi", "database": "d", "username": "u"}, "belong together"),
        ({"url": "pi:8086", "database": "d"}, "url: it must begin with http"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(config, said):
    with pytest.raises(ValidationError, match=said):
        InfluxSink.Config(**config)


def test_the_readme_shows_valid_configurations_and_names_every_field(receiver):
    for block in re.findall(r"```toml\n(.*?)```", README, re.DOTALL):
        table = tomllib.loads(block)["sinks"]["influx"]
        assert table.pop("plugin") == "influx"
        InfluxSink.Config(**table)
    exit_ = replace(sample_events(1)[0], kind="exit", t_end=2_000_000_000_000_000_000)
    whole = replace(exit_, status="ok", previous="ok", clock_unsynced=True)
    write(sink_of(url=f"http://127.0.0.1:{receiver.port}", database="hard"), [whole])
    names = re.findall(r"[, ](\w+)=", receiver.requests[0].body.decode())
    assert len(names) >= 15
    assert all(f"`{name}`" in README for name in names)


# -- a real InfluxDB, where there is one -----------------------------------------------------------


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory):
    """Return the URL of a real InfluxDB 1 with a database named hard."""
    if shutil.which("influxd") is None:
        pytest.skip("no InfluxDB here: apt-get install influxdb")
    with running_influxdb(tmp_path_factory.mktemp("influxdb")) as url:
        ask(url, "CREATE DATABASE hard", post=True)
        yield url


@contextmanager
def running_influxdb(folder):
    port, backup_port = free_ports(2)
    (folder / "influxdb.conf").write_text(
        f"""
reporting-disabled = true
bind-address = "127.0.0.1:{backup_port}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
"""
    )
    url = f"http://127.0.0.1:{port}"
    log = (folder / "log").open("w")
    command = ["influxd", "-config", folder / "influxdb.conf"]
    with log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            await_ping(url)
            yield url
        finally:
            process.kill()


def free_ports(n):
    import socket  # noqa: PLC0415 - only here

    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def await_ping(url):
    deadline_s = time.monotonic() + 60.0
    while True:
        try:
            urlopen(f"{url}/ping").close()
        except URLError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        else:
            return


def ask(url, query, *, post=False):
    """Return the series that a query gives."""
    asked = urlencode({"db": "hard", "q": query, "epoch": "ns"})
    with urlopen(f"{url}/query?{asked}", data=b"" if post else None) as answer:
        (result,) = json.load(answer)["results"]
    return result.get("series", [])


def test_a_real_influxdb_has_every_event_once(influxdb):
    events = sample_events(250)
    sink = sink_of(url=influxdb, database="hard", measurement="once")
    for _ in range(2):  # as after an outage
        assert write(sink, events) == [event.seq for event in events]
    (series,) = ask(influxdb, "SELECT * FROM once")
    assert len(series["values"]) == 250
    first = dict(zip(series["columns"], series["values"][0], strict=True))
    assert first["time"] == events[0].t_start
    assert (first["id"], first["stream"]) == (events[0].id, "conformance")
    assert (first["confidence"], first["activity"]) == (0.9, "walking")


def test_a_real_influxdb_reads_what_is_escaped(influxdb):
    strange = 'a,b=c "d" \\e'
    slashes = "\\a\\\\b"
    event = replace(sample_events(1, stream=strange)[0], activity=strange, reason=strange)
    tags = {"k,e=y ": strange, "end": "x\\", "slashes": slashes, "before": "x\\,y"}
    sink = sink_of(url=influxdb, database="hard", measurement="strange", tags=tags)
    assert write(sink, [event]) == [1]
    (series,) = ask(influxdb, "SELECT * FROM strange")
    (values,) = series["values"]
    row = dict(zip(series["columns"], values, strict=True))
    assert row["stream"] == row["activity"] == row["reason"] == row["k,e=y "] == strange
    assert (row["end"], row["slashes"], row["before"]) == ("x", slashes, "x,y")


def test_the_question_of_the_readme_has_its_answer(influxdb):
    (question,) = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    enter = sample_events(1)[0]
    exits = [
        replace(enter, kind="exit", seq=n, t_start=n * 10**12, t_end=n * 10**12 + 30 * 10**9)
        for n in range(1, 4)
    ]
    write(sink_of(url=influxdb, database="hard"), exits)
    (series,) = ask(influxdb, question)
    assert series["tags"] == {"activity": "walking"}
    assert series["values"][0][1] == 90.0


def test_a_database_that_is_not_there_is_told_and_nothing_is_lost(influxdb):
    sink = sink_of(url=influxdb, database="none")
    with pytest.raises(SinkUnavailable, match="database not found"):
        write(sink, sample_events(2), looks=9)
    ask(influxdb, "CREATE DATABASE none", post=True)
    assert write(sink, sample_events(2)) == [1, 2]


def test_a_point_beyond_the_retention_is_set_aside_and_the_others_go_on(influxdb):
    ask(influxdb, "CREATE DATABASE short WITH DURATION 1d", post=True)
    now_ns = time.time_ns()
    events = [
        replace(event, t_start=now_ns - age_s * 10**9)
        for event, age_s in zip(sample_events(3), (30, 10 * 86_400, 10), strict=True)
    ]
    sink = sink_of(url=influxdb, database="short")
    assert sorted(write(sink, events, looks=5)) == [1, 2, 3]
    assert sink.counts["set_aside"] == 1
