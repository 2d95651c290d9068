"""`scan` and a real mDNS responder on this machine."""

import socket
import sys

import pytest

from hard_ws import WsSource

zeroconf = pytest.importorskip("zeroconf", reason="zeroconf is optional")


def test_a_phone_that_announces_itself_is_found():
    name = "SensorServer of a test._websocket._tcp.local."
    address = socket.inet_aton("127.0.0.1")
    info = zeroconf.ServiceInfo("_websocket._tcp.local.", name, 8080, addresses=[address])
    try:
        responder = zeroconf.Zeroconf()
    except OSError as error:
        pytest.skip(f"no multicast on this machine: {error}")
    with responder:
        responder.register_service(info)
        found = [each for each in WsSource.scan(3.0) if "of a test" in each.detail]
        responder.unregister_service(info)
    assert [each.address for each in found] == ["127.0.0.1:8080"]
    assert WsSource.Config(**{k: v for k, v in found[0].settings.items() if k != "plugin"})


def test_without_zeroconf_nothing_is_found_and_the_remedy_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    assert list(WsSource.scan(0.1)) == []
    assert f"{sys.executable} -m pip install zeroconf" in capsys.readouterr().err
