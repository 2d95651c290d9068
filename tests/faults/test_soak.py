"""Minutes or hours (SOAK_MINUTES) of mixed faults in seeded order, and what stays of them."""

import os
import random
import time

import numpy as np
import pytest

from tests.faults.test_broker import SEED, caught_up, ended, made
from tests.faults.verifier import account

MINUTES = float(os.environ.get("SOAK_MINUTES", "3"))


@pytest.mark.faults
def test_mixed_faults_leave_no_memory_thread_or_file_behind(broker, verifier, install, tell):
    rng = random.Random(SEED)
    daemon = install(keepalive_s=5, speed=10.0).start()
    made(daemon, 30)
    began_s, seen, n = time.monotonic(), [], 0
    while (gone_s := time.monotonic() - began_s) < MINUTES * 60:
        seen.append((gone_s, *daemon.usage()))
        fault = rng.choice(["killed", "stopped", "frozen", "none"])
        _suffer(broker, fault, rng.uniform(0.5, 12))
        verifier.be_there()
        caught_up(daemon, verifier, 90)
        n += fault != "none"
    ended(daemon)
    t, threads, files, kb = np.array(seen[len(seen) // 2 :]).T
    slope_mb_h = float(np.polyfit(t, kb, 1)[0]) * 3600 / 1000 if len(t) > 2 else 0.0
    tell(
        f"{account(daemon.events, verifier)}; seed {SEED}, {n} faults in {MINUTES:g} minutes, "
        f"{slope_mb_h:+.1f} MB/h in the second half (from {kb[0]:.0f} to {kb[-1]:.0f} kB), threads "
        f"{threads.min():.0f} to {threads.max():.0f}, files {files.min():.0f} to {files.max():.0f}"
    )
    assert kb[-1] < kb[0] + 4_000
    assert slope_mb_h < 1 or MINUTES < 60
    assert np.ptp(files) <= 2
    assert np.ptp(threads) <= 1


def _suffer(broker, fault, for_s):
    if fault == "killed":
        broker.kill()
        time.sleep(for_s / 4)
        broker.start()
    elif fault == "stopped":
        broker.stop()
        time.sleep(for_s)
        broker.start()
    elif fault == "frozen":
        broker.freeze()
        time.sleep(for_s)
        broker.thaw()
    else:
        time.sleep(for_s / 2)
