"""``make gpu-bench``: the order, the time, what is lost and what is kept; and that a bare machine can run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nnlab.bench import measure, record
from nnlab.bench.ceilings import Ceilings
from nnlab.bench.dense import Linear
from nnlab.bench.measure import Side
from nnlab.bench.record import Record
from nnlab.bench.report import heading, text
from nnlab.bench.timing import Timing
from nnlab.bench.training import TrainingStep
from nnlab.cli.bench import bench
from tools.gpu_bench.plan import Item, plan
from tools.gpu_bench.session import MOST, PEERS_ONLY, Lost, Session, Worker

FC = [Item("float32", Linear("test", f"fc{i}", 2, 3, 4)) for i in range(3)]
STEP = Item("float32", TrainingStep("alexnet", "training", 1, 3, 64, 10))
BARE = (
    "rich",
    "typer",
    "click",
    "safetensors",
    "ml_dtypes",
    "matplotlib",
    "threadpoolctl",
    "hypothesis",
    "PIL",
    "scipy",
)


class Clock:
    """Goes on only when somebody works."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class StandIn:
    """A worker that answers at once; ``trouble`` is asked before each row."""

    def __init__(self, items: list[Item], clock: Clock, trouble: Callable[[str, str, dict[str, Any]], Any]) -> None:
        self.items, self.clock, self.trouble = items, clock, trouble
        self.asked: list[dict[str, Any]] = []
        self.stopped = False

    def ask(self, request: dict[str, Any], limit: float) -> Iterator[dict[str, Any]]:
        assert not self.stopped
        if "about" in request:
            yield {"about": {"device": "a card", "kernels_run": True}}
            return
        if "ceilings" in request:
            yield {"ceilings": Ceilings(1e12, 1e13).as_json()}
            return
        self.asked.append(request)
        item = self.items[request["item"]]
        for part in request["parts"]:
            self.clock.now += 1.0
            notes = self.trouble(item.problem.layer, part, request) or {}
            side = Side(Timing(1e-3, 0.0, 1e-3, 5, (1e-3,)), 0.0)
            ours = side if request["ours"] and "nnlab" not in notes else None
            peers = {} if notes.get("nnlab") == "sticky" else {"torch": side}
            yield {"row": measure.row(item.problem, part, item.dtype, ours, peers, notes=notes).as_json()}
            if notes.get("nnlab") == "sticky":
                yield {"spoilt": "cudaErrorIllegalAddress"}
                raise AssertionError("a spoilt worker was asked on")

    def stop(self) -> None:
        self.stopped = True


def session(
    items: list[Item], trouble: Callable[[str, str, dict[str, Any]], Any], seconds: float = 1e6, attempt: int = 0
) -> tuple[Record, list[StandIn], list[int]]:
    clock, workers, saved = Clock(), [], []

    def start() -> StandIn:
        workers.append(StandIn(items, clock, trouble))
        return workers[-1]

    made = Session(
        start, list(enumerate(items)), attempt, clock, clock() + seconds, lambda result: saved.append(len(result.rows))
    )
    return made.run(), workers, saved


def test_the_plan_begins_with_whole_steps_and_has_all_once() -> None:
    items = plan(small=False)
    assert len(set(items)) == len(items)
    assert [(i.problem.op, i.problem.network) for i in items[:2]] == [("training", "alexnet"), ("training", "vgg16")]
    single = [item for item in items if item.dtype == "float32"]
    assert {i.problem.network for i in single} >= {"alexnet", "vgg16", "resnet50", "misc", "unet", "dcgan", "lstm"}
    assert {(i.dtype, i.problem.op) for i in items} >= {(d, o) for d in ("bfloat16", "float16") for o in ("conv2d",)}
    assert [i.problem.name for i in items].index("vgg16 conv1_1") < [i.problem.name for i in items].index("misc odd")
    assert {i.dtype for i in plan(small=True, sets="lstm,training", dtypes="float16")} == {"float16"}
    assert all(i.problem.op == "lstm" for i in plan(small=True, batch=1, sets="lstm"))


def test_everything_is_measured_if_there_is_time() -> None:
    result, workers, saved = session(FC, lambda *_: None)
    assert [(row.layer, row.part) for row in result.rows] == [
        (item.problem.layer, part) for item in FC for part in ("forward", "input_grad", "weight_grad")
    ]
    assert result.about["not_measured"] == [] and result.ceilings == {"float32": Ceilings(1e12, 1e13)}
    assert len(workers) == 1 and workers[0].stopped
    assert sorted(set(saved)) == list(range(1, 10))  # after each row
    assert all(request["seconds"] == MOST and not request["compiled"] for request in workers[0].asked)


def test_rows_get_their_share_of_the_time_and_the_rest_is_listed() -> None:
    result, workers, _ = session(FC, lambda *_: None, seconds=5.5)
    assert len(result.rows) == 6  # an item that has begun is not torn apart by a worker that answers
    assert result.about["not_measured"] == [
        f"linear {p} test fc2 float32" for p in ("forward", "input_grad", "weight_grad")
    ]
    first, second = (request["seconds"] for request in workers[0].asked)
    assert first == pytest.approx(0.4 * 5.5 / 9 / 5) and second == pytest.approx(0.4 * 2.5 / 6 / 5)


@pytest.mark.parametrize("attempt", [0, PEERS_ONLY])
def test_what_the_end_interrupts_was_not_measured(attempt: int) -> None:
    clock = Clock()

    def trouble(layer: str, part: str, request: dict[str, Any]) -> None:
        if (layer, part) == ("fc1", "input_grad"):
            clock.now += 1e6
            raise Lost("no answer")

    worker = StandIn(FC, clock, trouble)
    result = Session(lambda: worker, list(enumerate(FC)), attempt, clock, clock() + 1e3, lambda _: None).run()
    assert [row.layer for row in result.rows] == ["fc0"] * 3 + ["fc1"]
    assert len(result.about["not_measured"]) == 5 and worker.stopped


def test_a_lost_worker_costs_one_row_of_ours() -> None:
    def trouble(layer: str, part: str, request: dict[str, Any]) -> None:
        if (layer, part) == ("fc1", "input_grad") and request["ours"]:
            raise Lost("the process ended with -11")

    result, workers, _ = session(FC, trouble)
    assert len(result.rows) == 9 and len(workers) == 2 and result.about["not_measured"] == []
    (bad,) = [row for row in result.rows if row.ours is None]
    assert (bad.layer, bad.part, bad.notes) == ("fc1", "input_grad", {"nnlab": "the process ended with -11"})
    assert bad.failed and list(bad.peers) == ["torch"]


def test_where_the_peer_is_lost_too_a_row_without_times_stays() -> None:
    def trouble(layer: str, part: str, request: dict[str, Any]) -> None:
        if (layer, part) == ("fc0", "forward"):
            raise Lost("ours" if request["ours"] else "theirs")

    result, _, _ = session(FC, trouble)
    (bad,) = [row for row in result.rows if not row.peers]
    assert bad.notes == {"nnlab": "ours", "torch": "theirs"} and len(result.rows) == 9


def test_a_failure_that_takes_the_peers_along_is_measured_again_without_us() -> None:
    """As after an illegal access, which spoils the process."""

    def trouble(layer: str, part: str, request: dict[str, Any]) -> dict[str, str] | None:
        return {"nnlab": "sticky"} if (layer, part) == ("fc2", "forward") and request["ours"] else None

    result, workers, _ = session(FC, trouble)
    assert len(workers) == 2 and all(worker.stopped for worker in workers)
    assert len({row.key for row in result.rows}) == len(result.rows) == 9
    (bad,) = [row for row in result.rows if row.ours is None]
    assert bad.notes == {"nnlab": "sticky"} and list(bad.peers) == ["torch"]


def test_a_failure_of_ours_alone_is_kept_as_it_is() -> None:
    result, workers, _ = session(
        FC, lambda layer, part, request: {"nnlab": "KernelError: x"} if layer == "fc1" else None
    )
    assert len(workers[0].asked) == 3 and sum(row.failed for row in result.rows) == 3


def test_a_step_that_is_lost_while_compiling_is_measured_without() -> None:
    def trouble(layer: str, part: str, request: dict[str, Any]) -> None:
        if request["compiled"]:
            raise Lost("no answer within 180 s")

    result, workers, _ = session([STEP], trouble)
    (row,) = result.rows
    assert row.ours is not None and not row.failed and row.notes == {"compile": "no answer within 180 s"}
    assert [r["compiled"] for w in workers for r in w.asked] == [True, False]
    assert [r["compiled"] for w in session([STEP], trouble, attempt=1)[1] for r in w.asked] == [False]
    assert all(row.ours is None for row in session([STEP, *FC], trouble, attempt=PEERS_ONLY)[0].rows)


def test_without_ceilings_rows_have_no_share_of_them() -> None:
    clock, asked = Clock(), []

    class Roofless(StandIn):
        def ask(self, request: dict[str, Any], limit: float) -> Iterator[dict[str, Any]]:
            if "ceilings" in request:
                asked.append(request)
                raise Lost("x")
            yield from super().ask(request, limit)

    start = lambda: Roofless(FC, clock, lambda *_: None)  # noqa: E731
    result = Session(start, list(enumerate(FC)), 0, clock, clock() + 1e6, lambda _: None).run()
    assert len(result.rows) == 9 and result.ceilings == {} and len(asked) == 1
    result.about.update({"versions": {}, "threads": 1, "blas": "", "commit": "x"})
    assert "1 ms" in text(result, heading(result))


ECHO = """
import json, sys, time
for line in sys.stdin:
    request = json.loads(line)
    if request == "die":
        sys.exit("something\\nis wrong")
    if request == "sleep":
        time.sleep(1000)
    print(json.dumps({"got": request}), flush=True)
    print(json.dumps({"done": True}), flush=True)
"""


def test_a_process_that_ends_or_sleeps_is_lost(tmp_path: Path) -> None:
    log = tmp_path / "log"
    worker = Worker(["-c", ECHO], log)
    assert list(worker.ask({"a": 1}, 60)) == [{"got": {"a": 1}}]
    with pytest.raises(Lost, match=r"ended with 1: is wrong"):
        list(worker.ask("die", 60))  # type: ignore[arg-type]
    with pytest.raises(Lost, match="ended with 1"):
        list(worker.ask({"a": 1}, 60))
    worker.stop()
    worker = Worker(["-c", ECHO], log)
    with pytest.raises(Lost, match="no answer within 0 s"):
        list(worker.ask("sleep", 0.2))  # type: ignore[arg-type]
    worker.stop()
    assert worker._process.poll() is not None


@pytest.mark.slow
def test_a_bare_machine_measures_two_parts_and_they_are_merged(tmp_path: Path, root: Path) -> None:
    """NumPy and PyTorch (if it is here) alone."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({BARE}))\n")
    environment = {**os.environ, "PYTHONPATH": str(hooks)}
    out = tmp_path / "out"
    files = []
    for part in ("2/6", "3/6"):
        command = [sys.executable, "-m", "tools.gpu_bench", "--device", "cpu", "--sets", "lstm", "--batch", "1"]
        command += ["--part", part, "--out", str(out), "--minutes", "3"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 rows, 0 failed, 0 not measured" in done.stdout
        files.append(out / f"bench-{part.replace('/', '-of-')}.json")
        assert "lstm T" in files[-1].with_suffix(".txt").read_text(encoding="utf-8")
    assert len(list(out.iterdir())) == 6
    bench(merge=files, json=tmp_path / "all.json", compare=("", ""))
    whole = record.load(tmp_path / "all.json")
    assert {(row.layer, row.part) for row in whole.rows} == {
        (layer, part) for layer in ("T32 H64", "T64 H256") for part in ("forward", "forward+backward")
    }
    assert all(row.ours is not None and row.ours.error is not None for row in whole.rows)
    assert whole.ceilings["float32"].flops_per_second > 0 and whole.about["device"]
    assert json.loads(files[0].read_text())["about"]["part"] == "2/6"


def test_without_a_gpu_the_command_says_why(tmp_path: Path, root: Path) -> None:
    from nnlab.backend import cuda

    if cuda.why_unusable() is None:
        pytest.skip("there is a GPU: make gpu-bench")
    command = [sys.executable, "-m", "tools.gpu_bench", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "nothing could be measured: the process ended with 1" in done.stdout
    assert "DeviceError" in done.stdout
    command[-2:] = ["--part", "4/3"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "must be I/N" in done.stderr
