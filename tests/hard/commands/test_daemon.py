"""`hard status`, `label` and `calibrate` at the prompt; the daemon's side: test_control.py."""

import json

import pytest

from tests.calling import answering, hard


@pytest.mark.parametrize("command", [["status"], ["label", "a", "b"], ["calibrate", "a"]])
def test_a_busy_daemon_is_told_in_its_own_words(tmp_path, command):
    (tmp_path / "hard.toml").write_text(f'[hard]\nstate_dir = "{tmp_path}"\n')
    sentence = "8 clients are being served: try again"
    busy = json.dumps({"ok": False, "error": "busy", "message": sentence})
    with answering(tmp_path / "control.sock", f"{busy}\n".encode()):
        done = hard(*command, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[1:] == [sentence]


def test_a_daemon_is_asked_though_its_configuration_has_errors_by_now(tmp_path):
    (tmp_path / "hard.toml").write_text(f'[hard]\nstate_dir = "{tmp_path}"\n[sinks.q\n')
    busy = json.dumps({"ok": False, "error": "busy", "message": "try again"})
    with answering(tmp_path / "control.sock", f"{busy}\n".encode()):
        assert "try again" in hard("status", folder=tmp_path).stderr
    done = hard("status", folder=tmp_path)
    assert done.returncode == 78
    assert "not valid TOML" in done.stderr


def test_a_daemon_that_hangs_up_is_no_traceback(tmp_path):
    (tmp_path / "hard.toml").write_text(f'[hard]\nstate_dir = "{tmp_path}"\n')
    with answering(tmp_path / "control.sock", b""):
        done = hard("status", folder=tmp_path)
    assert done.returncode == 1
    assert "no answer from the daemon" in done.stderr
