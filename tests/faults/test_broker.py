"""Broker and daemon stop, freeze and are killed: every event arrives, once by id."""

import os
import random
import time

import pytest

from tests.faults.installation import wait_for
from tests.faults.verifier import account, in_log

SEED = int(os.environ.get("FAULTS_SEED", "6"))
KEEPALIVE_S = 5
faults = pytest.mark.faults


def made(installation, n):
    """Wait until the log holds `n` events more than now."""
    target = in_log(installation.events) + n if installation.events.exists() else n
    wait_for(
        lambda: installation.events.exists() and in_log(installation.events) >= target,
        60 + n,
        installation,
    )


def caught_up(installation, verifier, seconds):
    """Wait until the verifier has what was logged by now; return how long that took, s."""
    began_s = time.monotonic()
    n = in_log(installation.events)
    wait_for(lambda: len(verifier.ids()) >= n, seconds, installation)
    return time.monotonic() - began_s


def stopped(installation):
    status, took_s = installation.stop()
    assert status == 0
    assert "Traceback" not in installation.said()
    return took_s


def ended(installation):
    """Stop it; what a busy machine had no time for is in its log, and the next run delivers it."""
    took_s = stopped(installation)
    if installation.left():
        installation.send_nothing_more()
        installation.start()
        wait_for(installation.is_done, 60, installation)
        stopped(installation)
        assert not installation.left()
    return took_s


# -- in the suite of every day --------------------------------------------------------------------


def test_what_is_decided_while_the_broker_is_stopped_arrives_once_it_is_back(
    broker, verifier, install, tell
):
    daemon = install().start()
    made(daemon, 30)
    broker.stop()
    made(daemon, 100)
    broker.start()
    back_s = caught_up(daemon, verifier, 10)
    ended(daemon)
    tell(f"{account(daemon.events, verifier)}; caught up {back_s:.1f} s after the broker's start")


def test_a_frozen_broker_is_noticed_in_time_and_recognition_goes_on(
    broker, verifier, install, tell
):
    daemon = install(keepalive_s=KEEPALIVE_S).start()
    made(daemon, 10)
    broker.freeze()
    began_s = time.monotonic()
    wait_for(lambda: daemon.said("broker: away"), 2 * KEEPALIVE_S, daemon)
    noticed_s = time.monotonic() - began_s
    made(daemon, 20)
    broker.thaw()
    back_s = caught_up(daemon, verifier, 20)
    ended(daemon)
    told = f"noticed after {noticed_s:.1f} s, caught up after {back_s:.1f} s"
    tell(f"{account(daemon.events, verifier)}; {told}")


def test_a_daemon_killed_three_times_loses_no_event(verifier, install, tell):
    daemon = install().start()
    for _ in range(3):
        made(daemon, 20)
        daemon.kill()
        daemon.start()
    made(daemon, 20)
    ended(daemon)
    tell(f"{account(daemon.events, verifier)}; 3 kills")


def test_a_frozen_broker_does_not_hold_up_the_exit(broker, verifier, install, tell):
    daemon = install().start()
    made(daemon, 10)
    broker.freeze()
    made(daemon, 5)
    took_s = stopped(daemon)
    assert took_s < 4.5 + 1
    broker.thaw()
    daemon.start()
    caught_up(daemon, verifier, 20)
    ended(daemon)
    tell(f"{account(daemon.events, verifier)}; ended after {took_s:.1f} s")


# -- by `make faults` -----------------------------------------------------------------------------


@faults
def test_a_broker_stopped_for_a_minute_costs_nothing(broker, verifier, install, tell):
    daemon = install(speed=50.0).start()
    made(daemon, 100)
    broker.stop()
    began_s = time.monotonic()
    while time.monotonic() < began_s + 60:
        made(daemon, 50)
    before = len(verifier.ids())
    broker.start()
    began_s = time.monotonic()
    wait_for(lambda: len(verifier.ids()) > before, 65, daemon)  # its back-off is a minute by now
    tried_s, drained_s = time.monotonic() - began_s, caught_up(daemon, verifier, 10)
    ended(daemon)
    told = f"{tried_s:.1f} s after the broker's start, drained within {drained_s:.1f} s"
    tell(f"{account(daemon.events, verifier)}; connected {told}")


@faults
def test_a_broker_killed_twenty_times_costs_a_live_subscriber_nothing(
    broker, verifier, install, tell
):
    daemon = install().start()
    slowest_s = 0.0
    for _ in range(20):
        made(daemon, 25)
        slowest_s = max(slowest_s, _killed_and_back(broker, verifier, daemon))
    ended(daemon)
    tell(f"{account(daemon.events, verifier)}; 20 kills, caught up within {slowest_s:.1f} s")


def _killed_and_back(broker, verifier, daemon):
    broker.kill()
    verifier.be_gone()
    broker.start()
    verifier.be_there()
    made(daemon, 5)
    return caught_up(daemon, verifier, 90)  # short-lived connections let the back-off grow


@faults
def test_kills_of_daemon_and_broker_in_any_order_lose_nothing(broker, verifier, install, tell):
    rng = random.Random(SEED)
    kills = ["daemon"] * 25 + ["broker"] * 20
    rng.shuffle(kills)
    daemon = install(streams=4, speed=12.0).start()
    slowest_s = 0.0
    before = None
    for victim in kills:
        made(daemon, rng.randint(5, 40))
        before = before or daemon.usage()
        if victim == "broker":
            slowest_s = max(slowest_s, _killed_and_back(broker, verifier, daemon))
        else:
            daemon.kill()
            daemon.start()
    made(daemon, 100)
    back_s = caught_up(daemon, verifier, 90)
    after = daemon.usage()
    ended(daemon)
    assert after[:2] <= (before[0] + 1, before[1] + 2), (before, after)
    tell(
        f"{account(daemon.events, verifier)}; seed {SEED}, 25 kills of the daemon, 20 of the "
        f"broker, caught up within {max(slowest_s, back_s):.1f} s; threads, files, kB resident "
        f"{before} then {after}"
    )


@faults
def test_the_backlog_of_eight_hours_drains_in_order_marked_late_in_flat_memory(
    broker, verifier, install, tell
):
    n = int(os.environ.get("FAULTS_BACKLOG", "10000"))
    broker.stop()
    # So many wearers that eight hours of them are about as many events; they end there.
    daemon = install(streams=max(1, round(n / 10_000)), speed=400.0, seconds=28_800, ago_s=30_000)
    daemon.start()
    made(daemon, n // 10)
    early_kb = daemon.usage()[2]
    wait_for(lambda: _is_at_rest(daemon), 900, daemon)
    backlog, late_kb = in_log(daemon.events), daemon.usage()[2]
    broker.start()
    verifier.be_there()
    wait_for(lambda: verifier.seen, 70, daemon)
    began_s = time.monotonic()
    took_s = caught_up(daemon, verifier, 120)
    took_s = time.monotonic() - began_s
    ended(daemon)
    found = account(daemon.events, verifier)
    assert found.late >= backlog
    assert late_kb < early_kb + 8_000, (early_kb, late_kb)
    assert took_s < max(10.0, backlog / 10_000 * 10), took_s
    tell(
        f"{found}; {backlog} waited, drained in {took_s:.1f} s, all marked late; resident "
        f"{early_kb / 1000:.0f} MB early, {late_kb / 1000:.0f} MB before the broker's return"
    )


def _is_at_rest(daemon):
    before = in_log(daemon.events)
    time.sleep(12)  # after 10 s of silence comes one more event
    return in_log(daemon.events) == before
