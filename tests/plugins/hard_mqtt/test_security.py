"""TLS and WebSocket, of source and sink, against a real mosquitto; and what is said when not."""

import re
import threading

import pytest
from pydantic import ValidationError

from hard.api import SinkUnavailable, SourceUnavailable
from hard.testing import check_sink, check_source
from hard_mqtt.broker import BrokerConfig, insecurities
from tests.plugins.hard_mqtt.secured import listen_tls, sink_at, source_at, websocket_gateway

# What paho leaves open when a handshake fails is closed by its finalizer, which says so.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

GYRO = b'{"stream": "wrist-1", "samples": [{"t": 1700000000000000000, "gyro": [1, 2, 3]}]}'


def why_not(port, **config):
    """Return what source and sink alike say about a broker that they can't use."""
    source, sink = source_at(port, **config), sink_at(port, **config)
    with pytest.raises(SourceUnavailable) as of_source:
        source.run(print, threading.Event())
    with pytest.raises(SinkUnavailable) as of_sink:
        sink.open()
    sink.close()
    said = str(of_sink.value)
    assert str(of_source.value).replace("hard-source-phone", "hard-sink-out") == said
    return said


@pytest.mark.parametrize(("protocol", "host"), [("5", "localhost"), ("3.1.1", "127.0.0.1")])
def test_source_and_sink_keep_the_contract_over_tls(stopped_broker, certificates, protocol, host):
    port = listen_tls(stopped_broker, certificates)
    stopped_broker.start()
    watcher = stopped_broker.watch("hard/#")
    config = {"host": host, "tls": True, "ca_file": certificates.path("ca.pem")}
    config["protocol"] = protocol
    check_source(
        lambda: source_at(port, **config),
        provoke=lambda: watcher.publish("sensor-logger", GYRO),
    )
    check_sink(lambda: sink_at(port, **config))


def test_a_client_certificate_is_shown(stopped_broker, certificates):
    port = listen_tls(stopped_broker, certificates, ask_client=True)
    stopped_broker.start()
    ca = certificates.path("ca.pem")
    mine = {"client_cert": certificates.path("client.pem")}
    mine["client_key"] = certificates.path("client.key")
    check_sink(lambda: sink_at(port, tls=True, ca_file=ca, **mine))
    assert "client_cert, client_key" in why_not(port, tls=True, ca_file=ca)


@pytest.mark.parametrize(
    ("certificate", "ca", "host", "said"),
    [
        ("broker", None, "127.0.0.1", r"not trusted \(.*\): set ca_file"),
        (
            "broker",
            "other_ca.pem",
            "127.0.0.1",
            r"ca_file '.*other_ca.pem' is not of the authority",
        ),
        ("expired", "ca.pem", "127.0.0.1", r"expired.*renew it, or set this machine's clock"),
        ("elsewhere", "ca.pem", "localhost", r"set host to a name .*, not 'localhost'"),
        ("elsewhere", "ca.pem", "127.0.0.1", r"set host to a name .*, not '127.0.0.1'"),
    ],
)
def test_a_certificate_that_is_wrong_is_told_with_its_remedy(
    stopped_broker, certificates, certificate, ca, host, said
):
    port = listen_tls(stopped_broker, certificates, certificate)
    stopped_broker.start()
    files = {"ca_file": certificates.path(ca)} if ca else {}
    assert re.search(said, why_not(port, host=host, tls=True, **files))


def test_tls_to_a_plaintext_port_is_named(broker, certificates):
    text = why_not(broker.port, tls=True, ca_file=certificates.path("ca.pem"))
    assert "8883" in text
    assert "tls = false" in text


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_plaintext_to_a_tls_port_is_named(stopped_broker, certificates, protocol):
    port = listen_tls(stopped_broker, certificates)
    stopped_broker.start()
    assert "tls = true" in why_not(port, protocol=protocol)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ca_file": "/no/such/ca"}, "ca_file '/no/such/ca' can't be used"),
        ({"ca_file": "broker.key"}, "broker.key' can't be used"),
        ({"client_cert": "/no/such/cert"}, "client_cert '/no/such/cert' can't be used"),
        ({"client_cert": "client.pem", "client_key": "/no/key"}, "client_key '/no/key' can't be"),
        ({"client_cert": "client.pem", "client_key": "ca.key"}, "that fits client_cert"),
        ({"ca_file": "credential:ca"}, "LoadCredential"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_with_its_key(
    broker, certificates, files, said, monkeypatch
):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    paths = {
        key: name if name.startswith(("/", "credential:")) else certificates.path(name)
        for key, name in files.items()
    }
    assert said in why_not(broker.port, tls=True, **paths)


def test_files_may_be_systemd_credentials(stopped_broker, certificates, monkeypatch):
    port = listen_tls(stopped_broker, certificates)
    stopped_broker.start()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", certificates.path("."))
    check_sink(lambda: sink_at(port, tls=True, ca_file="credential:ca.pem"))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_source_and_sink_keep_the_contract_over_a_websocket(broker, protocol):
    watcher = broker.watch("hard/#")
    with websocket_gateway(broker, "/at/here") as port:
        config = {"transport": "websockets", "ws_path": "/at/here", "protocol": protocol}
        check_source(
            lambda: source_at(port, **config),
            provoke=lambda: watcher.publish("sensor-logger", GYRO),
        )
        check_sink(lambda: sink_at(port, **config))


def test_a_websocket_may_be_secured(broker, certificates):
    with websocket_gateway(broker, tls_name=certificates.path("broker")) as port:
        check_sink(
            lambda: sink_at(
                port, transport="websockets", tls=True, ca_file=certificates.path("ca.pem")
            )
        )


def test_a_wrong_path_or_port_of_a_websocket_is_named(broker):
    with websocket_gateway(broker) as port:
        assert "/elsewhere" in why_not(port, transport="websockets", ws_path="/elsewhere")
    assert "WebSocket" in why_not(broker.port, transport="websockets")


def test_no_broker_is_no_fault_of_tls(stopped_broker):
    assert "is it running" in why_not(stopped_broker.port, tls=True)


def test_tls_is_no_insecurity_but_an_open_key_is(certificates, tmp_path):
    key = tmp_path / "client.key"
    key.write_bytes(b"secret")
    key.chmod(0o644)
    config = BrokerConfig(
        host="broker.example",
        tls=True,
        client_cert=certificates.path("client.pem"),
        client_key=str(key),
    )
    (said,) = insecurities(config)
    assert "client_key" in said
    key.chmod(0o600)
    assert insecurities(config) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ca_file": "a"}, "tls = true"),
        ({"client_cert": "a"}, "tls = true"),
        ({"tls": True, "client_key": "a"}, "client_cert"),
        ({"ws_path": "/mqtt"}, "websockets"),
        ({"transport": "websockets", "ws_path": "mqtt"}, "pattern"),
        ({"transport": "websockets", "ws_path": "/a b"}, "pattern"),
        ({"transport": "udp"}, "websockets"),
        ({"insecure": True}, "insecure"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        BrokerConfig(**wrong)
