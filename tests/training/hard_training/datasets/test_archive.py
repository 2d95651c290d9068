"""Archives in archives, in tars, in folders, and what Macs leave in them."""

import io
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from hard_training.datasets import DataUnusable
from hard_training.datasets.archive import on_disk, open_archive, unpacked


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


INNER = zipped({"set/a.txt": "A", "set/__MACOSX/a.txt": "no", "__MACOSX/set/._a.txt": "no"})


def test_a_zip_within_a_zip_is_entered_where_it_is_asked_for(tmp_path):
    path = tmp_path / "outer.zip"
    path.write_bytes(zipped({"Inner Set.zip": INNER, "b.txt": "B", "__MACOSX/._b.txt": "no"}))
    with open_archive(path, r"Inner Set\.zip") as archive:
        assert [str(p) for p in archive.members] == ["Inner Set.zip/set/a.txt", "b.txt"]
        ((member, match),) = archive.files(r"(a)\.txt")
        assert match[1] == "a"
        with member.open() as file:
            assert file.read() == b"A"
    with open_archive(path) as archive:
        assert [str(p) for p in archive.members] == ["Inner Set.zip", "b.txt"]


def test_a_tar_is_read_like_a_zip(tmp_path):
    path = tmp_path / "set.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in {"set/a.txt": b"A", "set/._a.txt": b"no"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with open_archive(path) as archive:
        assert list(archive.members) == [PurePosixPath("set/a.txt")]
        with on_disk(archive.needed(PurePosixPath("set/a.txt"))) as file:
            assert file.read_text() == "A"
    assert not file.exists()


def test_an_unpacked_folder_is_read_where_it_lies(tmp_path):
    (tmp_path / "set" / "deep").mkdir(parents=True)
    (tmp_path / "set" / "deep" / "a.txt").write_text("A")
    (tmp_path / "set" / "Inner.zip").write_bytes(INNER)
    with open_archive(tmp_path / "set", r"Inner\.zip") as archive:
        assert len(archive.files(r"a\.txt")) == 2
        member = archive.needed(PurePosixPath("deep/a.txt"))
        with on_disk(member) as file:
            assert file == tmp_path / "set" / "deep" / "a.txt"


def test_files_that_belong_together_keep_their_places(tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(zipped({"s/x/accel/a.txt": "1", "s/x/gyro/g.txt": "2", "s/other.txt": "3"}))
    with open_archive(path) as archive:
        ((accel, _),), ((gyro, _),) = archive.files(r"a\.txt"), archive.files(r"g\.txt")
        with unpacked(accel, gyro) as file:
            assert file.read_text() == "1"
            assert (file.parent.parent / "gyro" / "g.txt").read_text() == "2"


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "set").mkdir()
    with open_archive(tmp_path / "set") as archive:
        with pytest.raises(DataUnusable, match=r"labels\.txt is missing"):
            archive.needed(PurePosixPath("labels.txt"))
        with pytest.raises(DataUnusable, match="no file in it is named like"):
            archive.files(r"acc_.*")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (INNER[:-30], "cut short"),
        (b"<html>please log in</html>", "neither a zip"),
        (b"", "neither a zip"),
    ],
)
def test_what_is_no_archive_is_told_in_a_sentence(tmp_path, data, why):
    path = tmp_path / "set.zip"
    path.write_bytes(data)
    with pytest.raises(DataUnusable, match=why), open_archive(path):
        pass
