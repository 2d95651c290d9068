"""Lines of text: each shape is told by itself, damage and chatter are told from readings."""

import numpy as np
import pytest

from hard_formats.text_lines import Razor, Text, TextOptions

A, W = [0.5, -1.25, 9.75], [1.0, 2.0, -3.0]
SIX = b"0.5,-1.25,9.75,1,2,-3"


def fed(*lines, **options):
    framing = Text(TextOptions(**options))
    return framing.feed(b"\n" + b"\n".join(lines) + b"\n"), framing.counts


@pytest.mark.parametrize(
    "line",
    [
        SIX,
        b"0.5, -1.25, 9.75, 1, 2, -3\r",
        b"0.5\t-1.25\t9.75\t1\t2\t-3\t",
        b" 0.5 -1.25 9.75 1 2 -3",
        b"0.5;-1.25;9.75;1e0;+2.;-.3E1",
        b"AccelX:0.5,AccelY:-1.25,AccelZ:9.75,GyroX:1,GyroY:2,GyroZ:-3",
        b"acc_x: 0.5\tacc_y: -1.25\tacc_z: 9.75\tgyr_x: 1\tgyr_y: 2\tgyr_z: -3\ttemp: 21",
        b"ax=0.5 ay=-1.25 az=9.75 gx=1 gy=2 gz=-3",
        b'{"ax": 0.5, "ay": -1.25, "az": 9.75, "gx": 1, "gy": 2, "gz": -3}',
        b'{"t": 1, "accel": [0.5, -1.25, 9.75], "gyro": [1, 2, -3]}',
        b'{"Acc": {"x": 0.5, "y": -1.25, "z": 9.75}, "gyr": {"x": 1, "y": 2, "z": -3}}',
    ],
)
def test_the_shape_of_a_line_is_recognised(line):
    readings, counts = fed(*[line] * 4)
    assert readings.accel.tolist() == [A] * 4
    assert readings.gyro.tolist() == [W] * 4
    assert readings.index.tolist() == [0, 1, 2, 3]
    assert not counts


def test_three_numbers_are_an_accelerometer_alone():
    readings, _ = fed(*[b"0.5,-1.25,9.75"] * 3)
    assert readings.accel.tolist() == [A] * 3
    assert readings.gyro is None


def test_the_raw_counts_of_an_mpu6050_come_in_the_declared_unit():
    lines = [b"a/g:\t0\t-8192\t16384\t131\t0\t-262"] * 3
    readings, _ = fed(*lines, accel_unit="g", gyro_unit="deg/s")
    assert readings.accel[0].tolist() == [0, -0.5, 1]
    assert readings.gyro[0].tolist() == [1, 0, -2]
    readings, _ = fed(*lines)
    assert np.allclose(readings.accel[0], [0, -4.903325, 9.80665])
    assert np.allclose(readings.gyro[0], np.radians([1, 0, -2]))
    readings, _ = fed(*lines, accel_unit="g", accel_scale=1 / 8192)
    assert readings.accel[0].tolist() == [0, -1, 2]


def test_columns_scales_and_separator_are_as_told():
    columns = ("-", "gx", "gy", "gz", "-", "ax", "ay", "az")
    readings, _ = fed(
        *[b"17|1|2|-3|x0|0.5|-1.25|9.75".replace(b"x", b"")] * 3,
        columns=columns,
        separator="|",
        accel_scale=2.0,
        gyro_scale=0.5,
    )
    assert readings.accel[0].tolist() == [1.0, -2.5, 19.5]
    assert readings.gyro[0].tolist() == [0.5, 1, -1.5]


def test_what_is_declared_is_what_was_configured():
    declared = Text(TextOptions(accel_unit="g", gyro_unit="deg/s")).declared
    assert (declared["accel"].unit, declared["gyro"].unit) == ("g", "deg/s")


def test_the_first_line_is_likely_half_a_one_and_left_out():
    framing = Text()
    readings = framing.feed(b"5,9.75,1\n" + (SIX + b"\n") * 3)
    assert len(readings) == 3
    assert not framing.counts


def test_boot_chatter_is_counted_and_never_a_reading():
    chatter = [b"Initializing I2C...", b"MPU6050 ok: 1", b"offsets: -76 -2359", b"1,2,3", b">" * 99]
    readings, counts = fed(*chatter, *[SIX] * 5)
    assert readings.accel.tolist() == [A] * 5
    assert counts == {"bad_line": 4, "other_layout": 1}


def test_half_a_line_is_no_reading_of_another_kind():
    readings, counts = fed(*[SIX] * 3, b"0.5,-1.25,9.7", SIX + b"," + SIX, SIX)
    assert readings.accel.tolist() == [A] * 4
    assert counts == {"other_layout": 1, "bad_line": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"0.5,nan,9.75,1,2,-3",
        b"0.5,inf,9.75,1,2,-3",
        b"0.5,1e999,9.75,1,2,-3",
        b"0.5,1_0,9.75,1,2,-3",
        b"0.5,0x10,9.75,1,2,-3",
        b"0.5,1.2.3,9.75,1,2,-3",
        b"0.5,,9.75,1,2",
        b'{"ax": NaN, "ay": 1, "az": 1}',
        b'{"ax": true, "ay": 1, "az": 1}',
        b'{"ax": "1", "ay": 1, "az": 1}',
        b'{"accel": [1, 2]}',
        b'{"accel": [[1], 2, 3]}',
        b"{" * 3000,
        b'{"a":' * 800,
        b"ax:1,ay:2",
        b"a/g: 1 2 3",
        b"\xff\xfe\x00",
        b"\xc2\xb2,1,2",
    ],
)
def test_a_malformed_line_is_counted(line):
    readings, counts = fed(*[SIX] * 3, line, SIX)
    assert len(readings) == 4
    assert counts == {"bad_line": 1}


def test_the_devices_own_error_is_counted_as_such():
    _, counts = fed(*[SIX] * 3, b"ERR: IMU read failed (-1)")
    assert counts == {"device_error": 1}


def razor(*lines):
    framing = Razor()
    return framing.feed(b"\r\n" + b"\r\n".join(lines) + b"\r\n"), framing.counts


ACC, MAG, GYR = b"#A-C=128.00,-64.00,-256.00", b"#M-C=1.00,2.00,3.00", b"#G-C=100.00,0.00,-10.00"


def test_razor_counts_are_g_of_the_negated_sign_and_degrees_per_second():
    readings, counts = razor(ACC, MAG, GYR, ACC, MAG, GYR)
    assert readings.accel.tolist() == [[0.5, -0.25, -1]] * 2
    assert np.allclose(readings.gyro, [[6.957, 0, -0.6957]] * 2)
    assert (Razor.declared["accel"].unit, Razor.declared["accel"].sign) == ("g", -1)
    assert not counts


def test_razor_never_joins_two_readings():
    readings, counts = razor(ACC, MAG, b"#G-C=100.00,0.", b"#A", MAG, GYR, ACC, MAG, GYR)
    assert len(readings) == 1
    assert counts == {"bad_line": 2}
