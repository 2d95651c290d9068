"""The line to the broker is slow, lossy, half open, or its name leads nowhere: nothing is lost."""

import time

import pytest

from tests.faults import namespace
from tests.faults.installation import wait_for
from tests.faults.proxy import Proxy
from tests.faults.test_broker import KEEPALIVE_S, caught_up, ended, made
from tests.faults.verifier import account

pytestmark = pytest.mark.faults
NAME = "broker.test"


@pytest.fixture
def network():
    if not namespace.possible():
        pytest.skip("needs root, ip and nft: it makes a network namespace of its own")
    network = namespace.Namespace(77)
    yield network
    network.close()


@pytest.fixture
def far(broker, network):
    """Let the broker listen on both addresses of the namespace's far end too."""
    broker.listen_on(network.broker)
    broker.listen_on(network.other)
    broker.stop()
    broker.start()
    return network


def test_a_line_that_takes_the_packets_and_gives_nothing_back_is_noticed(
    far, verifier, install, tell
):
    daemon = install(host=far.broker, prefix=far.prefix, keepalive_s=KEEPALIVE_S).start()
    made(daemon, 20)
    far.drop_all()
    began_s = time.monotonic()
    wait_for(lambda: daemon.said("broker: away"), 2 * KEEPALIVE_S + 1, daemon)
    noticed_s = time.monotonic() - began_s
    made(daemon, 50)
    far.drop_none()
    back_s = caught_up(daemon, verifier, 70)
    ended(daemon)
    told = f"noticed after {noticed_s:.1f} s, caught up {back_s:.1f} s after the line was whole"
    tell(f"{account(daemon.events, verifier)}; {told}")


def test_a_lossy_narrow_line_holds_what_waits_within_bounds(far, verifier, install, tell):
    far.drop_some(1)
    far.limit("64kbit")
    # An event is about a kilobyte: 64 kbit/s carry some eight a second.
    daemon = install(host=far.broker, prefix=far.prefix, streams=2, speed=4.0).start()
    made(daemon, 60)
    backlog = daemon.status()["sinks"][0]["backlog"]
    back_s = caught_up(daemon, verifier, 60)
    ended(daemon)
    assert backlog < 30
    tell(f"{account(daemon.events, verifier)}; {backlog} waited at the end, gone in {back_s:.1f} s")


@pytest.mark.parametrize(("delay_s", "bits_per_s"), [(0.25, None), (0.1, 64_000)])
def test_a_slow_line_by_a_proxy_holds_what_waits_within_bounds(
    broker, verifier, install, tell, delay_s, bits_per_s
):
    proxy = Proxy(broker.port, delay_s, bits_per_s)
    try:
        daemon = install(port=proxy.port, streams=2, speed=4.0).start()
        made(daemon, 30)
        proxy.stall()  # as a packet that is sent again
        time.sleep(1.0)
        proxy.go_on()
        made(daemon, 30)
        backlog = daemon.status()["sinks"][0]["backlog"]
        back_s = caught_up(daemon, verifier, 60)
        ended(daemon)
        assert proxy.connections == 1
        assert backlog < 30
    finally:
        proxy.close()
    tell(f"{account(daemon.events, verifier)}; {backlog} waited, gone in {back_s:.1f} s")


def test_a_name_that_is_gone_or_leads_elsewhere_is_resolved_again_without_a_storm(
    broker, far, verifier, install, tell
):
    local = far.hosts.read_text()
    far.hosts.write_text(f"{local}{far.broker} {NAME}\n")
    daemon = install(host=NAME, prefix=far.prefix).start()
    made(daemon, 20)
    caught_up(daemon, verifier, 20)
    far.hosts.write_text(local)
    far.sent_syn()
    broker.kill()
    began_s = time.monotonic()
    made(daemon, 100)
    far.hosts.write_text(f"{local}{far.other} {NAME}\n")
    broker.start()
    verifier.be_there()
    back_s = caught_up(daemon, verifier, 70)
    attempts, took_s = far.syn(), time.monotonic() - began_s
    ended(daemon)
    assert attempts < took_s
    told = f"{attempts} attempts to connect in {took_s:.0f} s, caught up after {back_s:.1f} s"
    tell(f"{account(daemon.events, verifier)}; {told}")
