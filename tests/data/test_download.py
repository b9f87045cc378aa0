"""Downloads, from a server on the loopback interface that can be told to misbehave."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nnlab.data import load, named
from nnlab.data.download import download
from nnlab.data.progress import default_progress
from nnlab.errors import ArgumentError, DataError
from tests.data.test_images import write_mnist

DATA = np.random.default_rng(0).bytes(1_000_003)
SHA = "sha256:" + hashlib.sha256(DATA).hexdigest()


class Server:
    """Serves ``files``; each entry of ``plan`` changes the answer to one request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/file.bin": DATA}
        self.plan: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        plan = self.plan.pop(0) if self.plan else {}
        data = self.files.get(handler.path)
        if plan.get("status") or data is None:
            handler.send_error(plan.get("status", 404))
            return
        data = plan.get("data", data)
        start = 0
        if wanted and plan.get("ranges", True):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                handler.send_error(416)
                return
            handler.send_response(206)
            start = plan.get("start", start)
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            handler.send_response(200)
        if plan.get("length", True):
            handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start : plan.get("cut", len(data))])


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def test_a_file(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    seen: list[tuple[int, int | None]] = []
    assert download(server.url + "file.bin", path, SHA, progress=lambda *numbers: seen.append(numbers)) == path
    assert path.read_bytes() == DATA
    assert os.listdir(path.parent) == ["file.bin"]
    assert seen[0] == (0, len(DATA))
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    download(server.url + "file.bin", path, "md5:" + hashlib.md5(DATA).hexdigest())
    assert len(server.requests) == 1  # it was there, and right


def test_a_cut_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.plan = [{"cut": 400_000}, {"cut": 700_000}]
    path = download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=False)
    assert path.read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == [None, "bytes=400000-", "bytes=700000-"]


def test_a_part_of_an_earlier_run_is_resumed(server: Server, tmp_path: Path) -> None:
    server.plan = [{"cut": 400_000}] + [{"status": 503}] * 3
    with pytest.raises(DataError, match="HTTP status 503"):
        download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=False)
    assert (tmp_path / "file.bin.part").read_bytes() == DATA[:400_000]
    seen: list[int] = []
    download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=lambda done, total: seen.append(done))
    assert seen[0] == 400_000
    assert (tmp_path / "file.bin").read_bytes() == DATA
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(DATA[:1000])
    server.plan = [{"ranges": False, "length": False}]
    assert download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=False).read_bytes() == DATA
    assert len(server.requests) == 1


def test_a_server_that_sends_another_range(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(DATA[:1000])
    server.plan = [{"start": 0}]
    assert download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=False).read_bytes() == DATA
    assert len(server.requests) == 1


@pytest.mark.parametrize("part", [DATA, DATA + b"more", b"wrong" * 1000], ids=["complete", "too long", "wrong"])
def test_parts_of_any_kind(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "file.bin.part").write_bytes(part)
    assert download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=False).read_bytes() == DATA
    assert len(server.requests) == (1 if part == DATA else 2)


def test_mirrors(server: Server, tmp_path: Path) -> None:
    server.files["/other/file.bin"] = b"not it"
    urls = [server.url + place + "file.bin" for place in ("missing/", "other/", "")]
    assert download(urls, tmp_path / "file.bin", SHA, progress=False).read_bytes() == DATA
    assert [path for path, _ in server.requests] == ["/missing/file.bin", "/other/file.bin", "/file.bin"]


def test_nothing_wrong_is_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"an older version")
    server.files["/file.bin"] = b"x" + DATA[1:]
    urls = [server.url + "file.bin", server.url + "missing.bin"]
    with pytest.raises(
        DataError, match=rf"cannot get file\.bin: .*checksum must be {SHA}, got sha256:.*HTTP status 404"
    ):
        download(urls, path, SHA, progress=False)
    assert os.listdir(tmp_path) == ["file.bin"]
    assert path.read_bytes() == b"an older version"


def test_no_connection(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/file\.bin: connection failed"):
        download("http://127.0.0.1:9/file.bin", tmp_path / "file.bin", SHA, progress=False)


def test_a_server_that_stalls(tmp_path: Path, server: Server) -> None:
    event = threading.Event()
    server.answer = lambda handler: event.wait(10)  # type: ignore[assignment, method-assign]
    with pytest.raises(DataError, match="timed out"):
        download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=False, timeout=0.2)
    event.set()


def test_disk_full(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(
        DataError, match=r"cannot write .*file\.bin\.part \(disk full\): .*1000003 bytes to come, 1000 "
    ):
        download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=False)
    monkeypatch.undo()

    def full(done: int, total: int | None) -> None:
        if done > 500_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="disk full"):
        download(server.url + "file.bin", tmp_path / "file.bin", SHA, progress=full)
    assert (tmp_path / "file.bin.part").stat().st_size > 500_000  # for the next attempt


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match="cannot write"):
        download(server.url + "file.bin", tmp_path / "taken" / "file.bin", SHA, progress=False)


def test_bad_checksum_kind(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="checksum"):
        download("http://127.0.0.1:9/x", tmp_path / "x", "crc32:00")


def test_lines_when_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with default_progress("train.gz") as report:
        for done in (0, 1_000_000, 2_000_000):
            report(done, 2_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["train.gz: 0.0 MB of 2.0 MB (0 %)", "train.gz: 2.0 MB of 2.0 MB (100 %)"]


def test_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with default_progress("train.gz") as report:
        report(1_000_000, 2_000_000)
        report(2_000_000, 2_000_000)
    shown = capsys.readouterr().err
    assert "train.gz" in shown
    assert "2.0/2.0 MB" in shown


class Wanted(NamedTuple):
    root: Path
    source: named.Source


@pytest.fixture
def small_mnist(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wanted:
    """The server has a small MNIST, and ``load`` looks there."""
    write_mnist(tmp_path / "served")
    checksums = {}
    for path in (tmp_path / "served").iterdir():
        server.files[f"/{path.name}"] = path.read_bytes()
        checksums[path.name] = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    files = {name: checksums[name] for name in named.SOURCES["mnist"].files}
    source = replace(named.SOURCES["mnist"], mirrors=(server.url + "gone/", server.url), files=files)
    monkeypatch.setitem(named.SOURCES, "mnist", source)
    return Wanted(tmp_path / "data", source)


def test_load_downloads_what_is_missing(
    server: Server, small_mnist: Wanted, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="allow the download"):
        load("mnist", root=small_mnist.root)
    assert not server.requests
    dataset = load("mnist", root=small_mnist.root, download=True)
    assert len(dataset) == 20
    assert sorted(os.listdir(small_mnist.root / "mnist")) == sorted(small_mnist.source.files)
    assert "t10k-labels-idx1-ubyte.gz: 0.0 MB" in capsys.readouterr().err
    count = len(server.requests)
    assert len(load("mnist", root=small_mnist.root, train=False, download=True)) == 10
    assert len(server.requests) == count
    (small_mnist.root / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    load("mnist", root=small_mnist.root, download=True, progress=False)
    assert {path.rsplit("/")[-1] for path, _ in server.requests[count:]} == {"train-labels-idx1-ubyte.gz"}


def test_the_published_addresses_are_well_formed() -> None:
    for source in named.SOURCES.values():
        assert source.mirrors
        assert all(re.fullmatch(r"https?://[^\s]+/", mirror) for mirror in source.mirrors)
        for checksum in source.files.values():
            assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", checksum)
