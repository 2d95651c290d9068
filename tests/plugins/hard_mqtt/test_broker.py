import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from hard_mqtt.broker import BrokerAwayError, BrokerClient, BrokerConfig, read_password


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("Session taken over", "give each client a client_id of its own"),
        ("Not authorized", "check username and password_file"),
        ("Server shutting down", "(Server shutting down)"),
    ],
)
def test_the_end_of_a_connection_is_explained(reason, remedy):
    client = BrokerClient(BrokerConfig(), "pi-source-phone")
    client.answered = True
    explained = client.explain(ReasonCode(PacketTypes.DISCONNECT, reason))
    assert "localhost:1883" in explained
    assert remedy in explained


def test_the_password_is_the_first_line_of_its_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b" p\xc3\xa4ss word\r\nand a second line\n")
    assert read_password(str(secret)) == " päss word"
    assert read_password(None) is None


def test_a_password_file_of_other_bytes_is_named(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\xff\xfe")
    with pytest.raises(BrokerAwayError, match=r"secret.*can't be read"):
        read_password(str(secret))
