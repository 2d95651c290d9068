"""Secrets leave texts and tables, wherever they stand; what helps to find a fault stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hard.scrubbing import MASK, Scrubber, is_secret, secrets_in

PLAIN = Scrubber([])


@pytest.mark.parametrize(
    "text",
    [
        "mqtt://anna:geheim99@host:1883/x",
        "https://hooks.example.org/services/T00/geheim99",
        "GET http://localhost/?token=geheim99",
        "Authorization: Bearer geheim99",
        "authorization: Basic geheim99==",
        'password = "geheim99"',
        "password=geheim99",
        "{'api_key': 'geheim99'}",
        '{"hmac_secret": "geheim99"}',
        "program --token geheim99 --fast",
        "program --password=geheim99",
        "['program', '--api-key', 'geheim99']",
        "cookie: geheim99",
        "-----BEGIN PRIVATE KEY-----\ngeheim99\n-----END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\ngeheim99",
    ],
)
def test_a_secret_shows_by_where_it_stands(text):
    assert "geheim99" not in PLAIN.text(text)
    assert MASK in PLAIN.text(text)


@pytest.mark.parametrize(
    "text",
    [
        "ok    sink home: login: as hard, MQTT 5",
        "home: the broker at pi:1883 refused the connection (Not authorized): see password_file",
        'the file "/etc/hard/token" is there',
        "phone.not_json 3, pipeline.late 12",
        "http://localhost:9464/metrics",
        "stream phone-1: rejected: set accel_unit",
    ],
)
def test_what_helps_stays(text):
    assert PLAIN.text(text) == text


def test_a_known_secret_goes_wherever_it_stands_also_as_urls_write_it():
    scrubber = Scrubber(["p@ss w/rd", "abc"])
    assert scrubber.text("in p@ss%20w%2Frd, p%40ss%20w%2Frd and xp@ss w/rdx") == (
        f"in p@ss%20w%2Frd, {MASK} and x{MASK}x"
    )
    assert scrubber.text("abc is too short to be taken out") == "abc is too short to be taken out"


def test_names_are_called_otherwise_as_whole_words_only():
    scrubber = Scrubber([], {"anna": "stream-1", "anna-watch": "stream-2"})
    told = scrubber.text("stream anna, 'anna-watch', hannah, anna-2: anna.late 3")
    assert told == "stream stream-1, 'stream-2', hannah, anna-2: stream-1.late 3"


def test_a_table_is_scrubbed_by_its_keys_and_its_arguments():
    table = {
        "sinks.own.command": ["run", "--token", "geheim99", "--url=http://u:geheim98@h/p", "-v"],
        "headers": {"Authorization": "geheim97", "Accept": "text/plain"},
        "password_file": "/etc/hard/password",
        "port": 1883,
        "api_key": ["geheim96"],
    }
    assert PLAIN.table(table) == {
        "sinks.own.command": ["run", "--token", MASK, f"--url=http://{MASK}@h/{MASK}", "-v"],
        "headers": {"Authorization": MASK, "Accept": "text/plain"},
        "password_file": "/etc/hard/password",
        "port": 1883,
        "api_key": [MASK],
    }
    assert set(secrets_in(table)) >= {"geheim96", "geheim97", "geheim98", "geheim99", "u"}


@pytest.mark.parametrize("key", ["password", "MQTT_PASSWORD", "token", "X-Api-Key", "AWS_SECRET"])
def test_a_key_tells_that_its_value_is_secret(key):
    assert is_secret(key)


@pytest.mark.parametrize("key", ["password_file", "keepalive_s", "host", "monkey", "PATH"])
def test_other_keys_do_not(key):
    assert not is_secret(key)


@settings(deadline=None)
@given(st.text(), st.text(min_size=4).map(str.strip).filter(lambda secret: len(secret) >= 4))
def test_no_text_holds_a_known_secret(text, secret):
    shown = Scrubber([secret]).text(f"{text}{secret}{text}")
    assert secret not in shown.replace(MASK, "")


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_scrubbed(text):
    assert isinstance(PLAIN.text(f"http://{text}"), str)
