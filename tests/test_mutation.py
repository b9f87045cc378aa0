"""tools/mutation: which mutants are made, how their run is judged, and that explanations belong to mutants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import emulator
from tools.mutation import __main__ as command
from tools.mutation import results, survivors
from tools.mutation.operators import Mutant, mutants

TEXT = """\
// a < b in a comment
#include "include/types.cuh"
template <typename T>
__device__ index_t half_of(index_t first, index_t last, int lanes) { return first - last / 2; }
extern "C" __global__ void sums(const scalar_t* __restrict__ x, acc_t* __restrict__ y, index_t n) {
  __shared__ acc_t part[256];
  acc_t gate = 0, cell = 0;
  for (index_t i = threadIdx.x; i < n; i += 256) gate += to_acc(x[i]);
  part[threadIdx.x] = gate;
  __syncthreads();
  if (threadIdx.x >= 32 && n != 1) return;
  cell = __shfl_down_sync(0xFFFFFFFFu, gate, 16);
  y[0] = n > 2 ? gate - cell : (acc_t)cell;
}
"""


def changes(operator: str) -> set[str]:
    return {mutant.new_line for mutant in mutants("sums.cu", TEXT) if mutant.operator == operator}


@pytest.mark.parametrize(
    ("operator", "line"),
    [
        ("barrier", ";"),
        ("comparison", "for (index_t i = threadIdx.x; i <= n; i += 256) gate += to_acc(x[i]);"),
        ("constant", "for (index_t i = threadIdx.x; i < n; i += 255) gate += to_acc(x[i]);"),
        ("arithmetic", "y[0] = n > 2 ? gate + cell : (acc_t)cell;"),
        ("operands", "y[0] = n > 2 ? cell - gate : (acc_t)cell;"),
        ("operands", "__device__ index_t half_of(index_t first, index_t last, int lanes) { return first - 2 / last; }"),
        ("arguments", "cell = __shfl_down_sync(gate, 0xFFFFFFFFu, 16);"),
        ("sibling", "part[threadIdx.x] = cell;"),
        ("sibling", "__device__ index_t half_of(index_t first, index_t last, int lanes) { return last - last / 2; }"),
        ("condition", "if (true) return;"),
        ("condition", "y[0] = false ? gate - cell : (acc_t)cell;"),
        ("logic", "if (threadIdx.x >= 32 || n != 1) return;"),
        ("shuffle", "cell = __shfl_up_sync(0xFFFFFFFFu, gate, 16);"),
        ("shuffle", "cell = __shfl_down_sync((0xFFFFFFFFu) >> 1, gate, 16);"),
        ("shuffle", "cell = __shfl_down_sync(0xFFFFFFFFu, gate, 16 + 1);"),
        ("narrow", "for (int i = threadIdx.x; i < n; i += 256) gate += to_acc(x[i]);"),
        ("initial", "acc_t gate = 77, cell = 0;"),
        ("flow", "if (threadIdx.x >= 32 && n != 1) ;"),
        ("accumulate", "for (index_t i = threadIdx.x; i < n; i += 256) gate = to_acc(x[i]);"),
        ("store", ";"),
    ],
)
def test_what_is_changed(operator: str, line: str) -> None:
    assert line in changes(operator)


def test_comments_and_brackets_of_templates_stay() -> None:
    assert {mutant.line for mutant in mutants("sums.cu", TEXT)}.isdisjoint({1, 2, 3})


def test_each_change_is_made_once_and_in_its_line() -> None:
    made = mutants("sums.cu", TEXT)
    texts = [mutant.apply(TEXT) for mutant in made]
    assert len(set(texts)) == len(texts)
    assert TEXT not in texts
    for mutant, text in zip(made, texts, strict=True):
        assert " ".join(text.splitlines()[mutant.line - 1].split()) == mutant.new_line
        assert " ".join(TEXT.splitlines()[mutant.line - 1].split()) == mutant.old_line


def _results(alive: int, dead: int) -> list[tuple[Mutant, str]]:
    made = mutants("sums.cu", TEXT)[: alive + dead]
    return [(mutant, "survived" if i < alive else "oracle") for i, mutant in enumerate(made)]


KNOWN = {"sums.cu"}


def _explain(monkeypatch: pytest.MonkeyPatch, *explained: Mutant) -> None:
    entries = [survivors.Explained(m.file, m.operator, m.old_line, (m.new_line,), "why") for m in explained]
    monkeypatch.setattr(survivors, "read", lambda: entries)


def test_a_survivor_must_be_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    results = _results(2, 38)
    _explain(monkeypatch, results[0][0])
    assert command.report(results, whole=False, known=KNOWN) == 1
    printed = capsys.readouterr().out
    assert "95.00%" in printed
    assert "survivors: 2, of which 1 are explained" in printed
    assert f"not explained: sums.cu:{results[1][0].line} " in printed
    _explain(monkeypatch, results[0][0], results[1][0])
    assert command.report(results, whole=True, known=KNOWN) == 0


def test_of_a_file_not_run_whole_survivors_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _explain(monkeypatch)
    assert command.report(_results(2, 38), whole=False, known=set()) == 0
    assert "not explained, file not run whole: sums.cu:" in capsys.readouterr().out
    assert command.report(_results(9, 31), whole=False, known=set()) == 1  # fewer than 80 % killed


def test_explanations_do_not_make_a_low_rate_good(monkeypatch: pytest.MonkeyPatch) -> None:
    results = _results(3, 37)
    _explain(monkeypatch, *(mutant for mutant, _ in results))
    assert command.report(results, whole=True, known=KNOWN) == 1
    assert command.report(results, whole=False, known=KNOWN) == 0


def test_what_does_not_compile_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (first, _), (second, _), *rest = _results(0, 10)
    _explain(monkeypatch)
    assert (
        command.report([(first, "does not compile"), (second, "same machine code"), *rest], whole=True, known=KNOWN)
        == 0
    )
    assert "not counted: 1 that do not compile, 1 that compile to the same code" in capsys.readouterr().out


def test_a_sample_stays_when_other_lines_change() -> None:
    samples = []
    for text in (TEXT, TEXT.replace("acc_t part[256];", "acc_t part[512];")):
        made = mutants("sums.cu", text)
        ordered = [mutant for mutant in command.drawn(made, len(made), 1) if "part[" not in mutant.old_line]
        samples.append([(mutant.old_line, mutant.new_line) for mutant in ordered])
    assert samples[0] == samples[1]
    assert command.drawn(made, 9, 1) != command.drawn(made, 9, 2)


@pytest.fixture
def shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("NNLAB_CACHE_DIR", str(tmp_path))
    yield tmp_path
    assert os.environ["NNLAB_CACHE_DIR"] == str(tmp_path)  # the mutants' processes have folders of their own


def test_verdicts(shared_cache: Path) -> None:
    """A wrong value, a write past the end, an endless loop, a compiler's error, code that comes out the same, another
    parameter, and a read past the end that changes nothing."""
    emulator.backend()
    from tools.mutation import runner

    text = (runner.KERNELS / "relu.cu").read_text()
    loop = "i < n; i += index_stride()) {\n    dx"
    wanted = [
        ("to_acc(y[i]) != 0", "to_acc(y[i]) == 0", "oracle"),
        (loop, loop.replace("<", "<="), "red zone"),
        (loop, loop.replace("+=", "="), "timeout"),
        ("? dy[i]", "? dw[i]", "does not compile"),
        ("to_acc(y[i]) != 0", "(to_acc(y[i])) != 0", "same machine code"),
        ("index_t n) {\n", "int n) {\n", "launch gate"),
        ("? dy[i]", "? (to_acc(y[n]) > 1 ? dy[0] : dy[i])", "checker"),  # beyond y is NaN
    ]
    made = []
    for old, new, _ in wanted:
        start = text.rindex(old)
        made.append(Mutant("relu.cu", "by hand", start, start + len(old), new, 1, old, new))
    found = dict(runner.Workers(2, shared_cache).run(made))
    assert [found[mutant] for mutant in made] == [verdict for _, _, verdict in wanted]


def test_verdicts_are_kept_and_read_again(tmp_path: Path) -> None:
    """But for those on a file that is another one now."""
    kept, kernels = tmp_path / "verdicts", tmp_path / "kernels"
    kernels.mkdir()
    (kernels / "sums.cu").write_text(TEXT)
    (kernels / "other.cu").write_text(TEXT)
    assert results.read(kept, kernels) == {}
    made = mutants("sums.cu", TEXT)[:3]
    for mutant in made:
        results.keep(kept, kernels, mutant, f"verdict {mutant.start}")
    results.keep(kept, kernels, mutants("other.cu", TEXT)[0], "oracle")
    (kernels / "other.cu").write_text(TEXT + "\n")
    assert results.read(kept, kernels) == {mutant: f"verdict {mutant.start}" for mutant in made}


def test_a_file_is_recorded_when_all_its_mutants_are_judged(tmp_path: Path) -> None:
    kernels, record = tmp_path / "kernels", tmp_path / "record.json"
    kernels.mkdir()
    for name in ("sums.cu", "other.cu"):
        (kernels / name).write_text(TEXT)
    every = [*mutants("sums.cu", TEXT), *mutants("other.cu", TEXT)]
    first, second, third, *rest = every[: len(every) // 2]
    verdicts = {first: "survived", second: "does not compile", third: "crash", **dict.fromkeys(rest, "oracle")}
    results.write_record(kernels, every, verdicts | {every[-1]: "oracle"}, record)
    found = results.read_record(record)
    assert list(found) == ["sums.cu"]
    assert found["sums.cu"]["verdicts"] == {"crash": 1, "does not compile": 1, "oracle": len(rest), "survived": 1}
    killed, counted = len(rest) + 1, len(rest) + 2
    by = f"oracle {len(rest)}, crash 1"
    assert results.table(kernels, record)[2] == f"| sums.cu | {killed} | {counted} | {by} | 1 do not compile |"
    (kernels / "sums.cu").write_text("")
    assert "sums.cu (changed since)" in results.table(kernels, record)[2]
    results.write_record(kernels, every[:1], {}, record)
    assert results.read_record(record) == found


def test_every_explanation_is_of_a_mutant_that_is_made() -> None:
    from nnlab.cuda import sources

    for entry in survivors.read():
        made = mutants(entry.file, (sources.folder() / entry.file).read_text())
        lines = {
            mutant.new_line for mutant in made if (mutant.operator, mutant.old_line) == (entry.operator, entry.line)
        }
        assert set(entry.changes) <= lines, f"{entry.file}, {entry.operator}: {entry.line}"
        assert entry.why
