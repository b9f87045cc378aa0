"""Worker processes: the same batches, errors that arrive, deaths that are noticed, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnlab.data import DataLoader, WorkerError, transforms
from nnlab.data.transport import pack, unpack, write
from nnlab.errors import ArgumentError, DataError
from tests.data.test_loader import arrays, same
from tests.data.worker_sets import (
    BrokenInWorkers,
    Drawing,
    Failing,
    Ragged,
    Written,
    augmented_images,
    double_all,
    write_worker_id,
)

SHM = Path("/dev/shm")


def segments(loader: DataLoader) -> list[str]:
    assert loader._pool is not None
    return [memory.name for memory in loader._pool.segments]


def exists(names: list[str]) -> list[str]:
    return [name for name in names if (SHM / name.lstrip("/")).exists()]


def test_transport_keeps_trees_and_bits() -> None:
    tree = {
        "a": [np.arange(7, dtype=np.float32), np.zeros((0, 3)), "text"],
        "b": (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.float64(0.1), np.array(5, np.uint8)),
        "c": np.arange(20).reshape(4, 5)[:, ::2],
    }
    packed, contents = pack(tree)
    assert packed.nbytes % 64 == 0
    memory = memoryview(bytearray(packed.nbytes))
    write(memory, contents)
    back = unpack(packed, memory.toreadonly())
    assert back["a"][2] == "text"
    for mine, theirs in [*zip(tree["a"][:2], back["a"][:2], strict=True), *zip(tree["b"], back["b"], strict=True)]:
        np.testing.assert_array_equal(mine, theirs)
        assert np.asarray(mine).dtype == np.asarray(theirs).dtype
    np.testing.assert_array_equal(back["c"], tree["c"])
    assert not back["a"][0].flags.writeable


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_change_nothing(method: str) -> None:
    plain = DataLoader(augmented_images(), 8, shuffle=True, seed=3)
    epochs = [arrays(plain), arrays(plain)]
    with DataLoader(
        augmented_images(),
        8,
        shuffle=True,
        seed=3,
        num_workers=2,
        persistent_workers=True,
        multiprocessing_context=method,
    ) as loader:
        same(arrays(loader), epochs[0])
        processes = [worker.process.pid for worker in loader._pool.workers]
        same(arrays(loader), epochs[1])
        assert [worker.process.pid for worker in loader._pool.workers] == processes
        # After an iteration that was given up, and from the middle of an epoch.
        loader.set_epoch(0)
        next(iter(loader))
        loader.load_state_dict({**loader.state_dict(), "epoch": 1, "batches": 4})
        same(arrays(loader), epochs[1][4:])
        names = segments(loader)
        assert exists(names) == (names if SHM.is_dir() else [])
        assert len(names) == 1 + 2 * 2  # the data set's arrays, and two slots for each worker
    assert exists(names) == []


def test_workers_that_do_not_persist() -> None:
    loader = DataLoader(Drawing(5), 2, num_workers=1, seed=1)
    assert [b.numpy().tolist() for b in loader] == [b.numpy().tolist() for b in DataLoader(Drawing(5), 2, seed=1)]
    assert loader._pool is not None
    assert loader._pool.workers == []
    assert segments(loader) == []


def test_batches_of_any_size_and_kind() -> None:
    loader = DataLoader(Ragged(), 1, num_workers=2, prefetch_factor=1, persistent_workers=True)
    for _ in range(2):
        for i, batch in enumerate(loader):
            assert batch["values"].shape == (1, i * 1000)
            assert (batch["values"].numpy() == i).all()
            assert batch["name"] == [f"sample {i}"]
            assert batch["weight"].item() == i / 2
            batch["values"].numpy()[...] = -1  # a batch is the user's own
        assert i == 8
    names = segments(loader)
    del loader
    assert exists(names) == []


def test_collate_fn_and_worker_init_fn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNLAB_TEST_FOLDER", str(tmp_path))
    loader = DataLoader(
        range(4), 2, num_workers=2, collate_fn=double_all, worker_init_fn=write_worker_id, persistent_workers=True
    )
    with loader:
        assert [batch["doubled"].numpy().tolist() for batch in loader] == [[0, 2], [4, 6]]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["worker-0", "worker-1"]


def test_errors_arrive_as_they_were_and_the_workers_live_on() -> None:
    with DataLoader(Failing("data error"), 2, num_workers=2, persistent_workers=True) as loader:
        for _ in range(2):
            iterator = iter(loader)
            assert next(iterator).numpy().tolist() == [0, 1]
            assert next(iterator).numpy().tolist() == [2, 3]
            with pytest.raises(DataError, match=r"cannot read /pictures/cat\.jpg \(17 bytes\)") as caught:
                next(iterator)
            assert "in __getitem__" in caught.value.__notes__[0]


def test_an_error_that_cannot_be_pickled() -> None:
    with pytest.raises(WorkerError, match="Strange: strange 1 2"):
        list(DataLoader(Failing("strange error"), 2, num_workers=1))


def test_a_data_set_that_breaks_on_arrival() -> None:
    with pytest.raises(DataError, match="refused"):
        list(DataLoader(BrokenInWorkers(), 2, num_workers=1))


def test_a_data_set_that_cannot_be_sent() -> None:
    images = augmented_images().with_transform(transforms.Lambda(lambda image: image))
    with pytest.raises(ArgumentError, match="picklable"):
        list(DataLoader(images, 2, num_workers=1))


def test_arrays_of_the_data_set_are_shared_and_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        list(DataLoader(Written(), 2, num_workers=1))


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("kill", r"worker 0 \(process \d+\) was killed by signal 9 \(SIGKILL\) while loading samples \[4, 5\]"),
        ("exit", r"worker 0 \(process \d+\) ended with exit code 3 while loading samples \[4, 5\]"),
    ],
)
def test_a_dead_worker_is_noticed(deed: str, told: str) -> None:
    loader = DataLoader(Failing(deed), 2, num_workers=2, persistent_workers=True)
    iterator = iter(loader)
    assert next(iterator).numpy().tolist() == [0, 1]
    names = segments(loader)
    with pytest.raises(WorkerError, match=told):
        list(iterator)
    assert exists(names) == []
    assert next(iter(loader)).numpy().tolist() == [0, 1]  # with new workers
    loader.close()


def test_a_worker_that_died_between_epochs_is_noticed() -> None:
    with DataLoader(range(8), 2, num_workers=2, persistent_workers=True) as loader:
        list(loader)
        process = loader._pool.workers[1].process
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        iterator = iter(loader)
        assert next(iterator).numpy().tolist() == [0, 1]
        with pytest.raises(WorkerError, match=r"worker 1 .*\(SIGKILL\) while loading samples \[2, 3\]"):
            next(iterator)


def test_timeout() -> None:
    started = time.monotonic()
    with pytest.raises(WorkerError, match=r"worker 0 gave no batch within 'timeout' = 1"):
        list(DataLoader(Failing("hang"), 12, num_workers=1, timeout=1))
    assert time.monotonic() - started < 10


def test_two_iterations_at_once_are_refused() -> None:
    with DataLoader(range(20), 2, num_workers=1, persistent_workers=True) as loader:
        first = iter(loader)
        next(first)
        second = iter(loader)
        assert next(second).numpy().tolist() == [0, 1]
        with pytest.raises(WorkerError, match="new iteration"):
            next(first)
        assert next(second).numpy().tolist() == [2, 3]


# In a process of its own, so that its end can be watched.
SCRIPT = """
import sys, time
import numpy as np
from nnlab.data import DataLoader
from tests.data.worker_sets import Remembered

def main():
    loader = DataLoader(
        Remembered(np.arange(100.0)), 8, num_workers=2, persistent_workers=True, multiprocessing_context="METHOD"
    )
    for epoch in range(100000):
        for batch in loader:
            if epoch == 1:
                pids = [str(worker.process.pid) for worker in loader._pool.workers]
                names = [memory.name for memory in loader._pool.segments]
                print(" ".join(pids) + "|" + " ".join(names), flush=True)
                END
GUARD
    main()
"""


GUARD = 'if __name__ == "__main__":'


def run_script(folder: Path, root: Path, end: str, guard: str = GUARD, method: str = "spawn") -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("END", end).replace("GUARD", guard).replace("METHOD", method))
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def first_line(process: subprocess.Popen[str]) -> tuple[list[str], list[str]]:
    assert process.stdout is not None
    pids, _, names = process.stdout.readline().partition("|")
    return pids.split(), names.split()


@pytest.mark.skipif(not SHM.is_dir(), reason="looks at /dev/shm")
@pytest.mark.parametrize(
    ("end", "code", "method"),
    [
        ("sys.exit(0)", 0, "spawn"),
        ("raise ValueError('stop')", 1, "spawn"),
        ("return", 0, "spawn"),
        ("pass", -signal.SIGINT, "spawn"),
        ("pass", -signal.SIGINT, "forkserver"),
    ],
)
def test_nothing_is_left_at_the_end(tmp_path: Path, root: Path, end: str, code: int, method: str) -> None:
    """Exit, exception, an iteration that was given up, and Ctrl-C (which reaches the workers as well)."""
    process = run_script(tmp_path, root, end, method=method)
    pids, names = first_line(process)
    assert len(pids) == 2
    assert len(names) == 5
    if code == -signal.SIGINT:
        if method == "spawn":  # Ctrl-C could not hit them while they were starting, either
            status = Path(f"/proc/{pids[0]}/status").read_text()
            blocked = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
            assert int(blocked, 16) >> (signal.SIGINT - 1) & 1
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "resource_tracker" not in errors
    assert "Exception ignored" not in errors
    assert errors.count("Traceback") == (code != 0)
    assert not [pid for pid in pids if alive(pid)]
    assert exists(names) == []


@pytest.mark.skipif(not SHM.is_dir(), reason="looks at /dev/shm and /proc")
def test_nothing_is_left_after_kill_9(tmp_path: Path, root: Path) -> None:
    process = run_script(tmp_path, root, "time.sleep(60)")
    pids, names = first_line(process)
    process.kill()
    process.communicate(timeout=30)
    assert len(pids) == 2
    assert wait_for(lambda: not any(alive(pid) for pid in pids))
    assert wait_for(lambda: not exists(names))


def test_a_script_without_a_guard_is_told(tmp_path: Path, root: Path) -> None:
    process = run_script(tmp_path, root, "return", guard="if True:")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "WorkerError" in errors
    assert "if __name__ == '__main__':" in errors.splitlines()[-1]


def test_a_worker_imports_no_more_than_it_needs(root: Path) -> None:
    code = "import sys, nnlab.data.worker; print([m for m in sys.modules if '.' not in m])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root).stdout
    for heavy in ("PIL", "sklearn", "scipy", "rich", "typer", "matplotlib", "cupy", "torch", "ssl", "urllib3"):
        assert f"'{heavy}'" not in loaded
