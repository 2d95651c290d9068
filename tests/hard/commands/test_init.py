"""`hard init` at a terminal and without one, with a real broker, a phone and a sensor."""

import contextlib
import json
import re
import signal
import subprocess
import threading
import time
import tomllib

import pytest

from hard.setups import LOCKED
from tests.broker import Broker
from tests.calling import all_shown, at_a_terminal, hard
from tests.imus import Imu

WEARER = ["--source", "simulator", "--no-broker", "--placement", "pocket"]


@pytest.fixture
def broker(tmp_path_factory):
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_with_every_answer_given_it_asks_nobody(tmp_path):
    done = hard("init", *WEARER, "--node", "attic", folder=tmp_path, typed="")
    assert (done.returncode, done.stdout) == (0, "hard.toml: written\n")
    table = tomllib.loads((tmp_path / "hard.toml").read_text())
    assert (table["hard"]["node"], table["model"]["name"]) == ("attic", "pocket-upright")
    assert hard("check", folder=tmp_path).returncode == 0
    assert names(tmp_path) == ["hard.toml"]


def test_without_a_terminal_it_says_which_answers_are_missing(tmp_path):
    done = hard("init", "--source", "sensor-logger", folder=tmp_path, typed="")
    assert done.returncode == 2
    for option in ("--broker HOST[:PORT] or --no-broker", "--placement pocket|waist"):
        assert option in done.stderr
    done = hard(
        *("init", "--broker", "h", "--user", "me", "--source", "sensor-logger"),
        folder=tmp_path,
        typed="",
    )
    assert "--password (the first line of stdin) or --password-file FILE, --platform" in done.stderr
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--source", "radio", "give one of sensor-logger-http, phyphox"),
        ("--placement", "hat", "give one of pocket, waist"),
        ("--timezone", "Berlin", "no time zone 'Berlin': give an IANA name"),
        ("--node", "my home", "up to 64 of A-Z"),
        ("--broker", "a b", "give HOST or HOST:PORT"),
        ("--broker", "h:99999", "'99999' is no port"),
    ],
)
def test_an_answer_that_can_not_be_is_told_with_its_option(tmp_path, option, value, told):
    answers = [*WEARER, option, value]
    if option == "--broker":
        answers.remove("--no-broker")
    done = hard("init", *answers, folder=tmp_path, typed="")
    assert done.returncode == 2
    assert done.stderr.startswith(f"{option} {value!r}: {told}")
    assert names(tmp_path) == []


def test_a_file_that_is_there_is_replaced_with_force_only(tmp_path):
    (tmp_path / "hard.toml").write_text("# mine\n")
    done = hard("init", *WEARER, "--yes", folder=tmp_path, typed="")
    assert done.returncode == 2
    assert "--force replaces it" in done.stderr
    assert (tmp_path / "hard.toml").read_text() == "# mine\n"
    assert hard("init", *WEARER, "--force", folder=tmp_path, typed="").returncode == 0
    assert "# mine" not in (tmp_path / "hard.toml").read_text()


def phone(broker, *more):
    return [
        *("init", "--broker", f"127.0.0.1:{broker.port}", "--source", "sensor-logger"),
        *("--platform", "android", "--placement", "pocket", "--wait", "1", *more),
    ]


def test_the_password_is_tried_and_kept_in_a_file_of_its_own(tmp_path, broker):
    broker.login("me", "correct horse")
    broker.start()
    login = ["--user", "me", "--password"]
    done = hard(*phone(broker, *login), folder=tmp_path, typed="wrong\n")
    assert done.returncode == 1
    assert "refused user 'me'" in done.stderr
    assert "nothing was written: mend what failed" in done.stderr
    assert names(tmp_path) == []
    done = hard(*phone(broker, *login), folder=tmp_path, typed="correct horse\n")
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == ["hard-mqtt-password", "hard.toml"]
    assert "horse" not in (tmp_path / "hard.toml").read_text() + done.stdout + done.stderr
    kept = tmp_path / "hard-mqtt-password"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("correct horse\n", 0o600)
    assert hard("check", folder=tmp_path).returncode == 0
    assert hard("doctor", "--seconds", 1, folder=tmp_path).returncode == 0


def test_a_broker_that_is_away_is_told_and_written_only_when_asked(tmp_path, broker):
    done = hard(*phone(broker), folder=tmp_path, typed="")
    assert (done.returncode, names(tmp_path)) == (1, [])
    assert "FAIL  home: tcp: no MQTT broker at" in done.stderr
    done = hard(*phone(broker, "--yes"), folder=tmp_path, typed="")
    assert (done.returncode, names(tmp_path)) == (1, ["hard.toml"])
    done = hard(*phone(broker, "--no-test", "--force"), folder=tmp_path, typed="")
    assert (done.returncode, done.stdout) == (0, "hard.toml: written\n")
    assert "In Sensor Logger: Settings, Data Streaming" in done.stderr


def test_a_sensor_at_a_serial_port_is_listened_to(tmp_path):
    imu = Imu(tmp_path / "imu", "wt901", 100.0)
    stop = threading.Event()

    def send():
        while not stop.wait(0.02):
            imu.catch_up()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        done = hard(
            *("init", "--no-broker", "--source", "serial", "--serial", tmp_path / "imu"),
            *("--format", "wt901", "--placement", "waist", "--wait", 2),
            folder=tmp_path,
            typed="",
        )
    finally:
        stop.set()
        thread.join()
        imu.unplug()
    assert done.returncode == 0, done.stderr
    assert re.search(r"ok    phone: frames: \d+ readings", done.stderr)
    table = tomllib.loads((tmp_path / "hard.toml").read_text())["sources"]["imu"]
    assert table == {"plugin": "serial", "port": f"{tmp_path}/imu", "format": "wt901"}


# -- at a terminal -------------------------------------------------------------------------------


def until_shown(terminal, text, seen=b""):
    """Read what a terminal shows until a text has come; return all of it."""
    while text not in seen.decode(errors="replace"):
        seen += terminal.read(4096)
    return seen


MESSAGE = {
    "messageId": 1,
    "sessionId": "a",
    "deviceId": "phone-1",
    "payload": [
        {"name": name, "time": 1_700_000_000_000_000_000 + k * 20_000_000, "values": values}
        for k in range(50)
        for name, values in (
            ("totalacceleration", {"x": 0, "y": 0, "z": 9.81}),
            ("gyroscope", {"x": 0, "y": 0, "z": 0}),
        )
    ],
}


def test_a_first_time_at_a_terminal_ends_with_the_phones_message(tmp_path, broker):
    broker.start()
    phone = broker.watch("nothing")
    with at_a_terminal("init", folder=tmp_path) as (process, terminal):
        for question, answer in (
            ("MQTT broker", "nowhere at all"),
            ("give HOST or HOST:PORT", f"127.0.0.1:{broker.port}"),
            ("(TLS)?", ""),
            ("User there", ""),
            ("Sender", "sensor-logger"),
            ("System of the phone", "android"),
            ("Where is it worn?", "pocket"),
            ("Time zone", "Europe/Berlin"),
            ("Name of this machine", "home"),
        ):
            until_shown(terminal, question)
            terminal.write(f"{answer}\n".encode())
        shown = until_shown(terminal, "subscribe:")
        sending = threading.Event()

        def send():
            while not sending.wait(0.1):
                phone.publish("sensor-logger", json.dumps(MESSAGE).encode())

        thread = threading.Thread(target=send)
        thread.start()
        shown = until_shown(terminal, "Write hard.toml?", shown)
        sending.set()
        thread.join()
        terminal.write(b"\n")
        all_shown(terminal)
        assert process.wait(20) == 0
    text = " ".join(shown.decode().split())
    assert " ".join(LOCKED.split()) in text
    assert "topic sensor-logger" in text
    assert "ok phone: message: sensor_logger on topic 'sensor-logger', stream 'phone-1'" in text
    assert hard("check", folder=tmp_path).returncode == 0


def test_enter_goes_on_without_the_phone(tmp_path, broker):
    broker.start()
    began_s = time.monotonic()
    answers = [*phone(broker)[:-2], "--timezone", "UTC", "--node", "home", "--user", ""]
    with at_a_terminal(*answers, folder=tmp_path) as (process, terminal):
        shown = until_shown(terminal, "subscribe:")
        terminal.write(b"\n")
        until_shown(terminal, "Write hard.toml?", shown)
        terminal.write(b"y\n")
        all_shown(terminal)
        assert process.wait(20) == 0
    assert time.monotonic() - began_s < 50  # it would have waited for a minute
    assert names(tmp_path) == ["hard.toml"]


@pytest.mark.parametrize("when", ["Name of this machine", "subscribe:", "Write hard.toml?"])
def test_an_interrupt_leaves_nothing(tmp_path, broker, when):
    broker.start()
    answers = [*phone(broker), "--timezone", "UTC", "--user", ""]
    with at_a_terminal(*answers, folder=tmp_path) as (process, terminal):
        shown = until_shown(terminal, "Name of this machine")
        if when not in shown.decode():
            terminal.write(b"\n")
            until_shown(terminal, when)
        interrupted(process)
        assert "nothing was written" in all_shown(terminal)
        assert process.returncode == 130
    assert names(tmp_path) == []


def interrupted(process):
    """Press Ctrl-C until it ends: one that comes just before Python waits for a line is lost."""
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return
