"""A model is taken in whole, or refused in a sentence with nothing left behind."""

import hashlib
import http.server
import io
import os
import stat
import threading
import zipfile
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hard import installing
from hard.card import ModelCard, ModelRefused, installed, installed_card
from hard.installing import bundle_from, install
from tests.models import CRASHING_SEED, MODEL, mutated, written


def zipped(path, files, links=()):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for name in links:
            link = zipfile.ZipInfo(name)
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/passwd")
    return path


def own(folder, **fields):
    return written(folder, stem="own", name="own", **fields)


def put(source, folder, sha256=None, force=False):
    return install(bundle_from(str(source), sha256), folder, force=force)


@pytest.fixture
def card(tmp_path):
    return own(tmp_path / "made")


@pytest.fixture
def files(card):
    """Return the two files of a good model, as an archive would name them."""
    return {"own.json": card.read_bytes(), "own.tflite": MODEL}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state/models"


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_card_a_model_a_folder_and_a_zip_of_it_are_the_same(card, files, folder, tmp_path):
    archive = zipped(tmp_path / "own.zip", {f"models/{k}": v for k, v in files.items()})
    for source in (card, card.with_suffix(".tflite"), card.parent, archive):
        was, is_new = put(source, folder)
        assert (was.name, is_new) == ("own", source == card)
    assert ModelCard.load(installed_card(folder, "own"))[0].identity == was.identity
    assert installed(folder) == [folder / "own/own.json"]


def test_it_is_found_under_the_name_that_its_card_has(folder, tmp_path):
    put(written(tmp_path, stem="any-file", name="own"), folder)
    assert [path.name for path in installed(folder)] == ["own.json"]


def test_another_of_its_name_replaces_it_only_when_asked_and_leaves_nothing(card, folder, tmp_path):
    put(card, folder)
    other = own(tmp_path / "other", description="another")
    with pytest.raises(ModelRefused, match="another model of this name is there: --force"):
        put(other, folder)
    put(other, folder, force=True)
    assert ModelCard.load(installed_card(folder, "own"))[0].description == "another"
    (kept,) = [path for path in folder.iterdir() if not path.is_symlink()]
    assert everything(folder) == [
        kept.name,
        f"{kept.name}/own.json",
        f"{kept.name}/own.tflite",
        "own",
    ]


def test_the_service_may_read_it_whoever_installs_it(card, folder):
    before = os.umask(0o077)
    try:
        put(card, folder)
    finally:
        os.umask(before)
    there = installed_card(folder, "own")
    assert there.stat().st_mode & 0o777 == 0o644
    assert there.resolve().parent.stat().st_mode & 0o777 == 0o755


def test_a_bundled_models_name_is_not_taken(tmp_path, folder):
    with pytest.raises(ModelRefused, match="'pocket' is the name of a bundled model"):
        put(written(tmp_path), folder)
    assert not folder.exists()


def test_a_folder_that_somebody_made_is_not_touched(card, folder):
    (folder / "own").mkdir(parents=True)
    (folder / "own/mine").write_text("")
    with pytest.raises(ModelRefused, match="was not put there by hard: remove it"):
        put(card, folder, force=True)
    assert everything(folder) == ["own", "own/mine"]


CASES = {
    "traversal": lambda files: ({"../own.json": files["own.json"]}, "leads out of the archive"),
    "absolute": lambda files: ({"/own.json": files["own.json"]}, "leads out of the archive"),
    "backslash": lambda files: ({"..\\own.json": b""}, "leads out of the archive"),
    "no model": lambda files: ({"own.json": files["own.json"]}, "holds 0 models"),
    "two": lambda files: (files | {"b.json": b"{}", "b.tflite": b""}, "holds 2 models"),
    "many": lambda files: (files | {f"{i}": b"" for i in range(1001)}, "holds 1003 files"),
    "bomb": lambda files: (files | {"own.tflite": bytes(70 << 20)}, "larger than 64 MB"),
    "card bomb": lambda files: (files | {"own.json": b" " * (5 << 20)}, "larger than 4 MB"),
    "no card": lambda files: (files | {"own.json": b"[]"}, "not a valid model card"),
    "wrong hash": lambda files: (files | {"own.tflite": MODEL + b"x"}, "its sha256 is"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_archive_is_refused_in_one_sentence(case, files, folder, tmp_path):
    members, told = CASES[case](files)
    with pytest.raises(ModelRefused, match=told) as refusal:
        put(zipped(tmp_path / "bad.zip", members), folder)
    assert str(refusal.value).startswith(f"{tmp_path}/bad.zip: ")
    assert "\n" not in str(refusal.value)
    assert not folder.exists()


def test_an_archive_with_a_link_is_refused(files, folder, tmp_path):
    archive = zipped(tmp_path / "bad.zip", files, links=["extra"])
    with pytest.raises(ModelRefused, match="'extra' is a link"):
        put(archive, folder)


def test_links_pipes_and_missing_files_are_refused(card, folder, tmp_path):
    (tmp_path / "link.json").symlink_to(card)
    os.mkfifo(tmp_path / "pipe.json")
    for name, told in (
        ("link.json", "no regular file"),
        ("pipe.json", "no regular file"),
        ("nothing.json", "No such file"),
        ("", "holds not one model but none"),
    ):
        with pytest.raises(ModelRefused, match=told):
            put(tmp_path / name, folder)
    card.with_suffix(".tflite").unlink()
    with pytest.raises(ModelRefused, match=r"own\.tflite: can't be read"):
        put(card, folder)
    assert not folder.exists()


def test_a_model_that_crashes_or_computes_something_else_is_refused(folder, tmp_path):
    zeroed = bytearray(MODEL)
    zeroed[len(MODEL) // 3 : 2 * len(MODEL) // 3] = bytes(len(MODEL) // 3)
    for number, model in enumerate((mutated(CRASHING_SEED), bytes(zeroed))):
        bad = written(tmp_path / f"{number}", model, stem="own", name="own")
        with pytest.raises(ModelRefused) as refusal:
            put(bad, folder)
        assert str(refusal.value).startswith(f"{bad}: ")
    assert not folder.exists()


def test_the_hash_of_a_file_must_be_the_one_that_is_given(card, folder):
    true = hashlib.sha256(card.read_bytes()).hexdigest()
    with pytest.raises(ModelRefused, match=f"its sha256 is {true[:12]}…, not 000"):
        put(card, folder, "0" * 64)
    assert put(card, folder, true.upper())[1]
    with pytest.raises(ModelRefused, match="--sha256 is of a file"):
        put(card.parent, folder, true)


def test_a_full_disk_leaves_nothing(card, folder, tmp_path):
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(ModelRefused, match="can't be written"):
        put(card, folder)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 2**31), byte=st.integers(0, 255), cut=st.integers(0, 2**31))
def test_any_damage_to_an_archive_is_a_refusal_or_none(files, at, byte, cut):
    buffer = io.BytesIO()
    zipped(buffer, files)
    data = bytearray(buffer.getvalue())
    data[at % len(data)] = byte
    try:
        bundle = installing._bundle("x.zip", bytes(data[: cut % len(data)]), bytes)
    except ModelRefused:
        return
    assert bundle.card


# -- from elsewhere ------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path):
    """Return a folder, and the address under which a web server on this machine has it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_card_or_a_zip_comes_from_elsewhere_with_its_hash(served, files, folder):
    there, url = served
    zipped(there / "own.zip", files)
    for name, data in files.items():
        (there / name).write_bytes(data)
    for name in ("own.zip", "own.json"):
        sha256 = hashlib.sha256((there / name).read_bytes()).hexdigest()
        assert put(f"{url}/{name}", folder, sha256)[0].name == "own"


def test_from_elsewhere_nothing_comes_without_or_with_another_hash(served, files, folder):
    there, url = served
    zipped(there / "own.zip", files)
    for address, sha256, told in (
        (f"{url}/own.zip", None, "needs --sha256"),
        (f"{url}/own.zip", "0" * 64, "its sha256 is"),
        (f"{url}/other.zip", "0" * 64, "can't be fetched: HTTP Error 404"),
        ("http://127.0.0.1:9/own.zip", "0" * 64, "can't be fetched"),
        ("file:///etc/passwd", "0" * 64, "only http:// and https://"),
        ("http://[", "0" * 64, "can't be fetched: Invalid"),
    ):
        with pytest.raises(ModelRefused, match=told):
            put(address, folder, sha256)
    assert not folder.exists()


def test_what_is_too_large_is_not_read_to_its_end(served, folder):
    there, url = served
    with (there / "large.zip").open("wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(ModelRefused, match="larger than 68 MB"):
        put(f"{url}/large.zip", folder, "0" * 64)
