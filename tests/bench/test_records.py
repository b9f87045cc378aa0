"""Records of the bench: kept whole, compared beyond their noise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.bench import record
from nnlab.bench.ceilings import Ceilings
from nnlab.bench.compare import compare
from nnlab.bench.measure import Row, Side
from nnlab.bench.page import page
from nnlab.bench.record import Record
from nnlab.bench.report import duration, geometric_mean, summary, text
from nnlab.bench.timing import Timing, interleave, take_turns
from nnlab.errors import ArgumentError, DataError

CPU = get_backend("cpu")


def timing(median: float, spread: float = 0.02, count: int = 50) -> Timing:
    return Timing(median, spread, 0.9 * median, count, (median,))


def row(layer: str = "conv1", ours: float = 1e-3, peer: float | None = 2e-3, spread: float = 0.02) -> Row:
    peers = {} if peer is None else {"torch": Side(timing(peer, spread), 1e-7)}
    return Row(
        "conv2d", "forward", "alexnet", layer, "1x2", "float32", 10**9, 10**6, Side(timing(ours, spread), 2e-7), peers
    )


def made(*rows: Row, **about: object) -> Record:
    facts = {
        "device": "a machine",
        "versions": {"nnlab": "1"},
        "date": "2026-01-01 10:00",
        "commit": "abc",
        "threads": 2,
    }
    facts |= {"kernels_run": False, "kernels": {}, **about}
    return Record(facts, {"float32": Ceilings(1e10, 1e12)}, list(rows))


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    written = Record(record.about(CPU, "2.0"), {"float32": Ceilings(1e10, 2e12)}, [row(), row("conv2", peer=None)])
    record.save(path, written)
    assert record.load(path) == written
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]
    about = written.about
    assert about["versions"]["torch"] == "2.0" and about["threads"] >= 1
    assert len(about["kernels"]["relu"]) == 8 and about["device"]


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 99}'])
def test_other_files_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(DataError, match=r"x\.json does not exist"):
        record.load(path)
    path.write_text(text)
    with pytest.raises(DataError, match=r"x\.json (is not a record|has format 99)"):
        record.load(path)


def test_timing_of_repetitions() -> None:
    found = Timing.of([1.0, 1.1, 1.2, 1.3, 9.0])
    assert (found.median, found.best, found.count) == (1.2, 1.0, 5)
    assert found.spread == pytest.approx(1.4826 * 0.1 / 1.2)
    assert found.error == pytest.approx(1.2533 * found.spread / 5**0.5)


def test_sides_take_turns() -> None:
    calls: list[str] = []
    sides = [[lambda: calls.append("a0"), lambda: calls.append("a1")], [lambda: calls.append("b")]]
    found = interleave(CPU, sides, 0.0)
    assert [t.count for t in found] == [3, 3]
    assert "".join(calls) == "a0a1bb" + "a0bba1a0b"


@pytest.mark.parametrize(("slow", "count"), [(0.125, 24), (10.0, 3), (2.0, 6)])
def test_a_slow_side_does_not_take_all_the_time(slow: float, count: int) -> None:
    """Budget 3 s, the other side 0.125 s a call."""
    quick, other = take_turns([lambda: 0.125, lambda: slow], 3.0, rest=0.0)
    assert quick.count == other.count == count


def test_a_rest_before_each_call_is_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[float] = []
    monkeypatch.setattr("nnlab.bench.timing.time.sleep", done.append)
    quick, other = take_turns([lambda: done.append(0) or 0.125, lambda: done.append(1) or 0.25], 2.0, rest=0.375)
    assert quick.count == other.count == 4
    assert done == [0, 0, 1, 1] + [0.375, 0, 0.375, 1, 0.375, 1, 0.375, 0] * 2


def test_roofline_and_ratio() -> None:
    found = row(ours=2e-3, peer=3e-3)
    assert found.ratio == 1.5
    assert found.fraction(1e10, 1e12) == 0.5  # 10^9 operations take 1 ms, 10^6 bytes 0.1 ms
    assert found.fraction(1e8, 1e13) == 5.0
    two = replace(found, peers={"torch NCHW": Side(timing(5e-3), 0), "torch channels_last": Side(timing(4e-3), 0)})
    assert (two.peer, two.ratio) == ("torch channels_last", 2.0)


def test_a_slowed_operation_is_flagged() -> None:
    before = made(row(), row("conv2"), row("gone"))
    after = made(row("conv2", ours=1.2e-3), row(), row("new"))
    changes = compare(before, after)
    assert [(c.row.layer, c.slower, c.faster) for c in changes] == [("conv2", True, False), ("conv1", False, False)]
    assert changes[0].factor == pytest.approx(1.2)
    back = compare(after, before)
    assert [(c.row.layer, c.slower, c.faster) for c in back] == [("conv1", False, False), ("conv2", False, True)]


def test_a_slower_machine_is_not_a_slower_operation() -> None:
    (change,) = compare(made(row()), made(row(ours=1.5e-3, peer=3e-3)))
    assert change.factor == pytest.approx(1.0) and not change.slower
    (alone,) = compare(made(row(peer=None)), made(row(ours=1.5e-3, peer=None)))
    assert alone.slower


def test_noise_is_that_of_the_files() -> None:
    (calm,) = compare(made(row()), made(row(ours=1.1e-3)))
    (wild,) = compare(made(row(spread=0.3)), made(row(ours=1.1e-3, spread=0.3)))
    assert calm.slower and not wild.slower and wild.noise > calm.noise == 0.05


def test_summary() -> None:
    found = summary([row(ours=1e-3), row("conv2", ours=4e-3), row("conv3", peer=None)])
    assert found == [("conv2d forward", 2, pytest.approx(1.0), pytest.approx(0.5))]
    assert geometric_mean([2, 8]) == pytest.approx(4)
    assert np.isnan(geometric_mean([]))


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (0.01234, "12.3 ms"), (0.9994, "999 ms"), (4.2e-6, "4.2 µs"), (3e-8, "0.03 µs")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_records_of_the_repository_can_be_read(root: Path) -> None:
    for path in (root / "benchmarks" / "records").rglob("bench*.json"):
        assert record.load(path).rows, json.dumps(str(path))


def test_the_page_is_made_of_the_newest_record_of_each_device(tmp_path: Path) -> None:
    records = tmp_path / "benchmarks" / "records"
    hashes = record.kernel_hashes()
    record.save(records / "a" / "bench-1.json", made(row(ours=9e-3)))
    record.save(records / "a" / "bench-2.json", made(row(), date="2026-01-02 09:00"))
    record.save(records / "b" / "bench-1.json", made(row(), device="a card", kernels_run=True, kernels=hashes))
    old = made(row(), device="another card", kernels_run=True, kernels={**hashes, "conv": "0" * 8})
    record.save(records / "c" / "bench-1.json", old)
    (records / "d").mkdir()
    shown = page(records)
    assert shown.count("## a machine") == 1 and "benchmarks/records/a/bench-2.json" in shown and "9 ms" not in shown
    assert "| alexnet conv1 | 1x2 | forward | 1 ms | 1000.0 | 1.0 | 100% | 2 ms | 2.00 | 2e-07 | 1e-07 |" in shown
    others = ", ".join(f"{name} {hashes[name]}" for name in ("conv_fold", "conv_mma", "conv_mma_precise"))
    assert f"### conv2d (kernels conv {hashes['conv']}, {others})" in shown
    assert f"### conv2d (kernels conv 00000000, {others}; stale: the sources have changed since)" in shown
    assert "| conv2d forward | 1 | 2.00 | 2.00 |" in shown


def full_row() -> Row:
    slow = Side(timing(4e-3), 1e-7)
    peers = {"torch NCHW": slow, "torch channels_last": Side(timing(3e-3), 1e-7)}
    return replace(
        row(ours=2e-3),
        peers=peers,
        others={"torch channels_last tf32": Side(timing(1e-3), 1e-3)},
        readings={"slowed": ["power limit"], "joules_per_image": {"nnlab": 0.25}},
        notes={"torch channels_last compile": "RuntimeError: no compiler"},
    )


def broken_row() -> Row:
    return replace(row("conv2"), ours=None, notes={"nnlab": "KernelError: it broke"}, dtype="bfloat16")


def test_all_of_a_row_is_kept(tmp_path: Path) -> None:
    written = made(full_row(), broken_row(), not_measured=["conv2d forward alexnet conv3 float32"])
    record.save(tmp_path / "x.json", written)
    assert record.load(tmp_path / "x.json") == written
    lean = json.loads((tmp_path / "x.json").read_text())["rows"][1]
    assert lean["ours"] is None and "others" not in lean and "readings" not in lean


def test_other_precisions_do_not_enter_the_ratio() -> None:
    assert (full_row().peer, full_row().ratio) == ("torch channels_last", 1.5)
    assert summary([full_row(), broken_row()]) == [("conv2d forward", 1, pytest.approx(1.5), pytest.approx(1.5))]
    assert compare(made(broken_row()), made(broken_row())) == []


def test_the_text_shows_failures_and_what_held_the_card_back() -> None:
    written = made(full_row(), broken_row(), not_measured=["conv2d forward alexnet conv3 float32"])
    lines = text(written, "title").splitlines()
    assert lines[0] == "title" and lines[2].split()[:3] == ["operation", "layer", "pass"]
    assert "2 ms throttled" in lines[3] and "3 ms (torch channels_last)" in lines[3] and "1.50" in lines[3]
    assert "failed" in lines[4] and "2 ms" in lines[4] and lines[4].endswith("bfloat16")
    assert len(lines[3]) == len(lines[4])
    shown = "\n".join(lines[5:])
    assert "nnlab 2 ms; torch NCHW 4 ms; torch channels_last 3 ms; torch channels_last tf32 1 ms" in shown
    assert "torch channels_last compile: RuntimeError: no compiler; the card was held back: power limit" in shown
    assert "joules an image: nnlab 0.25" in shown and "nnlab: KernelError: it broke" in shown
    assert lines[-1] == "not measured: conv2d forward alexnet conv3 float32"


def test_the_page_shows_what_failed(tmp_path: Path) -> None:
    training = replace(full_row(), op="training", shape="64x3x224x224", part="step")
    record.save(tmp_path / "benchmarks" / "records" / "a" / "bench-1.json", made(training, broken_row()))
    shown = page(tmp_path / "benchmarks" / "records")
    assert "| 2 ms throttled (32000.0 images/s) |" in shown
    assert "| alexnet conv2, bfloat16 | 1x2 | forward | failed |" in shown
    assert "- conv2d alexnet conv2 forward bfloat16: nnlab: KernelError: it broke" in shown


def test_parts_are_merged() -> None:
    first = made(row(), broken_row(), part="1/2", not_measured=["conv2d forward alexnet conv3 float32", "x"])
    second = made(row("conv3"), replace(row("conv2"), dtype="bfloat16"), date="2026-01-01 10:09", part="2/2")
    second.ceilings["float32"] = Ceilings(2e10, 9e11)
    for parts in ([first, second], [second, first]):
        whole = record.merge(parts)
        assert {each.layer: each.ours is not None for each in whole.rows} == dict.fromkeys(
            ("conv1", "conv2", "conv3"), True
        )
        assert whole.ceilings == {"float32": Ceilings(2e10, 1e12)}
        assert whole.about["date"] == "2026-01-01 10:09" and "part" not in whole.about
        assert whole.about["not_measured"] == ["x"]
    assert "not_measured" not in record.merge([second]).about


@pytest.mark.parametrize("name", ["device", "commit", "versions", "kernels"])
def test_parts_of_different_things_are_not_merged(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"differ in '{name}'"):
        record.merge([made(row()), made(row(), **{name: "another"})])


def test_the_page_is_what_make_docs_writes(root: Path) -> None:
    assert (root / "docs" / "performance.md").read_text(encoding="utf-8") == page(root / "benchmarks" / "records")


def test_rounds_are_joined() -> None:
    written = made(row("conv1", ours=1e-3, peer=4e-3))
    for seconds in (5e-3, 2e-3):
        written.add(row("conv1", ours=seconds, peer=4e-3))
    written.add(row("conv2"))
    first, second = written.rows
    assert (first.layer, second.layer) == ("conv1", "conv2")
    assert first.ours.timing.rounds == (1e-3, 5e-3, 2e-3)
    assert first.ours.timing.median == 2e-3 and first.ours.timing.count == 150
    assert first.ours.timing.best == 0.9 * 1e-3 and first.peers["torch"].timing.drift == 0
    assert first.ours.timing.drift == pytest.approx(np.std([1, 5, 2], ddof=1) / (8 / 3))


def test_rounds_of_which_one_failed_are_joined() -> None:
    good, bad = (
        full_row(),
        replace(full_row(), ours=None, peers={}, notes={"nnlab": "x"}, readings={"slowed": ["heat"]}),
    )
    for joined in (good.merged(bad), bad.merged(good)):
        assert joined.ours == good.ours and joined.peers == good.peers and joined.failed
        assert set(joined.readings["slowed"]) == {"power limit", "heat"}
        assert joined.others["torch channels_last tf32"].timing.count == 100


def test_rounds_that_lie_apart_are_noise() -> None:
    """A factor of 1.4 that repetitions alone call certain, even where only another row of the operation drifts."""
    before, after = made(row(ours=1e-3, peer=None)), made(row(ours=1.4e-3, peer=None))
    assert compare(before, after)[0].slower
    drifting = made(row("conv2", peer=None))
    for seconds in (0.7e-3, 1.3e-3):
        drifting.add(row("conv2", ours=seconds, peer=None))
    before.add(drifting.rows[0])
    (change,) = compare(before, after)
    assert not change.slower and change.noise > 0.4
