import json
import subprocess
import sys

from hard.testing import check_sink, sample_events
from hard_stdout import StdoutSink


def test_it_keeps_the_contract():
    check_sink(lambda: StdoutSink("out", StdoutSink.Config()))


def test_each_event_is_a_line(capsys):
    sink, confirmed = StdoutSink("out", StdoutSink.Config()), []
    sink.open()
    sink.write(sample_events(2), confirmed.append)
    sink.close()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["seq"] for line in lines] == confirmed == [1, 2]
    assert lines[0].items() >= sample_events(1)[0].payload().items()


PROGRAM = """
import sys
from hard.api import SinkUnavailable
from hard.testing import sample_events
from hard_stdout import StdoutSink

sys.stdin.readline()  # until the reader is gone
sink, confirmed = StdoutSink("out", StdoutSink.Config()), []
sink.open()
try:
    sink.write(sample_events(1), confirmed.append)
except SinkUnavailable as gone:
    print(gone, confirmed, file=sys.stderr)
sink.close()
"""


def test_a_reader_that_went_away_is_unavailable_and_confirms_nothing():
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        process.stdout.close()
        _, said = process.communicate("go on\n")
    assert "can't write to stdout" in said.splitlines()[0]
    assert said.splitlines()[0].endswith("[]")
