import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from hard.api import UnusableInput
from hard.card import ModelCard
from hard_training.evaluation.report import write_report

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run_folder(tmp_path):
    """What `hard-train run` leaves, with the bundled model in place of a new one."""
    card, model = ModelCard.load("pocket")
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(model, folder)
    shutil.copy(model.with_suffix(".json"), folder)
    rows = [
        {
            "number": n,
            "training_loss": 1 / n,
            "validation_loss": 1.1 / n,
            "validation_share_right": 1 - 0.5 / n,
        }
        for n in range(1, 6)
    ]
    (folder / "history.json").write_text(json.dumps(rows))
    label = np.repeat(np.arange(len(card.labels)), 20)
    probs = np.eye(len(card.labels))[label] * 0.8 + 0.2 / len(card.labels)
    person = np.tile([4, 10], len(label) // 2)
    with (folder / "predictions.npz").open("wb") as file:
        np.savez(file, probs=probs, label=label, person=person, recording=person)
    return folder


class Resources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_run_becomes_one_page_that_loads_nothing_from_elsewhere(
    run_folder, motionsense, monkeypatch, tmp_path
):
    monkeypatch.setenv("HARD_CACHE", str(tmp_path / "cache"))
    page = write_report(run_folder, data=motionsense)
    assert page == run_folder / "report.html"
    text = page.read_text("utf-8")
    resources = Resources()
    resources.feed(text)
    assert not resources.open
    assert all(source.startswith("data:image/png;base64,") for source in resources.found)
    drawn = {path.stem for path in (run_folder / "report-figures").glob("*.png")}
    assert {"curves", "validation-confusion", "validation-people", "validation-reliability"} < drawn
    assert "timelines" in drawn
    assert len(resources.found) == len(drawn)
    assert all(
        (run_folder / "report-figures" / f"{name}.png").read_bytes().startswith(PNG)
        for name in drawn
    )
    card = ModelCard.load("pocket")[0]
    for said in ("phone turned any way", "shaken in the hand", "as shipped", card.sha256):
        assert said in text
    assert json.loads((run_folder / "stress.json").read_text())["model"] == card.identity


def test_without_data_the_page_says_what_is_not_measured(run_folder, tmp_path):
    out = tmp_path / "elsewhere" / "page.html"
    text = write_report(run_folder, data=tmp_path, out=out).read_text("utf-8")
    assert "Not measured: stress: " in text
    assert "MotionSense" in text
    assert (out.parent / "report-figures" / "curves.png").is_file()


def test_what_was_measured_for_this_model_is_not_measured_again(run_folder, tmp_path):
    card = ModelCard.load("pocket")[0]
    kept = {
        "kind": "streaming",
        "model": card.identity,
        "data_set": "kept from before",
        "people": "nobody",
        "tolerance_s": 3.0,
        "rows": [{"labelled_h": 0, "segments": 0}],
        "examples": [],
    }
    row = dict.fromkeys(
        (*("right_known", "unknown", "precision", "recall", "false_events_per_hour"),)
    )
    row |= {"onset_delay_s": {"median": None, "p90": None}}
    row |= {"segments_by": {"fragmented": 0, "fragmented_merged": 0}}
    row |= {"decision": "argmax", "reference": "cold", "causal": True, "interval_95": [0, 1]}
    kept["rows"] = [kept["rows"][0] | row]
    (run_folder / "streaming.json").write_text(json.dumps(kept))
    text = write_report(run_folder, data=tmp_path).read_text("utf-8")
    assert "kept from before" in text
    kept["model"] = "another@00000000"
    (run_folder / "streaming.json").write_text(json.dumps(kept))
    assert "kept from before" not in write_report(run_folder, data=tmp_path).read_text("utf-8")


def test_foreign_text_is_never_markup(run_folder, tmp_path):
    (run_folder / "recipe.toml").write_text('name = "<script>alert(1)</script>"')
    text = write_report(run_folder, data=tmp_path).read_text("utf-8")
    assert "<script" not in text
    assert re.search("&lt;script&gt;", text)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UnusableInput, match="no model in it"):
        write_report(tmp_path)
