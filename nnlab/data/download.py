"""Downloads with checksum, mirrors and resume.

A file is written to ``<name>.part`` and renamed once its checksum is right, so the final name never holds anything
wrong. A ``.part`` left by an interrupted download is continued with an HTTP range request.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from nnlab.data.progress import Progress, default_progress
from nnlab.errors import ArgumentError, DataError, complaint

_BLOCK = 1 << 18
_ATTEMPTS = 4
_NETWORK_ERRORS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class _Transfer(Exception):
    """One attempt failed; the message says how, ``again`` whether the same mirror may be asked again."""

    def __init__(self, message: str, again: bool) -> None:
        super().__init__(message)
        self.again = again


def file_digest(path: Path, checksum: str) -> str:
    """The checksum of a file in the form of ``checksum``: ``"sha256:…"`` or ``"md5:…"``."""
    kind = checksum.partition(":")[0]
    with open(path, "rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def download(
    urls: str | Sequence[str],
    path: str | os.PathLike[str],
    checksum: str,
    *,
    progress: Progress | bool = True,
    timeout: float = 30.0,
) -> Path:
    """Fetch a file.

    Args:
        urls: one address, or mirrors that are tried in order.
        path: where the file goes; folders are made. Nothing happens if it is there with the right checksum.
        checksum: ``"sha256:<hex>"`` or ``"md5:<hex>"``.
        progress: called with (bytes so far, bytes in all or None); True shows a bar on a terminal and lines elsewhere,
            False nothing. Default True.
        timeout: seconds without an answer after which a connection counts as lost. Default 30.

    Returns:
        ``path``.

    Raises:
        DataError: no mirror gave a file with this checksum, or it cannot be written. What arrived stays in
            ``<path>.part`` for the next attempt, unless it was wrong.
    """
    path = Path(path)
    if checksum.partition(":")[0] not in ("sha256", "md5"):
        raise ArgumentError(complaint("download", "checksum", "begin with 'sha256:' or 'md5:'", checksum))
    if path.is_file() and file_digest(path, checksum) == checksum:
        return path
    part = path.with_name(path.name + ".part")
    reasons = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for url in [urls] if isinstance(urls, str) else urls:
            try:
                with _reporting(progress, path.name) as report:
                    _fetch(url, part, checksum, report, timeout)
            except _Transfer as failure:
                reasons.append(f"{url}: {failure}")
                continue
            os.replace(part, path)
            return path
    except OSError as error:
        full = " (disk full)" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise DataError(f"[download] cannot write {part}{full}: {error}") from error
    raise DataError(f"[download] cannot get {path.name}: " + "; ".join(reasons))


@contextlib.contextmanager
def _reporting(progress: Progress | bool, name: str) -> Iterator[Progress]:
    if progress is True:
        with default_progress(name) as report:
            yield report
    else:
        yield progress if callable(progress) else lambda done, total: None


def _fetch(url: str, part: Path, checksum: str, report: Progress, timeout: float) -> None:
    """Bring ``part`` to completion and check it, asking one mirror up to _ATTEMPTS times."""
    for attempt in range(1, _ATTEMPTS + 1):
        resumed = part.is_file() and part.stat().st_size > 0
        try:
            _transfer(url, part, report, timeout)
            found = file_digest(part, checksum)
            if found == checksum:
                return
            part.unlink()
            # A wrong file that began with an older part may be right when fetched as a whole.
            raise _Transfer(f"checksum must be {checksum}, got {found}", again=resumed)
        except _Transfer as failure:
            if not failure.again or attempt == _ATTEMPTS:
                raise


def _transfer(url: str, part: Path, report: Progress, timeout: float) -> None:
    """One request: append to ``part`` what it lacks, or write it anew if the server does not serve ranges."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"User-Agent": "nnlab", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            if response.status != 206 or not _continues(response.headers.get("Content-Range"), have):
                have = 0
            length = response.headers.get("Content-Length")
            total = None if length is None else have + int(length)
            _check_space(part, total, have)
            with open(part, "ab" if have else "wb") as file:
                report(have, total)
                while block := response.read(_BLOCK):
                    file.write(block)
                    have += len(block)
                    report(have, total)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after what is there: it is complete, or not this file
            return
        raise _Transfer(f"HTTP status {error.code} ({error.reason})", again=error.code >= 500) from error
    except _NETWORK_ERRORS as error:
        raise _Transfer(f"connection failed after {have} bytes: {error}", again=have > 0) from error
    if total is not None and have < total:
        raise _Transfer(f"connection closed after {have} of {total} bytes", again=True)


def _continues(content_range: str | None, have: int) -> bool:
    return content_range is not None and content_range.replace("=", " ").startswith(f"bytes {have}-")


def _check_space(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise OSError(errno.ENOSPC, f"{total - have} bytes to come, {free} bytes free")
