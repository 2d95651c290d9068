import json
import re
import subprocess
import sys
import time
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

import hard_exec
from hard.api import SinkUnavailable
from hard.eventlog import EventLog
from hard.testing import check_sink, sample_events
from hard_exec import ExecSink

PATIENCE_S = 20.0
README = Path(hard_exec.__file__).with_name("README.md").read_text("utf-8")
ANSWERS = "import json, sys\nfor line in sys.stdin: print(json.loads(line)['seq'], flush=True)"
DEAF = "import time\ntime.sleep(600)"


def sink_of(*command, **config):
    return ExecSink("own", ExecSink.Config(command=[str(part) for part in command], **config))


def python(program, *arguments, **config):
    return sink_of(sys.executable, "-c", program, *arguments, **config)


@pytest.fixture
def opened():
    sinks = []

    def open_(sink):
        sinks.append(sink)
        sink.open()
        return sink

    yield open_
    for sink in sinks:
        sink.close()


def until(told):
    """Wait for what another process does."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := told()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return found


def unavailable(step):
    """Do it again and again until it raises; return why."""
    reasons = []

    def told():
        try:
            step()
        except SinkUnavailable as error:
            reasons.append(str(error))
        return reasons

    return until(told)[0]


@pytest.mark.parametrize("ack", [False, True])
def test_it_keeps_the_contract(ack):
    check_sink(
        lambda: python(ANSWERS, ack=ack),
        make_unreachable=lambda: sink_of("no-such-program-anywhere"),
    )


def test_each_event_is_a_line_of_its_input_and_the_end_is_its_end(tmp_path, opened):
    path = tmp_path / "got"
    sink, confirmed = opened(sink_of("dd", f"of={path}", "status=none")), []
    sink.write(sample_events(3), confirmed.append)
    assert confirmed == [1, 2, 3]
    sink.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3]
    assert lines[0].items() >= sample_events(1)[0].payload().items()


def test_no_shell_sees_the_arguments(tmp_path, opened):
    path = tmp_path / "a name; touch $HOME *"
    sink = sink_of("dd", f"of={path}", "status=none")
    opened(sink).write(sample_events(1), lambda _: None)
    sink.close()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_with_answers_an_event_is_confirmed_by_its_answer_only(opened):
    program = "import sys\nsys.stdin.readline(); print(1, flush=True)\nfor line in sys.stdin: pass"
    sink, confirmed = opened(python(program, ack=True, ack_timeout_s=0.5)), []
    sink.write(sample_events(2), confirmed.append)
    until(lambda: confirmed == [1])
    assert "not answered an event for 0.5 s: it must print its seq" in unavailable(sink.check)
    assert confirmed == [1]


def test_an_answer_to_what_was_not_asked_is_counted_and_confirms_nothing(opened):
    program = (
        "import sys\nprint('hello', 99, flush=True); print(99)\n"
        "for line in sys.stdin: print(1, flush=True)"
    )
    sink, confirmed = opened(python(program, ack=True)), []
    sink.write(sample_events(1), confirmed.append)
    sink.drain(PATIENCE_S)
    assert confirmed == [1]
    assert sink.counts == {"bad_acks": 2}


def test_a_program_that_does_not_read_is_unavailable_and_ended(opened):
    sink, confirmed = opened(python(DEAF, grace_s=0.1)), []
    sink.write_timeout_s = 0.5
    seq = 1

    def write():
        nonlocal seq
        sink.write(sample_events(100, seq), confirmed.append)
        seq += 100

    assert "has not read its input" in unavailable(write)
    assert len(confirmed) > 50  # what the pipe holds
    assert confirmed == list(range(1, len(confirmed) + 1))
    began_s = time.monotonic()
    sink.close()
    assert time.monotonic() - began_s < PATIENCE_S / 2


def test_a_program_that_ends_is_unavailable_and_what_it_said_is_logged(opened, caplog):
    caplog.set_level("INFO")
    sink = opened(python("import sys\nsys.stdin.readline()\nsys.exit('no \x1b[31mluck')"))
    sink.write(sample_events(1), lambda _: None)
    assert "does not run any more (it ended with code 1)" in unavailable(sink.check)
    assert r"own: 'no \x1b[31mluck'" in caplog.text


def test_a_program_that_ends_at_once_never_seems_to_be_there():
    sink = sink_of("false", grace_s=0.0)

    def open_again():
        sink.close()
        sink.open()

    assert "it ended with code 1" in unavailable(open_again)
    sink.close()


# Broken, it notes its start and ends at once; mended, it keeps what it is given and answers.
MENDED_LATER = r"""
printf x >> "$0/starts"
[ -e "$0/mended" ] || exit 1
tee -a "$0/got" | sed -un 's/.*"seq":\([0-9]*\),.*/\1/p'
"""


def mended_later(folder, **config):
    return sink_of("sh", "-c", MENDED_LATER, folder, ack=True, **config)


def test_the_budget_of_restarts_is_kept_and_the_events_wait_until_it_is_whole_again(tmp_path):
    window_s = 3.0
    sink = mended_later(tmp_path, max_restarts=2, restart_window_s=window_s)
    log = EventLog(tmp_path / "events.db")
    cursor = log.cursor("own", "oldest")
    log.append(sample_events(10))
    assert log.flush(PATIENCE_S)
    began_s, reasons = time.monotonic(), []

    def delivered():
        """Make an attempt as the sink's thread does, but for the pause before the next."""
        cursor.rewind()
        try:
            sink.open()
            sink.write(cursor.read(100), cursor.confirm)
            return until(lambda: sink.check() or cursor.backlog == 0)
        except SinkUnavailable as error:
            reasons.append(str(error))
            return False
        finally:
            sink.close()

    while sink.trouble is None:
        assert not delivered()
    assert (tmp_path / "starts").read_text() == "xxx"
    assert cursor.backlog == 10
    assert "failed: 'sh' was started again 2 times within 3 s, is left alone" in sink.trouble
    assert "mend it" in sink.trouble.rpartition(": ")[2]  # what `hard doctor` advises
    (tmp_path / "mended").touch()
    until(delivered)
    assert time.monotonic() >= began_s + window_s
    assert (tmp_path / "starts").read_text() == "xxxx"
    assert sink.trouble is None
    assert sink.counts["budget_used_up"] == 1
    assert len(set(reasons[3:])) == 1  # in the same words, which are logged once
    got = [json.loads(line)["seq"] for line in (tmp_path / "got").read_text().splitlines()]
    assert got == list(range(1, 11))
    log.close()


def test_a_program_that_ends_now_and_then_has_its_budget_again_in_the_next_window(tmp_path):
    (tmp_path / "mended").touch()
    sink = mended_later(tmp_path, max_restarts=1, restart_window_s=2.0)
    for _ in range(2):
        sink.open()
        sink.close()
    assert "left alone" in unavailable(sink.open)

    def opened_again():
        with suppress(SinkUnavailable):
            sink.open()
            return True

    until(opened_again)
    assert sink.trouble is None
    sink.close()


def test_writing_to_a_program_that_has_gone_says_how_it_ended(opened):
    sink = opened(python("import os, time\ntime.sleep(0.5)\nos.kill(os.getpid(), 9)"))
    said = unavailable(lambda: sink.write(sample_events(1), lambda _: None))
    assert "signal 9 ended it" in said


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_a_stubborn_program_is_killed_with_all_that_it_started(opened, caplog):
    caplog.set_level("INFO")
    sink = opened(python(STUBBORN, grace_s=0.1))
    said = until(lambda: re.search(r"own: '(\d+) (\d+)'", caplog.text))
    sink.close()
    until(lambda: not any(is_running(int(number)) for number in said.groups()))


ESCAPING = """
import os, subprocess, sys, time
code = "import os, sys, time; os.setsid(); print(os.getpid(), file=sys.stderr, flush=True)"
code += "; os.fork() or os.setsid(); print(os.getpid(), file=sys.stderr, flush=True)"
code += "; time.sleep(600)"
if os.fork() == 0:  # its parent ends at once: init has it
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    os._exit(0)
os.wait()
for line in sys.stdin: pass
"""


def test_what_left_the_session_and_the_family_is_ended_too(opened, caplog):
    caplog.set_level("INFO")
    sink = opened(python(ESCAPING))
    until(lambda: len(re.findall(r"own: '\d+'", caplog.text)) == 3)
    numbers = set(map(int, re.findall(r"own: '(\d+)'", caplog.text)))
    assert len(numbers) == 2
    assert all(map(is_running, numbers))
    other = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        sink.close()
        until(lambda: not any(map(is_running, numbers)))
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def is_running(number):
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # whoever adopted it has not looked yet


def test_a_descendant_that_left_the_group_does_not_hold_up_the_end(opened):
    program = (
        "import subprocess, sys\n"
        "subprocess.Popen(['sleep', '5'], start_new_session=True)\n"
        "for line in sys.stdin: pass"
    )
    sink = opened(python(program, grace_s=5.0))
    sink.write(sample_events(1), lambda _: None)
    began_s = time.monotonic()
    sink.close()
    assert time.monotonic() - began_s < 4.0


def test_a_flood_on_stderr_neither_blocks_the_program_nor_fills_the_log(opened, caplog):
    caplog.set_level("INFO")
    program = (
        "import sys\nsys.stdin.readline()\n"
        "for n in range(50_000): print('x' * 50, file=sys.stderr)\n"
        "print('y' * 100_000, file=sys.stderr)\nprint(1, flush=True)\nsys.stdin.read()"
    )
    sink, confirmed = opened(python(program, ack=True)), []
    sink.write(sample_events(1), confirmed.append)
    sink.drain(PATIENCE_S)
    assert confirmed == [1]
    until(lambda: sink.counts["unlogged_lines"] > 49_900)
    assert len(caplog.records) <= 62


def test_the_program_does_not_inherit_what_systemd_tells_the_daemon(opened, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("MINE", "1")
    program = "import os, sys\nprint(*sorted(os.environ), file=sys.stderr)\nsys.stdin.read()"
    opened(python(program))
    until(lambda: "MINE" in caplog.text)
    assert "NOTIFY_SOCKET" not in caplog.text


def test_drain_is_over_when_the_last_answer_has_been_confirmed(opened):
    confirmed = []

    def confirms_slowly(seq):
        time.sleep(0.05)
        confirmed.append(seq)

    sink = opened(python(ANSWERS, ack=True))
    sink.write(sample_events(3), confirms_slowly)
    sink.drain(PATIENCE_S)
    assert confirmed == [1, 2, 3]


def test_a_probe_says_whether_the_program_is_there():
    (found,) = sink_of("cat").probe(1.0)
    assert found.ok
    (missing,) = sink_of("no-such-program-anywhere").probe(1.0)
    assert not missing.ok
    assert "install it" in missing.remedy


def test_the_readme_shows_a_valid_configuration_and_a_program_that_works(tmp_path, opened, caplog):
    caplog.set_level("INFO")
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    table = tomllib.loads(block)["sinks"]["own"]
    assert table.pop("plugin") == "exec"
    assert ExecSink.Config(**table).command[0] == "/usr/local/bin/on-activity"
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "on_activity.py"
    path.write_text(program, "utf-8")
    sink, confirmed = opened(sink_of(sys.executable, path, ack=True)), []
    sink.write(sample_events(3), confirmed.append)
    sink.drain(PATIENCE_S)
    assert confirmed == [1, 2, 3]
    assert "conformance enter sitting" in caplog.text
