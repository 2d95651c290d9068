"""A model proves itself once on a machine, not at each start."""

import json

import pytest

from hard.card import ModelRefused
from hard.proofs import Proofs, runtime
from tests.models import mutated, written


def test_a_bundled_model_needs_no_proof(tmp_path):
    Proofs(tmp_path).demand("pocket")
    assert not list(tmp_path.iterdir())


def test_what_was_proved_is_known_at_the_next_start(tmp_path):
    card = written(tmp_path / "own", stem="own")
    state = tmp_path / "state"
    proofs = Proofs(state)
    assert card not in proofs
    proofs.demand(card)
    assert card in Proofs(state)
    assert [path.name for path in state.iterdir()] == ["proven-models.json"]


def test_another_file_of_that_name_is_not(tmp_path):
    proofs = Proofs(tmp_path)
    proofs.demand(written(tmp_path, stem="own"))
    assert written(tmp_path, mutated(1), stem="own") not in proofs


def test_without_a_state_directory_it_is_known_as_long_as_the_daemon_runs(tmp_path):
    card = written(tmp_path, stem="own")
    proofs = Proofs(None)
    proofs.demand(card)
    assert card in proofs
    assert card not in Proofs(None)


def test_with_another_runtime_it_is_proved_again(tmp_path):
    card = written(tmp_path, stem="own")
    Proofs(tmp_path).demand(card)
    file = tmp_path / "proven-models.json"
    file.write_text(file.read_text().replace(runtime(), "another 1.0"))
    assert card not in Proofs(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"with": 1}', '{"sha256": 3}', "[" * 99999])
def test_a_damaged_memory_is_no_memory(tmp_path, text):
    (tmp_path / "proven-models.json").write_text(text)
    assert written(tmp_path, stem="own") not in Proofs(tmp_path)


def test_a_memory_that_can_not_be_written_costs_a_proof_and_no_more(tmp_path):
    (tmp_path / "file").write_text("")
    proofs = Proofs(tmp_path / "file")
    proofs.demand(card := written(tmp_path, stem="own"))
    assert card in proofs


def test_the_memory_stays_small(tmp_path):
    proofs = Proofs(tmp_path)
    for number in range(300):
        proofs.add(f"{number:064x}")
    kept = json.loads((tmp_path / "proven-models.json").read_text())["sha256"]
    assert kept == [f"{number:064x}" for number in range(200, 300)]


def test_a_model_that_is_refused_is_not_remembered(tmp_path):
    card = written(tmp_path, stem="own", sha256="0" * 64)
    proofs = Proofs(tmp_path / "state")
    with pytest.raises(ModelRefused, match="its sha256 is"):
        proofs.demand(card)
    assert card not in proofs
