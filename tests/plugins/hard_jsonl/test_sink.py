import json
import re
import tomllib
from pathlib import Path

import pytest

import hard_jsonl
from hard.api import SinkUnavailable
from hard.testing import check_sink, sample_events
from hard_jsonl import JsonlSink


def sink_to(path):
    return JsonlSink("log", JsonlSink.Config(path=str(path)))


def write(path, events):
    confirmed = []
    sink = sink_to(path)
    sink.open()
    sink.write(events, confirmed.append)
    sink.close()
    return confirmed


def test_it_keeps_the_contract(tmp_path):
    (tmp_path / "file").touch()
    check_sink(
        lambda: sink_to(tmp_path / "events.jsonl"),
        make_unreachable=lambda: sink_to(tmp_path / "file" / "events.jsonl"),
    )


def test_each_event_is_a_line_and_runs_append(tmp_path):
    path = tmp_path / "new" / "folder" / "events.jsonl"
    assert write(path, sample_events(3)) == [1, 2, 3]
    assert write(path, sample_events(2, first_seq=4)) == [4, 5]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[0].items() >= sample_events(1)[0].payload().items()
    assert lines[0]["t_published_ns"] > 0


def test_a_line_torn_by_a_power_cut_is_ended_and_counted(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"seq": 1}\n{"se')
    sink = sink_to(path)
    sink.open()
    sink.write(sample_events(1, first_seq=2), lambda _: None)
    sink.close()
    first, torn, second = path.read_text().splitlines()
    assert (first, torn) == ('{"seq": 1}', '{"se')
    assert json.loads(second)["seq"] == 2
    assert sink.counts == {"torn_line": 1}


def test_a_full_disk_is_unavailable_and_confirms_nothing():
    confirmed = []
    sink = sink_to("/dev/full")
    sink.open()
    with pytest.raises(SinkUnavailable, match=r"'/dev/full'.*No space left"):
        sink.write(sample_events(1), confirmed.append)
    sink.close()
    assert confirmed == []


def test_a_path_that_is_a_folder_is_unavailable(tmp_path):
    sink = sink_to(tmp_path)
    with pytest.raises(SinkUnavailable, match=str(tmp_path)):
        sink.open()
    sink.close()


def test_others_can_not_write_the_file(tmp_path):
    write(tmp_path / "events.jsonl", sample_events(1))
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o007 == 0


def test_the_readme_shows_a_valid_configuration():
    readme = Path(hard_jsonl.__file__).with_name("README.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    settings = tomllib.loads(block)["sinks"]["log"]
    assert settings.pop("plugin") == "jsonl"
    assert JsonlSink.Config(**settings).path == Path("/var/lib/hard/events.jsonl")
