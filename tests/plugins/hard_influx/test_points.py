import math
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.testing import sample_events
from hard_influx.points import event_line, point

TEXTS = st.text(max_size=8) | st.text(alphabet='a\\,= "\n\t', max_size=8)
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def parsed(line):
    """Read a line as the reference describes it; return measurement, tags, fields, time."""
    measurement, at = until(line, 0, ", ")
    tags, fields = {}, {}
    while line[at] == ",":
        name, at = until(line, at + 1, "=")
        tags[unescaped(name, ",= ")], at = until(line, at + 1, ", ")
    while not fields or line[at] == ",":
        name, at = until(line, at + 1, "=")
        fields[unescaped(name, ",= ")], at = field(line, at + 1)
    assert line[at] == " "
    read = {name: unescaped(value, ",= ") for name, value in tags.items()}
    return unescaped(measurement, ", "), read, fields, int(line[at + 1 :])


def until(line, at, ends):
    """Return what comes before the first of these that is not escaped, and where that is."""
    begin = at
    while line[at] not in ends:
        at += 2 if line[at] == "\\" else 1
    return line[begin:at], at


def unescaped(text, special):
    return re.sub(rf"\\([{special}])", r"\1", text)


def field(line, at):
    if line[at] == '"':
        text, at = until(line, at + 1, '"')
        return re.sub(r"\\([\\\"])", r"\1", text), at + 1
    text, at = until(line, at, ", ")
    return (int(text[:-1]) if text.endswith("i") else float(text)), at


def kept(text):
    """What of a name or a tag the protocol can carry."""
    plain = CONTROLS.sub(" ", text)
    return re.sub(r"\\+(?=[,= ]|$)", "", plain)


def names():
    return TEXTS.filter(kept)


@settings(max_examples=100)
@given(
    measurement=names(),
    tags=st.dictionaries(names(), TEXTS, max_size=3),
    fields=st.dictionaries(
        names(),
        TEXTS | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
        max_size=3,
    ),
    t_ns=st.integers(0, 2**63 - 1),
)
def test_what_is_written_can_be_read_again(measurement, tags, fields, t_ns):
    # Of names that become one when they are written the last counts.
    tags = {kept(name): value for name, value in sorted(tags.items())}
    fields = {kept(name): value for name, value in fields.items()}
    line = point(measurement, tags, fields, t_ns)
    assert not CONTROLS.search(line)
    assert parsed(line) == (
        kept(measurement),
        {name: kept(value) for name, value in tags.items() if kept(value)},
        {n: CONTROLS.sub(" ", v) if isinstance(v, str) else v for n, v in fields.items()},
        t_ns,
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", '"plain"'),
        ('say "hi" \\o/', r'"say \"hi\" \\o/"'),
        ("two\nlines", '"two lines"'),
        (3, "3i"),
        (0.1, "0.1"),
        (1.0, "1.0"),
        (True, "true"),
    ],
)
def test_a_field_is_written_by_its_type(value, written):
    assert point("m", {}, {"f": value}, 7) == f"m f={written} 7"


def test_names_and_tags_are_escaped_and_what_is_empty_is_left_out():
    line = point("a,b c", {"k=": "v ,=", "none": "", "end": "x\\"}, {"f": 1.5}, 0)
    assert line == r"a\,b\ c,end=x,k\==v\ \,\= f=1.5 0"


def test_what_is_no_number_is_left_out():
    fields = {"nan": math.nan, "inf": math.inf, "none": None, "real": 1.0}
    assert point("m", {}, fields, 0) == "m real=1.0 0"
    with pytest.raises(ValueError, match="without a field"):
        point("m", {}, {"nan": math.nan}, 0)


def test_an_event_lies_at_the_moment_that_it_tells_of():
    enter = sample_events(1)[0]
    exit_ = replace(enter, kind="exit", t_end=enter.t_start + 1_500_000_000)
    _, tags, fields, t_ns = parsed(event_line(enter, "hard", {"node": "home"}))
    assert tags == {
        "node": "home", "stream": "conformance", "event_type": "enter", "activity": "walking"
    }  # fmt: skip
    assert (fields["confidence"], fields["segment"], t_ns) == (0.9, 0, enter.t_start)
    assert fields["id"] == enter.id
    assert "duration_s" not in fields
    _, tags, fields, t_ns = parsed(event_line(exit_, "hard", {}))
    assert (tags["event_type"], fields["duration_s"], t_ns) == ("exit", 1.5, exit_.t_end)


def test_a_status_has_no_activity():
    status = replace(
        sample_events(1)[0], kind="status", activity=None, status="no_data", previous="ok"
    )
    _, tags, fields, _ = parsed(event_line(status, "hard", {}))
    assert "activity" not in tags
    assert (fields["status"], fields["previous"]) == ("no_data", "ok")


def test_what_was_decided_by_a_clock_that_is_not_set_says_so():
    event = sample_events(1)[0]
    assert "clock_unsynced" not in event_line(event, "hard", {})
    assert ",clock_unsynced=true " in event_line(replace(event, clock_unsynced=True), "hard", {})


def test_a_whole_number_stays_a_real_one():
    # InfluxDB keeps the type that a field had first, and refuses another.
    certain = replace(sample_events(1)[0], confidence=1, coverage=1)
    assert "confidence=1.0,coverage=1.0" in event_line(certain, "hard", {})
