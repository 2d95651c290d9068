"""What the README shows works as shown."""

import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import hard_serial
from hard_serial import SerialSource
from hard_serial.recognition import BAUDS
from tests.imus import FORMATS, numbered

README = Path(hard_serial.__file__).with_name("README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_format_has_a_valid_configuration():
    shown = set()
    for block in blocks("toml"):
        for settings in tomllib.loads(block)["sources"].values():
            assert settings.pop("plugin") == "serial"
            shown.add(SerialSource.Config(**settings).format)
    assert shown == set(FORMATS)


def test_every_setting_and_everything_left_out_is_documented():
    for name in SerialSource.Config.model_fields:
        assert f"`{name}`" in README
    for reason in hard_serial.source._SKIPPED:
        assert f"`{reason}`" in README


def test_the_speeds_are_the_defaults():
    for name, baud in BAUDS.items():
        assert re.search(rf"^\| `{name}` \|.*\| {baud} \|$", README, re.MULTILINE)


def test_a_dump_is_read_from_the_pseudo_terminal_that_the_program_makes(tmp_path):
    frames, _ = numbered("wt901", 500)
    (tmp_path / "dump.bin").write_bytes(b"".join(frames))
    (program,) = blocks("python")
    command = [sys.executable, "-c", program, "dump.bin", "4400"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as feeder:
        path = feeder.stdout.readline().strip()
        source = SerialSource("imu", SerialSource.Config(port=path, format="wt901"))
        emitted, stop = [], threading.Event()

        def emit(message):
            emitted.append(message)
            stop.set()

        source.run(emit, stop)
        feeder.terminate()
    (accel, gyro) = emitted[0]
    assert len(accel) == len(gyro) > 90
