"""Too much, too fast, or nonsense, and plugins that misbehave: the others notice nothing."""

import json
import os
import re
import statistics
import time

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.faults.installation import RESTLESS, wait_for
from tests.faults.test_broker import caught_up, ended, made
from tests.faults.verifier import account, delays_ms, logged

pytestmark = pytest.mark.faults
STREAMS = int(os.environ.get("FAULTS_STREAMS", "1000"))
FLOOD_HZ = int(os.environ.get("FAULTS_FLOOD_HZ", "5000"))
RETAINED = int(os.environ.get("FAULTS_RETAINED", "100000"))
_SILENT = re.compile(r"stream restless-\d+: no_data")
MALFORMED = [b"{", b"[" * 900, b"\xff", b"[]", b'{"test": 1}', b'{"payload": [{}]}']
PHONES = """
[sources.phones]
plugin = "mqtt"
host = "127.0.0.1"
port = {port}
topics = ["sensors/{{stream}}"]
"""


@pytest.fixture
def phones(broker):
    client = Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    yield client
    client.disconnect()
    client.loop_stop()
    client._reset_sockets()


def counted(daemon, prefix):
    return {k: n for k, n in daemon.status()["counts"].items() if k.startswith(prefix)}


def test_a_slow_sink_changes_nothing_for_a_fast_one(verifier, install, tell, tmp_path):
    slow = '[sinks.slow]\nplugin = "trouble"\nhow = "slow"\n'
    medians = []
    for extra in ("", slow):
        daemon = install(folder=tmp_path / f"{bool(extra)}", extra=extra, speed=10.0).start()
        made(daemon, 100)
        backlog = {sink["name"]: sink["backlog"] for sink in daemon.status()["sinks"]}
        daemon.stop()
        medians.append(statistics.median(delays_ms(daemon.events, verifier)))
    alone_ms, beside_ms = medians
    assert backlog["slow"] > 30 > backlog["broker"]
    assert beside_ms < alone_ms + 100
    tell(f"median delay {alone_ms:.0f} ms alone, {beside_ms:.0f} ms beside a slow one")


def test_a_stream_at_a_hundred_times_its_rate_changes_nothing_for_the_others(
    install, tell, tmp_path
):
    """The same samples with it and without it: the same events.

    More streams than a core can follow run slower, all of them.
    """
    hot = '[sources.hot]\nplugin = "restless"\nmotion = "{0}"\nbegin_ns = 0\ndata_ns = {1}\n'
    hot += "streams = 1\nspeed = {2}\n"
    data_ns, seconds, found = time.time_ns(), 16, []
    speed, message_s = min(1.0, 100 / STREAMS), 4
    decision = f"{RESTLESS}no_data_after_s = {message_s / speed + 10}\n"
    plain = "homeassistant = false\n"  # a thousand devices that appear at once are another test
    motion = tmp_path / "without" / "motion.npz"
    for name in ("without", "with"):
        folder = tmp_path / name
        extra = "" if name == "without" else hot.format(motion, data_ns, 100 * speed)
        daemon = install(
            folder=folder,
            extra=plain + extra,
            decision=decision,
            streams=STREAMS - 1,  # the hot one is the last that there is room for
            speed=speed,
            message_s=message_s,
            seconds=seconds,
            data_ns=data_ns,
            begin_ns=0,
        ).start()
        wait_for(lambda: _are_silent(daemon), 30 / speed + 120, daemon)  # noqa: B023 - called at once
        counts, usage = daemon.status()["counts"], daemon.usage()
        daemon.stop(30)
        events = logged(daemon.events)
        found.append({e.id for e in events if e.stream.startswith("restless") and not e.reason})
        found_hot = sum(e.stream.startswith("hot") for e in events)
        dropped = counts.get("inbox.dropped_samples", 0)
        assert found_hot or not dropped, f"{dropped} samples dropped without it: too slow a machine"
    tell(
        f"{STREAMS} streams: {len(found[0])} events without it, {len(found[0] & found[1])} of them "
        f"with it; {found_hot} of its own, {dropped} samples dropped, {usage[2] / 1000:.0f} MB"
    )
    assert found[0]
    assert found[0] == found[1]


def _are_silent(daemon):
    """Tell whether all wearers have ended, by what the log says of each 10 s later."""
    return daemon.log.exists() and len(_SILENT.findall(daemon.said())) >= STREAMS - 1


def test_five_thousand_malformed_messages_a_second_cost_a_valid_stream_nothing(
    broker, verifier, install, phones, tell
):
    daemon = install(extra=PHONES.format(port=broker.port), streams=1, speed=2.0).start()
    wait_for(lambda: daemon.said("phones: listening") or daemon.said("listening on"), 60, daemon)
    begin_ns, began_s, sent, flood = time.time_ns(), time.monotonic(), 0, 0
    seconds = 20
    while (gone_s := time.monotonic() - began_s) < seconds:
        while flood < gone_s * FLOOD_HZ:
            phones.publish(f"sensors/bad-{flood % 50}", MALFORMED[flood % len(MALFORMED)])
            flood += 1
        if sent < gone_s:
            phones.publish("sensors/good", _second(begin_ns, sent), qos=1)
            sent += 1
        time.sleep(0.005)
    flood_hz = flood / (time.monotonic() - began_s)
    wait_for(lambda: sum(counted(daemon, "phones.").values()) >= flood, 120, daemon)
    streams = {known["stream"]: known for known in daemon.status()["streams"]}
    samples = sum(streams["good"]["samples"].values())
    refused = counted(daemon, "phones.")
    ended(daemon)
    assert sum(refused.values()) == flood
    assert samples > 0.99 * sent * 100
    told = f"{samples} of {sent * 100} samples of the valid stream used"
    tell(f"{account(daemon.events, verifier)}; {flood} malformed at {flood_hz:.0f}/s, {told}")


def _second(begin_ns, second):
    """Return a second at rest as plain JSON, 50 Hz."""
    t = [begin_ns + second * 10**9 + i * 20_000_000 for i in range(50)]
    still = {"accel_x": 0.1, "accel_y": 0.2, "accel_z": 9.8, "gyro_x": 0, "gyro_y": 0, "gyro_z": 0}
    return json.dumps({"t": t} | {name: [value] * 50 for name, value in still.items()})


def test_a_hundred_thousand_retained_topics_take_no_memory(
    broker, verifier, install, phones, tell, tmp_path
):
    for n in range(RETAINED):
        body = MALFORMED[n % len(MALFORMED)] if n % 2 else _second(10**18, n % 7)[:200]
        sent = phones.publish(f"sensors/old-{n}", body, retain=True)
    sent.wait_for_publish(120)
    phones.publish("sensors/last", b"{", qos=1, retain=True).wait_for_publish(120)
    plain = install(folder=tmp_path / "plain", speed=5.0).start()
    made(plain, 10)
    resident_kb = plain.usage()[2]
    ended(plain)
    daemon = install(extra=PHONES.format(port=broker.port), speed=5.0).start()
    n = RETAINED + 1
    wait_for(
        lambda: _answers(daemon) and sum(counted(daemon, "phones.").values()) >= n, 180, daemon
    )
    made(daemon, 20)
    more_kb = daemon.usage()[2] - resident_kb
    refused = counted(daemon, "phones.")
    caught_up(daemon, verifier, 20)
    ended(daemon)
    assert refused == {"phones.retained": n}
    assert more_kb < 30_000
    events = logged(plain.events) + logged(daemon.events)
    assert {event.id for event in events} <= verifier.ids()
    tell(f"{len(events)} events, 0 lost; {n} left out, {more_kb} kB more than without them")


def _answers(daemon):
    try:
        return daemon.status()
    except Exception:  # noqa: BLE001 - it is not up yet
        return None


def test_plugins_that_raise_exit_and_hang_leave_the_others_alone(verifier, install, tell):
    bad = [("sources", "faulty", how) for how in ("raises", "exits", "hangs")]
    bad += [("sinks", "trouble", how) for how in ("raises", "hangs")]
    extra = "\n".join(f'[{g}.{how}-{g}]\nplugin = "{p}"\nhow = "{how}"' for g, p, how in bad)
    daemon = install(extra=extra).start()
    made(daemon, 200)
    caught_up(daemon, verifier, 20)
    degraded = daemon.status()["degraded"]
    status, took_s = daemon.stop()
    for name in ("raises-sources", "exits-sources", "raises-sinks"):
        assert daemon.said(name), name
    assert took_s < 4.5 + 1
    told = f"exit status {status} after {took_s:.1f} s, told: {degraded!r}"
    tell(f"{account(daemon.events, verifier)}; {told}")
