import subprocess
import time

import pytest

from hard.api import SinkUnavailable
from hard_delivery.posting import Endpoint, Poster, PostingConfig
from tests.plugins.hard_delivery.receiver import speaking


def poster(url, **config):
    return Poster(Endpoint.of(url), PostingConfig(**config))


def failure(url, **config):
    with pytest.raises(SinkUnavailable) as raised:
        poster(url, **config).post(b"{}", {})
    return str(raised.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Return a certificate of 127.0.0.1 that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=receiver", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", *names]
    subprocess.run(
        [*command, "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://pi", ("http", "pi", 80, "/")),
        ("https://[::1]:8443/a/b?c=d%20e", ("https", "::1", 8443, "/a/b?c=d%20e")),
        ("http://pi.local:8123/api/webhook/x", ("http", "pi.local", 8123, "/api/webhook/x")),
    ],
)
def test_a_url_has_its_parts(url, parts):
    endpoint = Endpoint.of(url)
    assert (endpoint.scheme, endpoint.host, endpoint.port, endpoint.target) == parts


@pytest.mark.parametrize(
    "url",
    [
        "", "pi.local/hook", "ftp://pi/hook", "http://", "http:///hook", "http://me:word@pi/",
        "http://pi/#part", "http://pi/a b", "http://pi/a\r\nX: y", "http://pi/ä", "http://pi:99999/",
        "http://pi:x/", "http://[::1/", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_a_url_that_can_not_be_meant_is_refused(url):
    with pytest.raises(ValueError, match=r".+"):
        Endpoint.of(url)


@pytest.mark.parametrize(
    ("url", "readable"),
    [("http://127.0.0.1/", False), ("http://localhost/", False), ("https://pi/", False),
     ("http://pi/", True), ("http://192.168.1.2/", True)],
)  # fmt: skip
def test_what_passes_a_network_in_clear_is_known(url, readable):
    assert Endpoint.of(url).is_readable_by_others is readable


def test_a_request_carries_body_and_headers_and_the_answer_comes_back(receiver):
    there = receiver(lambda _: (202, {"Retry-After": "7"}, "taken"))
    answer = poster(there.url).post(b'{"a": 1}', {"Content-Type": "application/json"})
    assert (answer.status, answer.retry_after, answer.text) == (202, "7", "taken")
    (request,) = there.requests
    assert (request.path, request.body) == ("/hook", b'{"a": 1}')
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{there.port}"


def test_a_redirect_is_an_answer_and_not_followed(receiver):
    elsewhere = receiver()
    there = receiver(lambda _: (307, {"Location": elsewhere.url}, ""))
    answer = poster(there.url).post(b"{}", {})
    assert (answer.status, answer.location) == (307, elsewhere.url)
    assert elsewhere.requests == []


def test_a_proxy_of_the_environment_is_not_asked(receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert poster(receiver().url).post(b"{}", {}).status == 204


def test_of_a_long_answer_only_the_beginning_is_read(receiver):
    there = receiver(lambda _: (400, {}, "no " * 1_000_000))
    assert len(poster(there.url).post(b"{}", {}).text) <= 300


def test_an_answer_before_the_body_is_read_is_heard():
    said = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"
    with speaking(said) as port:
        answer = poster(f"http://127.0.0.1:{port}/").post(b"x" * 50_000_000, {})
    assert answer.status == 413


def test_a_receiver_that_answers_byte_by_byte_is_given_up_in_time():
    drip = [bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100]
    with speaking(*drip, pause_s=0.1) as port:
        began_s = time.monotonic()
        said = failure(f"http://127.0.0.1:{port}/", timeout_s=0.5)
        assert time.monotonic() - began_s < 5.0
    assert f"127.0.0.1:{port} did not answer within 0.5 s" in said


@pytest.mark.parametrize(
    "pieces", [[b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], [b"HTTP/1.1 99999 \r\n\r\n"], [b"\x00" * 100_000]]
)
def test_what_does_not_speak_http_is_named(pieces):
    with speaking(*pieces) as port:
        said = failure(f"http://127.0.0.1:{port}/")
    assert said.endswith("is url right?") or "can't be reached" in said


def test_a_port_where_nobody_listens_is_named(free_port):
    said = failure(f"http://127.0.0.1:{free_port}/hook")
    assert f"127.0.0.1:{free_port} can't be reached" in said
    assert "is it running" in said


def test_a_host_without_an_address_is_named():
    assert "receiver.invalid:80 can't be reached" in failure("http://receiver.invalid/")


def test_tls_is_verified(receiver, certificate):
    url = receiver(tls=certificate).url
    assert poster(url, ca_file=certificate[0]).post(b"{}", {}).status == 204
    assert "is not trusted (self-signed certificate): set ca_file" in failure(url)
    assert "is not trusted" in failure(
        url.replace("127.0.0.1", "localhost"), ca_file=certificate[0]
    )


def test_a_receiver_without_tls_is_named(receiver):
    said = failure(receiver().url.replace("http:", "https:"))
    assert "no TLS with" in said
    assert "does it speak https at all?" in said


def test_an_authority_that_can_not_be_read_is_named(tmp_path):
    (tmp_path / "ca.pem").write_text("not a certificate")
    for path in (tmp_path / "none.pem", tmp_path / "ca.pem"):
        with pytest.raises(SinkUnavailable, match=f"ca_file '{path}' can't be used"):
            poster("https://127.0.0.1/", ca_file=str(path))
