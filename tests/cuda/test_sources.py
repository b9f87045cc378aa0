"""Kernel sources: found, headers pasted in once each, hashed as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlab.cuda import sources
from nnlab.errors import DataError


def _tree(folder: Path) -> Path:
    (folder / "include").mkdir()
    (folder / "include" / "base.cuh").write_text("#pragma once\nint base;\n")
    (folder / "include" / "more.cuh").write_text('#pragma once\n#include "base.cuh"\nint more;\n')
    (folder / "op.cu").write_text(
        '#include "include/more.cuh"\n#include "include/base.cuh"\n#include <cuda.h>\nint op;\n'
    )
    return folder


def test_headers_are_pasted_once_in_order(tmp_path: Path) -> None:
    text = sources.source("op", _tree(tmp_path))
    assert text.count("int base;") == 1
    assert text.index("int base;") < text.index("int more;") < text.index("int op;")
    assert '#include "' not in text
    assert "#pragma once" not in text
    assert "#include <cuda.h>" in text


def test_line_directives_name_the_file_of_every_line(tmp_path: Path) -> None:
    """Follow the directives as a compiler does: each declaration is reported where it was written."""
    root = _tree(tmp_path)
    found, name, number = {}, "", 0
    for line in sources.source("op", root).splitlines():
        if line.startswith("#line"):
            _, start, quoted = line.split()
            name, number = quoted.strip('"'), int(start)
            continue
        if line.startswith("int "):
            found[line] = (name, number)
        number += 1
    for line, (file, number) in found.items():
        assert (root / file).read_text().splitlines()[number - 1] == line
    assert {file for file, _ in found.values()} == {"include/base.cuh", "include/more.cuh", "op.cu"}


def test_editing_a_header_changes_the_digest(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    before = sources.digest(sources.source("op", root))
    assert sources.digest(sources.source("op", root)) == before
    (root / "include" / "base.cuh").write_text("#pragma once\nlong base;\n")
    assert sources.digest(sources.source("op", root)) != before


def test_digest_does_not_join_its_parts() -> None:
    assert sources.digest("ab", "c") != sources.digest("a", "bc")
    assert sources.digest("a", "b") != sources.digest("a", "b", "")


def test_missing_header_names_file_and_line(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    (root / "op.cu").write_text('int x;\n#include "include/absent.cuh"\n')
    with pytest.raises(DataError, match=r"op\.cu:2 needs .*absent\.cuh"):
        sources.source("op", root)


def test_unknown_unit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="kernel 'nothing' needs"):
        sources.source("nothing", _tree(tmp_path))


@pytest.mark.parametrize("unit", sources.units())
def test_every_kernel_file_is_self_contained_and_begins_with_its_header_comment(unit: str) -> None:
    assert '#include "' not in sources.source(unit)
    lines = (sources.folder() / f"{unit}.cu").read_text().splitlines()
    header = "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("//"))])
    for word in ("overwrites", "Memory", "Operations", "Source"):
        assert word in header, f"{unit}.cu: its header comment says nothing about {word!r}"
