"""Broker and daemon stop, freeze and are killed: every event arrives, once by id."""

import os
import random
import time
from dataclasses import replace

import pytest

from hard.eventlog import EventLog
from hard.testing import sample_events
from tests.faults.installation import wait_for
from tests.faults.verifier import Verifier, account, in_log

SEED = int(os.environ.get("FAULTS_SEED", "6"))
KEEPALIVE_S = 5
SILENT_S = 11.0
"""No gap of the data is as long; after 10 s comes one more event."""
USER, PASSWORD = "hard", "right"
faults = pytest.mark.faults
fast_fault = pytest.mark.fast_fault


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


@fast_fault("F1")
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


@fast_fault("F3")
def test_a_frozen_broker_is_noticed_in_time_and_recognition_goes_on(
    broker, verifier, install, tell
):
    daemon = install(keepalive_s=KEEPALIVE_S).start()
    made(daemon, 10)
    broker.freeze()
    began_s = time.monotonic()
    wait_for(lambda: daemon.said("broker: away"), 2 * KEEPALIVE_S, daemon)
    noticed_s = time.monotonic() - began_s
    while time.monotonic() < began_s + 3 * KEEPALIVE_S:
        made(daemon, 20)
    broker.thaw()
    back_s = caught_up(daemon, verifier, 20)
    ended(daemon)
    told = f"noticed after {noticed_s:.1f} s, caught up after {back_s:.1f} s"
    tell(f"{account(daemon.events, verifier)}; {told}")


@pytest.fixture
def secret(tmp_path, broker):
    """Close the broker to all but one user; return the file of the password."""
    file = tmp_path / "secret"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    broker.kill()  # a SIGTERM so soon after its start may be lost
    broker.login(USER, PASSWORD, "topic readwrite #")
    broker.start()
    return file


@pytest.fixture
def known_verifier(broker, secret):
    verifier = Verifier(broker.port, login=(USER, secret.read_text()))
    yield verifier
    verifier.close()


def known(secret):
    return f'username = "{USER}"\npassword_file = "{secret}"\n'


@fast_fault("F7")
def test_what_the_acl_denies_is_told_kept_and_not_tried_in_a_storm(
    broker, secret, known_verifier, install, tell
):
    of_events = "hard/faults/+/event"
    others = ("status", "health", "+/state", "+/availability", "+/summary")
    allowed = [f"topic write hard/faults/{topic}" for topic in others]
    broker.rights(USER, "\n".join([f"topic read {of_events}", *allowed]))
    daemon = install(extra=f"homeassistant = false\n{known(secret)}").start()
    made(daemon, 60)
    wait_for(lambda: of_events[:-7] in str(daemon.status()["degraded"]), 10, daemon)
    counts = daemon.status()["counts"]
    assert "broker.outages" not in counts
    assert 0 < counts["broker.refused"] <= in_log(daemon.events)  # none twice
    assert not known_verifier.ids()
    broker.rights(USER, "topic readwrite #")
    broker.stop()
    broker.start()  # what was refused is tried again in a minute, or when it is connected anew
    back_s = caught_up(daemon, known_verifier, 20)
    ended(daemon)
    told = f"{counts['broker.refused']} refused, caught up after {back_s:.1f} s"
    tell(f"{account(daemon.events, known_verifier)}; {told}")


@fast_fault("F7")
def test_with_a_wrong_password_events_wait_and_the_broker_is_not_stormed(
    secret, known_verifier, install, tell
):
    secret.write_text("wrong")
    daemon = install(extra=known(secret)).start()
    began_s = time.monotonic()
    made(daemon, 60)
    while time.monotonic() < began_s + 5:
        made(daemon, 10)
    (sink,) = daemon.status()["sinks"]
    assert f"refused user '{USER}'" in sink["why"]
    tried = sink["restarts"]
    assert tried <= 8  # twice as many would be likely without a growing wait
    secret.write_text(PASSWORD)
    back_s = caught_up(daemon, known_verifier, 70)
    ended(daemon)
    told = f"{tried} attempts in vain, caught up {back_s:.1f} s after the password was right"
    tell(f"{account(daemon.events, known_verifier)}; {told}")


@fast_fault("F8")
def test_an_event_that_no_broker_takes_is_set_aside_and_the_others_arrive(
    broker, verifier, install, tell
):
    daemon = install().start()
    made(daemon, 20)
    stopped(daemon)
    (poison,) = sample_events(1, stream="restless-0")
    poison = replace(poison, reason="x" * 50_000)
    log = EventLog(daemon.events)
    log.append([poison])
    assert log.flush(10.0)
    log.close()
    broker.stop()
    broker.limit_packets(20_000)
    broker.start()
    verifier.be_there()
    daemon.start()
    began_s = time.monotonic()
    wait_for(lambda: daemon.said("broker: event"), 60, daemon)
    wait_for(daemon.is_done, 20, daemon)
    back_s = time.monotonic() - began_s
    status = daemon.status()
    tried = status["sinks"][0]["restarts"]
    assert status["counts"]["broker.set_aside"] == 1
    assert tried <= 4
    ended(daemon)
    assert poison.id not in verifier.ids()
    found = account(daemon.events, verifier, poison={poison.id})
    told = f"one set aside after {tried} endings of the connection"
    tell(f"{found}; {told}, all others delivered {back_s:.1f} s after the start")


@fast_fault("F9")
def test_a_daemon_killed_three_times_loses_no_event(verifier, install, tell):
    daemon = install().start()
    for _ in range(3):
        made(daemon, 20)
        daemon.kill()
        daemon.start()
    made(daemon, 20)
    ended(daemon)
    tell(f"{account(daemon.events, verifier)}; 3 kills")


@fast_fault("F10")
def test_an_orderly_end_delivers_what_was_decided(verifier, install, tell):
    daemon = install().start()
    made(daemon, 60)
    took_s = ended(daemon)
    assert took_s < 5
    tell(f"{account(daemon.events, verifier)}; ended after {took_s:.1f} s")


@fast_fault("F10")
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
    """Tell whether all wearers have been silent for long, and that is told and logged."""
    status = daemon.status()
    silent = [s["status"] == "no_data" and s["age_s"] > SILENT_S for s in status["streams"]]
    return all(silent) and in_log(daemon.events) == status["events"]
