import json
import re
import time
import tomllib
from pathlib import Path

import pytest

import hard_webhook
from hard.api import SinkUnavailable
from hard.config import ConfigError, load
from hard.testing import check_sink, sample_events
from hard_webhook import WebhookSink
from tests.plugins.hard_delivery import receiver as receivers
from tests.running import program

README = Path(hard_webhook.__file__).with_name("README.md").read_text("utf-8")
SECRET = "0123456789abcdef0123456789abcdef"  # of these tests


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def receiver():
    made = []

    def make(*args, **more):
        made.append(receivers.Receiver(*args, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def is_ours():
    """Return the check that the README gives to receivers."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(code, names)
    return names["is_ours"]


def sink_to(url, **config):
    return WebhookSink("hook", WebhookSink.Config(url=url, **config))


def write(sink, events, *, looks=0):
    confirmed = []
    sink.open()
    try:
        sink.write(events, confirmed.append)
        for _ in range(looks):
            sink.check()
    finally:
        sink.close()
    return confirmed


def test_it_keeps_the_contract(free_port):
    with program(receivers) as port:
        check_sink(
            lambda: sink_to(f"http://127.0.0.1:{port}/hook"),
            make_unreachable=lambda: sink_to(f"http://127.0.0.1:{free_port}/hook"),
        )


def test_each_event_is_posted_and_confirmed_by_its_answer(receiver):
    there = receiver()
    assert write(sink_to(there.url), sample_events(3)) == [1, 2, 3]
    bodies = [json.loads(request.body) for request in there.requests]
    assert [body["seq"] for body in bodies] == [1, 2, 3]
    assert bodies[0].items() >= sample_events(1)[0].payload().items()
    assert there.requests[0].headers["content-type"] == "application/json"
    assert "hard-signature" not in there.requests[0].headers


def test_a_batch_is_a_list(receiver):
    there = receiver()
    assert write(sink_to(there.url, batch=2), sample_events(3)) == [1, 2, 3]
    bodies = [json.loads(request.body) for request in there.requests]
    assert [[event["seq"] for event in body] for body in bodies] == [[1, 2], [3]]


def test_a_signature_proves_the_secret_the_body_and_the_time(receiver, secret_file, is_ours):
    there = receiver()
    write(sink_to(there.url, secret_file=secret_file), sample_events(1))
    (request,) = there.requests
    assert is_ours(SECRET.encode(), request.headers, request.body)
    assert not is_ours(b"another secret of somebody", request.headers, request.body)
    assert not is_ours(SECRET.encode(), request.headers, request.body + b" ")
    assert not is_ours(SECRET.encode(), {}, request.body)
    old = request.headers | {"hard-timestamp": str(int(time.time()) - 1)}
    assert not is_ours(SECRET.encode(), old, request.body)
    assert not is_ours(SECRET.encode(), request.headers, request.body, within_s=-1)


def test_a_token_is_sent_and_never_logged(receiver, secret_file, caplog):
    caplog.set_level("DEBUG")
    there = receiver(lambda _: (403, {}, "no"))
    sink = sink_to(there.url, token_file=secret_file)
    with pytest.raises(SinkUnavailable) as raised:
        write(sink, sample_events(1), looks=5)
    assert there.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in caplog.text + str(raised.value)


def test_a_secret_that_is_missing_or_short_is_named(receiver, tmp_path):
    there = receiver()
    short = tmp_path / "short"
    short.write_text("hunter2")
    for path, said in ((tmp_path / "none", "can't be read"), (short, "can be guessed")):
        with pytest.raises(SinkUnavailable, match=f"secret_file '{path}'.*{said}"):
            write(sink_to(there.url, secret_file=str(path)), sample_events(1))
    assert there.requests == []


def test_a_secret_that_others_can_read_and_a_network_in_clear_are_told(tmp_path, caplog):
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o644)
    sink = sink_to("http://receiver.invalid/", secret_file=str(path), timeout_s=0.5)
    with pytest.raises(SinkUnavailable):
        sink.open()
    sink.close()
    assert "are not encrypted" in caplog.text
    assert "chmod 600" in caplog.text


def test_an_outage_keeps_what_was_not_answered(receiver):
    there = receiver()
    there.answer = lambda r: (204, {}, "") if json.loads(r.body)["seq"] < 3 else (503, {}, "later")
    sink, confirmed = sink_to(there.url), []
    sink.open()
    with pytest.raises(SinkUnavailable, match="HTTP 503: 'later'"):
        sink.write(sample_events(5), confirmed.append)
    sink.close()
    assert confirmed == [1, 2]
    there.answer = lambda _: (200, {}, "")
    assert write(sink, sample_events(3, first_seq=3)) == [3, 4, 5]
    posted = [json.loads(request.body)["seq"] for request in there.requests]
    assert posted == [1, 2, 3, 3, 4, 5]


def test_an_event_that_is_refused_does_not_hold_up_the_others(receiver, caplog):
    there = receiver(lambda r: (422 if json.loads(r.body)["seq"] == 2 else 204, {}, "what?"))
    sink = sink_to(there.url)
    assert write(sink, sample_events(4), looks=3) == [1, 2, 3, 4]
    assert sink.counts == {"refused": 3, "set_aside": 1}
    assert f"event {sample_events(2)[1].id} is refused (HTTP 422: 'what?')" in caplog.text


def test_a_receiver_that_does_not_answer_holds_up_nothing_for_long(receiver):
    held = receiver(lambda _: (time.sleep(1.0), (204, {}, ""))[1])
    sink, began_s = sink_to(held.url, timeout_s=0.2), time.monotonic()
    with pytest.raises(SinkUnavailable, match=r"did not answer within 0\.2 s"):
        write(sink, sample_events(100))
    assert time.monotonic() - began_s < 5.0


def test_a_probe_connects_and_posts_nothing(receiver, free_port):
    there = receiver()
    (stage,) = sink_to(there.url).probe(1.0)
    assert stage.ok
    (stage,) = sink_to(f"http://127.0.0.1:{free_port}/").probe(1.0)
    assert (stage.ok, stage.remedy) == (False, "is it running, is url right?")
    assert there.requests == []


def test_a_configuration_that_can_not_be_meant_is_refused(tmp_path):
    config = tmp_path / "hard.toml"
    for line, said in (
        ('url = "ftp://pi/"', "url: it must begin with http:// or https://"),
        ('url = "https://me:secret@pi/"', "secrets go into files"),
        ('url = "http://pi/"\nca_file = "ca.pem"', "ca_file has no effect without https"),
        ('url = "http://pi/"\nbatch = 0', "batch"),
    ):
        config.write_text(f'[sinks.hook]\nplugin = "webhook"\n{line}\n')
        with pytest.raises(ConfigError) as refused:
            load(config)
        assert said in str(refused.value)
        assert "me:secret" not in str(refused.value)


def test_the_readme_shows_a_valid_configuration():
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    table = tomllib.loads(block)["sinks"]["hook"]
    assert table.pop("plugin") == "webhook"
    assert WebhookSink.Config(**table).endpoint.host == "example.org"
