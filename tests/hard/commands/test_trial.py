"""`hard simulate` and `hard bench`."""

import json

from tests.calling import hard


def test_simulate_is_the_same_for_the_same_seed_and_leaves_nothing_half_written(tmp_path):
    for name in ("a.csv", "b.csv"):
        assert hard("simulate", tmp_path / name, "--script", "walking:5").returncode == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    done = hard("simulate", tmp_path / "c.csv", "--script", "flying:5")
    assert done.returncode == 2
    assert "flying" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "b.csv"]


def test_bench_prints_its_figures(day):
    figures = json.loads(hard("bench", day, "--json").stdout)
    assert figures["windows"] == (110 * 50 - 128) // 64 + 1
    assert figures["ratio"] >= 1
