"""Downloads, against a server of the test's own that breaks in every way that servers do."""

import hashlib
import io
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hard_training.datasets import DATA_SETS
from hard_training.fetch import FetchFailed, fetch


def archive(seed=0):
    """A zip of 600 kB that can't be compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        blocks = (hashlib.sha512(bytes([seed, *i.to_bytes(2)])).digest() for i in range(9600))
        file.writestr("set/a.bin", b"".join(blocks))
    return buffer.getvalue()


BODY = archive()


class Server(ThreadingHTTPServer):
    """Serves one body; `breaks` are the bytes after which its next connections break off."""

    daemon_threads = True

    def __init__(self, body=BODY, **how):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag = body, '"one"'
        self.breaks = how.get("breaks", [])
        self.ranges = how.get("ranges", True)
        self.sized = how.get("sized", True)
        self.claimed = how.get("claimed", len(body))
        self.status = how.get("status", 200)
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files/set.zip"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server, begin = self.server, 0
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        current = self.headers.get("If-Range") in (None, server.etag)
        if wanted and server.ranges and current:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(server.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.body)}")
                self.end_headers()
                return
            self.send_response(206)
            last, size = len(server.body) - 1, len(server.body)
            self.send_header("Content-Range", f"bytes {begin}-{last}/{size}")
        else:
            self.send_response(200)
        if server.sized:
            self.send_header("Content-Length", str(server.claimed - begin))
        self.send_header("ETag", server.etag)
        self.end_headers()
        part = server.body[begin:]
        if server.breaks:
            part = part[: server.breaks.pop(0)]
        self.wfile.write(part)


@contextmanager
def serving(**how):
    server = Server(**how)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def data_set(url):
    return replace(DATA_SETS["motionsense"], url=url, archives=("set.zip",), folders=("set",))


def get(server, folder):
    seen = []
    found = fetch(data_set(server.url), folder, lambda n, total: seen.append((n, total)))
    return found, seen


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_archive_comes_whole_with_progress_and_its_checksum_beside(tmp_path):
    with serving() as server:
        found, seen = get(server, tmp_path / "data")
    assert found.path.read_bytes() == BODY
    assert found.sha256 == hashlib.sha256(BODY).hexdigest()
    assert seen[-1] == (len(BODY), len(BODY))
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
    assert left(tmp_path / "data") == ["set.zip", "set.zip.sha256"]
    assert (tmp_path / "data/set.zip.sha256").read_text().split() == [found.sha256, "set.zip"]


def test_what_is_there_is_not_asked_for_again(tmp_path):
    with serving() as server:
        get(server, tmp_path)
        again, seen = get(server, tmp_path)
        assert again.already
        assert seen == []
        assert len(server.asked) == 1


def test_broken_connections_are_gone_on_with(tmp_path):
    with serving(breaks=[100_000, 1, 300_000]) as server:
        found, _ = get(server, tmp_path)
        assert found.path.read_bytes() == BODY
        assert server.asked == [None, "bytes=100000-", "bytes=100001-", "bytes=400001-"]


def test_a_run_that_gave_up_is_gone_on_with_by_the_next(tmp_path):
    with serving(breaks=[200_000, 0, 0, 0, 0, 0]) as server:
        with pytest.raises(FetchFailed, match="5 times at byte 200000; run the command again"):
            get(server, tmp_path)
        assert left(tmp_path) == ["set.zip.part", "set.zip.part.json"]
        found, _ = get(server, tmp_path)
        assert server.asked[-1] == "bytes=200000-"
    assert found.path.read_bytes() == BODY
    assert left(tmp_path) == ["set.zip", "set.zip.sha256"]


def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path):
    with serving(breaks=[200_000, 0, 0, 0, 0, 0]) as server:
        with pytest.raises(FetchFailed):
            get(server, tmp_path)
        server.etag, server.body = '"two"', archive(1)
        server.claimed = len(server.body)
        found, _ = get(server, tmp_path)
        assert found.path.read_bytes() == server.body


def test_a_server_without_ranges_sends_it_all_again(tmp_path):
    with serving(breaks=[200_000], ranges=False) as server:
        found, _ = get(server, tmp_path)
    assert found.path.read_bytes() == BODY


def test_a_whole_part_left_behind_is_finished_by_416(tmp_path):
    (tmp_path / "set.zip.part").write_bytes(BODY)
    (tmp_path / "set.zip.part.json").write_text('{"validator": "\\"one\\""}')
    with serving() as server:
        found, _ = get(server, tmp_path)
        assert server.asked == [f"bytes={len(BODY)}-"]
    assert found.path.read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path):
    (tmp_path / "set.zip.part").write_bytes(BODY + b"more")
    (tmp_path / "set.zip.part.json").write_text('{"validator": "\\"one\\""}')
    with serving() as server:
        found, _ = get(server, tmp_path)
    assert found.path.read_bytes() == BODY


def test_a_part_of_unknown_origin_is_begun_anew(tmp_path):
    (tmp_path / "set.zip.part").write_bytes(b"what is this")
    with serving() as server:
        found, _ = get(server, tmp_path)
        assert server.asked == [None]
    assert found.path.read_bytes() == BODY


def test_a_server_that_says_no_size_is_believed_if_the_archive_opens(tmp_path):
    with serving(sized=False) as server:
        found, seen = get(server, tmp_path)
    assert found.path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), None)


def test_a_length_that_never_comes_is_said_and_the_part_kept(tmp_path):
    with (
        serving(claimed=len(BODY) + 10, ranges=False) as server,
        pytest.raises(FetchFailed, match="the connection broke off, 5 times"),
    ):
        get(server, tmp_path)
    assert "set.zip" not in left(tmp_path)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_names_the_address_and_what_to_do(tmp_path, status):
    with serving(status=status) as server, pytest.raises(FetchFailed) as caught:
        get(server, tmp_path)
    assert str(status) in str(caught.value)
    assert server.url in str(caught.value)
    assert str(tmp_path / "set.zip") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_page_instead_of_an_archive_is_refused_and_removed(tmp_path):
    with (
        serving(body=b"<html>accept our terms</html>") as server,
        pytest.raises(FetchFailed, match="no archive"),
    ):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_an_archive_that_is_not_the_one_of_the_first_time_is_refused(tmp_path):
    (tmp_path / "set.zip.sha256").write_text(f"{'0' * 64}  set.zip\n")
    with serving() as server, pytest.raises(FetchFailed, match="sha256"):
        get(server, tmp_path)
    assert left(tmp_path) == ["set.zip.sha256"]


def test_a_disk_too_small_is_noticed_before_the_download(tmp_path):
    with serving(claimed=10**18) as server, pytest.raises(FetchFailed, match="MB free"):
        get(server, tmp_path)


def test_without_a_network_the_sentence_says_where_to_put_it(tmp_path):
    with serving() as server:
        url = server.url
    with pytest.raises(FetchFailed, match="can't be reached") as caught:
        fetch(data_set(url), tmp_path, lambda *_: None)
    assert str(tmp_path / "set.zip") in str(caught.value)


def test_what_has_no_address_says_where_it_belongs(tmp_path):
    with pytest.raises(FetchFailed, match="hard record"):
        fetch(DATA_SETS["own"], tmp_path, lambda *_: None)


def test_every_address_is_its_authors_and_ends_in_an_archive_of_a_known_name():
    for each in DATA_SETS.values():
        if each.url is not None:
            assert each.url.startswith(("https://", "http://wifo5-14.informatik.uni-mannheim.de/"))
            assert each.url.rpartition("/")[2] in (*each.archives, "files-archive"), each.name
