"""The `file` source as the daemon runs it."""

import logging
import re
import subprocess
import sys
import threading
import tomllib
import tracemalloc
from pathlib import Path

import pytest

import hard_file
from hard.api import UnusableInput
from hard.testing import check_message, check_source
from hard_file import FileConfig, FileSource, open_recording

HEADER = "t_ns,accel_x,accel_y,accel_z\n"


def write(tmp_path, rows, header=HEADER):
    path = tmp_path / "walk.csv"
    path.write_text(header + rows, encoding="utf-8")
    return path


def run(path, **options):
    source = FileSource("walk", FileConfig(path=str(path), **options))
    emitted = []
    source.run(emitted.append, threading.Event())
    return source, emitted


def test_it_keeps_the_contract_of_sources(tmp_path):
    path = write(tmp_path, "".join(f"{i},0,0,9.8\n" for i in range(30_000)))
    check_source(lambda: FileSource("walk", FileConfig(path=path)))


MOTIONSENSE = ",attitude.roll," + ",".join(
    f"{name}.{axis}" for name in ("gravity", "rotationRate", "userAcceleration") for axis in "xyz"
)
PLAIN = "accel_x,accel_y,accel_z,gyro_x,gyro_y,gyro_z"
ALL = {
    "rate_hz": 50.0,
    "accel_unit": "m/s2",
    "gyro_unit": "deg/s",
    "platform": "android",
    "start": "2024-05-01T09:30:00Z",
}


@pytest.mark.parametrize(
    ("header", "row", "options", "unused"),
    [
        (f"t_ns,{PLAIN}", "1,0,0,9.8,0,0,0", ALL, ["rate_hz", "start"]),
        (f"t_s,{PLAIN}", "0.1,0,0,9.8,0,0,0", ALL, ["rate_hz"]),
        (PLAIN, "0,0,9.8,0,0,0", ALL, []),
        ("accel_x,accel_y,accel_z", "0,0,9.8", ALL, ["gyro_unit"]),
        (MOTIONSENSE, "0,0,0,0,-1,0,0,0,0,0,0", ALL,
         ["accel_unit", "gyro_unit", "platform", "rate_hz"]),
        ("0,0,9.8,0,0,0", "0,0,9.8,0,0,0", ALL | {"format": "text"}, []),
        (f"t_ns,{PLAIN}", "1,0,0,9.8,0,0,0", {}, []),
    ],
    ids=["stamps", "relative", "no stamps", "no gyroscope", "MotionSense", "text", "no options"],
)  # fmt: skip
def test_options_that_change_nothing_are_told_and_no_others(tmp_path, header, row, options, unused):
    path = write(tmp_path, f"{row}\n" * 3, f"{header}\n")
    source = FileSource("walk", FileConfig(path=path, **options))
    assert [key for key, _ in source.unused()] == unused


def test_of_a_recording_that_cannot_be_opened_no_option_is_called_unused(tmp_path):
    path = write(tmp_path, "1,2\n", "a,b\n")
    assert list(FileSource("walk", FileConfig(path=path, **ALL)).unused()) == []


def test_the_whole_file_is_emitted_and_the_source_returns(tmp_path):
    _, emitted = run(write(tmp_path, "".join(f"{i},0,0,9.8\n" for i in range(30_000))))
    for message in emitted:
        check_message(message)
    assert [t for message in emitted for t in message[0].t.tolist()] == list(range(30_000))


def test_bad_rows_are_counted_and_each_kind_said_once(tmp_path, caplog):
    bad = "2,x,0,0\n3,nan,0,0\n4,y,0,0\n5,1\n99999999999999999999,0,0,0\n"
    with caplog.at_level(logging.WARNING, "hard.walk"):
        source, emitted = run(write(tmp_path, f"1,0,0,9.8\n{bad}6,0,0,9.8\n"))
    assert [t for message in emitted for t in message[0].t.tolist()] == [1, 6]
    assert source.counts == {
        "not_a_number": 2,
        "not_finite": 1,
        "wrong_columns": 1,
        "time_out_of_range": 1,
    }
    assert len(caplog.records) == 4


def test_format_and_ignored_columns_are_said_once(tmp_path, caplog):
    path = write(tmp_path, "1,0,0,9.8,5\n2,0,0,9.8,5\n", HEADER.strip() + ",magnet_x\n")
    with caplog.at_level(logging.INFO, "hard.walk"):
        run(path)
    assert [record.getMessage() for record in caplog.records] == [
        f"walk: plain: {open_recording(path).info.reason}",
        "walk: ignored: 'magnet_x'",
    ]


def test_a_bad_file_is_refused_before_anything_is_emitted(tmp_path):
    emitted = []
    source = FileSource("walk", FileConfig(path=write(tmp_path, "1,x,0,0\n")))
    with pytest.raises(UnusableInput, match="not one usable row"):
        source.run(emitted.append, threading.Event())
    assert emitted == []


def test_it_stops_between_two_blocks(tmp_path):
    path = write(tmp_path, "".join(f"{i},0,0,9.8\n" for i in range(100_000)))
    stop, emitted = threading.Event(), []

    def emit(message):
        emitted.append(message)
        stop.set()

    FileSource("walk", FileConfig(path=path)).run(emit, stop)
    assert len(emitted) == 1


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak_bytes(n):
        path = write(tmp_path, "".join(f"{i},0.125,-0.25,9.8125\n" for i in range(n)))
        source = FileSource("walk", FileConfig(path=path))
        tracemalloc.start()
        try:
            source.run(lambda _message: None, threading.Event())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = peak_bytes(80_000), peak_bytes(400_000)
    assert many < 1.2 * few
    assert many < 8_000_000


def test_reading_needs_no_data_frame_library(tmp_path):
    path = write(tmp_path, "1,0,0,9.8\n")
    script = (
        "import sys, hard_file, pathlib;"
        f"list(hard_file.open_recording(pathlib.Path({str(path)!r})).messages());"
        "print(*sorted({'pandas', 'pyarrow', 'polars', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def readme():
    return Path(hard_file.__file__).with_name("README.md").read_text(encoding="utf-8")


def test_the_readmes_configuration_is_valid():
    (block,) = re.findall(r"```toml\n(.*?)```", readme(), re.DOTALL)
    for settings in tomllib.loads(block)["sources"].values():
        assert settings.pop("plugin") == "file"
        FileConfig.model_validate(settings)


def test_the_readme_names_every_option_and_every_counter():
    text = readme()
    counters = ["wrong_columns", "long_line", "not_a_number", "not_finite", "time_out_of_range"]
    assert [
        name for name in (*FileConfig.model_fields, *counters) if f"| `{name}` |" not in text
    ] == []


def test_the_readmes_example_file_and_script_run(tmp_path):
    (example,) = re.findall(r"```csv\n(.*?)```", readme(), re.DOTALL)
    (script,) = re.findall(r"```python\n(.*?)```", readme(), re.DOTALL)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "walk.csv").write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("plain the header names")
    assert "Annotation(stream='walk', t=1700000000000000000, text='standing')" in done.stdout


def test_probing_tells_the_format_and_why_or_what_is_wrong(tmp_path):
    path = write(tmp_path, "1,0,0,9.8,5\n", HEADER.strip() + ",magnet_x\n")
    stages = list(FileSource("walk", FileConfig(path=str(path))).probe(1.0))
    assert [(stage.name, stage.ok) for stage in stages] == [("format", True), ("ignored", True)]
    assert stages[0].detail.startswith("plain: the header names accel_x")
    assert stages[1].detail == "ignored: 'magnet_x'"
    (gone,) = FileSource("walk", FileConfig(path=str(tmp_path / "gone.csv"))).probe(1.0)
    assert (gone.ok, "no such file" in gone.detail) == (False, True)


LINES = 80_000  # more than two MiB of each
LONG = {
    "data_1600_accel_phone.txt": "".join(f"1600,A,{n + 1},0.1,0.2,9.8;\n" for n in range(LINES)),
    "Phones_accelerometer.csv": "Index,Arrival_Time,Creation_Time,x,y,z,User,Model,Device,gt\n"
    + "".join(f"{n},0,{n},0.1,0.2,9.8,a,nexus4,nexus4_1,stand\n" for n in range(LINES)),
    "export.json": "["
    + '{"sensor": "TotalAcceleration", "time": "1", "x": "0", "y": "0", "z": "9.8"},\n' * LINES,
}


@pytest.mark.parametrize("name", list(LONG))
def test_it_stops_within_what_makes_one_message_or_is_looked_through_first(tmp_path, name):
    class SoonSet(threading.Event):
        looks = 0

        def is_set(self):
            self.looks += 1
            return self.looks > 1

    path = tmp_path / name
    path.write_text(LONG[name] + "broken at its end\n", encoding="utf-8")
    source = FileSource("walk", FileConfig(path=path))
    source.run(lambda message: pytest.fail(f"emitted {message}"), SoonSet())
    assert source.counts == {}  # its end was never read


def test_it_stops_within_a_stretch_of_bad_rows(tmp_path):
    source = FileSource("walk", FileConfig(path=str(write(tmp_path, ",,,\n" * 1000))))
    stop = threading.Event()
    stop.set()
    source.run(lambda message: pytest.fail(f"emitted {message}"), stop)
    assert source.counts.total() <= 1
