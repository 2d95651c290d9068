"""The kit passes those who keep the contract and names what the others break."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ConfigDict

from hard.api import (
    Annotation,
    Declared,
    PluginConfig,
    SampleBatch,
    Sink,
    SinkUnavailable,
    Source,
    SourceUnavailable,
)
from hard.testing import check_message, check_sink, check_source, sample_events, sample_state

BATCH = SampleBatch(
    "wrist-1",
    "accel",
    np.arange(3, dtype=np.int64),
    np.zeros((3, 3), np.float32),
    Declared("m/s2"),
)


def of(plugin):
    return lambda: plugin("test", plugin.Config())


class GoodSource(Source[PluginConfig]):
    Config = PluginConfig

    def run(self, emit, stop):
        emit([BATCH, Annotation("wrist-1", 1, "walking")])
        stop.wait(10)


def test_a_source_that_keeps_the_contract_passes():
    assert len(check_source(of(GoodSource))) == 2


def test_a_source_may_need_to_be_provoked():
    asked = threading.Semaphore(0)

    class Answering(GoodSource):
        def run(self, emit, stop):
            while not stop.is_set():
                if asked.acquire(timeout=0.1):
                    emit([BATCH])

    assert check_source(of(Answering), provoke=asked.release)


def test_a_source_may_end_by_itself():
    class Ending(GoodSource):
        def run(self, emit, _stop):
            emit([BATCH])

    assert check_source(of(Ending)) == [[BATCH], [BATCH]]


leaked_files = []
released = threading.Event()


@pytest.fixture(autouse=True)
def what_is_left_on_purpose_ends_with_the_test():
    released.clear()
    yield
    released.set()
    while leaked_files:
        os.close(leaked_files.pop())


def leak_a_file():
    leaked_files.append(os.open(os.devnull, os.O_RDONLY))


class OpensAtOnce(GoodSource):
    def __init__(self, *args):
        super().__init__(*args)
        leak_a_file()


class LeavesFile(GoodSource):
    def run(self, emit, stop):
        leak_a_file()
        super().run(emit, stop)


class LeavesThread(GoodSource):
    def run(self, emit, stop):
        threading.Thread(target=released.wait, args=(10,), name="forgotten").start()
        super().run(emit, stop)


class EmitsElsewhere(GoodSource):
    def run(self, emit, _stop):
        other = threading.Thread(target=emit, args=([BATCH],))
        other.start()
        other.join()


class Deaf(GoodSource):
    def run(self, emit, _stop):
        emit([BATCH])
        threading.Event().wait(0.6)


class Silent(GoodSource):
    def run(self, _emit, stop):
        stop.wait(10)


class Unavailable(GoodSource):
    def run(self, _emit, _stop):
        raise SourceUnavailable("no device")


class Foreign(GoodSource):
    api_version = 0


class LaxConfig(PluginConfig):
    model_config = ConfigDict(extra="ignore")


class Lax(GoodSource):
    Config = LaxConfig


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (OpensAtOnce, "__init__.*left files open.*/dev/null"),
        (LeavesFile, "first run left files open.*/dev/null"),
        (LeavesThread, "first run left threads behind.*forgotten"),
        (EmitsElsewhere, "another thread"),
        (Deaf, "after stop"),
        (Silent, "nothing was emitted"),
        (Unavailable, "no device"),
        (Foreign, "api_version 0"),
        (Lax, "unknown keys"),
    ],
)
def test_a_source_that_breaks_the_contract_is_told_how(source, fault):
    with pytest.raises(AssertionError, match=fault):
        check_source(of(source), timeout_s=0.7)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"t": np.arange(3.0)}, "t is float64"),
        ({"t": np.arange(3, dtype=np.int32)}, "t is int32"),
        ({"t": np.arange(2)}, "shape"),
        ({"values": np.zeros((3, 3))}, "values are float64"),
        ({"values": np.zeros((3, 2), np.float32)}, "shape"),
        ({"values": np.full((3, 3), np.nan, np.float32)}, "NaN"),
        ({"t": np.array([], np.int64)}, "empty batch"),
        ({"sensor": "magnetometer"}, "unknown sensor"),
        ({"sensor": "gyro"}, "'m/s2' is no unit of gyro"),
        ({"stream": "a/b"}, "unsafe stream id"),
        ({"stream": "a\n"}, "unsafe stream id"),
        ({"declared": Declared("g", max_delay_s=-1.0)}, "negative"),
    ],
)
def test_a_batch_that_is_not_well_formed_is_told_how(changes, fault):
    check_message([BATCH])
    with pytest.raises(AssertionError, match=fault):
        check_message([replace(BATCH, **changes)])


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ([], "empty message"),
        (["accel"], "emitted 'accel'"),
        ([Annotation("a", 1.5, "x")], "not ns as an int"),
        ([Annotation("a", 1, None)], "text"),
    ],
)
def test_a_message_of_something_else_is_told_how(message, fault):
    with pytest.raises(AssertionError, match=fault):
        check_message(message)


class GoodSink(Sink[PluginConfig]):
    """Confirms later, when drained."""

    Config = PluginConfig
    waiting = ()

    def open(self):
        self.file = os.open(os.devnull, os.O_WRONLY)

    def write(self, events, confirm):
        self.waiting = (*self.waiting, *((event.seq, confirm) for event in events))

    def drain(self, _timeout_s):
        for seq, confirm in self.waiting:
            confirm(seq)
        self.waiting = ()

    def close(self):
        if getattr(self, "file", None) is not None:
            os.close(self.file)
        self.file = None


class Absent(GoodSink):
    def open(self):
        super().open()
        raise SinkUnavailable("no receiver")


def test_a_sink_that_keeps_the_contract_passes():
    check_sink(of(GoodSink), make_unreachable=of(Absent))


class ConfirmsTooMuch(GoodSink):
    def write(self, events, confirm):
        super().write(events, confirm)
        confirm(99)


class ConfirmsNothing(GoodSink):
    def drain(self, _timeout_s):
        self.waiting = ()


class ConfirmsTwice(GoodSink):
    def drain(self, timeout_s):
        for seq, confirm in self.waiting:
            confirm(seq)
        super().drain(timeout_s)


class LeavesFileOpen(GoodSink):
    def open(self):
        super().open()
        leak_a_file()


class LeavesFileOpenWhenItFails(Absent):
    def open(self):
        leak_a_file()
        super().open()


class FailsToClose(GoodSink):
    def close(self):
        os.close(self.file)


@pytest.mark.parametrize(
    ("sink", "fault"),
    [
        (ConfirmsTooMuch, "writing nothing confirmed"),
        (ConfirmsNothing, r"confirmed \[\]"),
        (ConfirmsTwice, "written .*, confirmed"),
        (LeavesFileOpen, "open … close left files open"),
    ],
)
def test_a_sink_that_breaks_the_contract_is_told_how(sink, fault):
    with pytest.raises(AssertionError, match=fault):
        check_sink(of(sink))


def test_a_sink_whose_close_needs_an_open_fails():
    with pytest.raises(AttributeError):
        check_sink(of(FailsToClose))


@pytest.mark.parametrize(
    ("sink", "fault"),
    [
        (GoodSink, "a receiver that is not there"),
        (LeavesFileOpenWhenItFails, "a failed open and close left files open"),
    ],
)
def test_a_failed_open_is_checked(sink, fault):
    with pytest.raises(AssertionError, match=fault):
        check_sink(of(GoodSink), make_unreachable=of(sink))


def test_sample_events_are_numbered_and_distinct():
    events = sample_events(4, first_seq=7)
    assert [event.seq for event in events] == [7, 8, 9, 10]
    assert len({event.id for event in events}) == 4
    assert sample_state().payload()["activity"] == "walking"
