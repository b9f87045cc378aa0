"""Texts by name and from files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from nnlab.errors import ArgumentError, DataError
from nnlab.text import load, source, split


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Straße\r\nzwei\n".encode())
    assert load(path) == load(str(path)) == "Straße\nzwei\n"
    path.write_bytes(b"abc\xff\n")
    with pytest.raises(DataError, match=r"a.txt is no text in UTF-8: invalid start byte at byte 3"):
        load(path)
    with pytest.raises(ArgumentError, match=r"must be one of tinyshakespeare or a text file, got 'shakespear'"):
        load("shakespear")


def test_the_end_is_held_out() -> None:
    text = "".join(map(chr, range(48, 48 + 39)))
    training, held_out = split(text)
    assert training + held_out == text and len(held_out) == 3
    assert [len(part) for part in split(text, 0.5)] == [20, 19]


def test_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"'tinyshakespeare' is not in .*expected input.txt"):
        load("tinyshakespeare", tmp_path)
    (tmp_path / "input.txt").write_text("First Citizen:\n")
    with pytest.raises(DataError, match=r"input.txt is not the published 'tinyshakespeare': its checksum"):
        load("tinyshakespeare", tmp_path)
    checksum = "sha256:" + hashlib.sha256(b"First Citizen:\n").hexdigest()
    monkeypatch.setitem(source.SOURCES, "tinyshakespeare", source.Source("input.txt", checksum, ()))
    assert load("tinyshakespeare", tmp_path) == "First Citizen:\n"
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / "input.txt").rename(tmp_path / "tinyshakespeare" / "input.txt")
    assert load("tinyshakespeare", tmp_path) == "First Citizen:\n"
    for published in source.SOURCES.values():
        assert all(re.fullmatch(r"https://[^\s]+/", mirror) for mirror in published.mirrors)


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is fetched, and where it goes."""
    asked = []

    def download(urls: list[str], path: Path, checksum: str, progress: bool) -> None:
        asked.append((urls, path, checksum))
        path.parent.mkdir(parents=True)
        path.write_text("text")

    monkeypatch.setattr("nnlab.data.download.download", download)
    checksum = "sha256:" + hashlib.sha256(b"text").hexdigest()
    monkeypatch.setitem(source.SOURCES, "small", source.Source("a.txt", checksum, ("https://one/", "https://two/")))
    assert load("small", tmp_path, download=True) == "text"
    assert asked == [(["https://one/a.txt", "https://two/a.txt"], tmp_path / "small" / "a.txt", checksum)]


def test_tiny_shakespeare(data_dir: Path) -> None:
    if not (data_dir / "tinyshakespeare").is_dir():
        pytest.skip(f"no tinyshakespeare in {data_dir}")
    text = load("tinyshakespeare", data_dir)
    assert len(text) == 1_115_394 and len(set(text)) == 65
    training, held_out = split(text)
    assert len(held_out) == 111_539 and set(training) == set(text)
