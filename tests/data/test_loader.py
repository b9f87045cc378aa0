"""The loader in one process: batches, epochs, resume."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nnlab
from nnlab.data import ArrayDataset, BatchSampler, DataLoader, Dataset, SequentialSampler
from nnlab.errors import ArgumentError, DataError
from tests.data.worker_sets import Counting, Failing, augmented_images, double_all


def arrays(loader: DataLoader) -> list[tuple[np.ndarray, ...]]:
    return [tuple(np.array(part.numpy()) for part in batch) for batch in loader]


def same(first: list[Any], second: list[Any]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


def test_batches_are_tensors_in_order() -> None:
    loader = DataLoader(ArrayDataset(np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10)), 4)
    assert len(loader) == 3
    batches = list(loader)
    assert all(isinstance(part, nnlab.Tensor) for batch in batches for part in batch)
    assert [batch[1].numpy().tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [batch[0].shape for batch in batches] == [(4, 2), (4, 2), (2, 2)]
    assert len(list(DataLoader(range(10), 4, drop_last=True))) == 2


def test_an_epoch_is_a_function_of_seed_and_epoch() -> None:
    dataset = augmented_images()
    loader = DataLoader(dataset, 8, shuffle=True, seed=3)
    first, second = arrays(loader), arrays(loader)  # the epoch advances by itself
    assert loader.epoch == 2
    assert not np.array_equal(first[0][1], second[0][1])
    loader.set_epoch(1)
    same(arrays(loader), second)
    loader.set_epoch(0)
    same(arrays(loader), first)
    other = arrays(DataLoader(dataset, 8, shuffle=True, seed=4))
    assert not np.array_equal(other[0][1], first[0][1])


def test_augmentation_does_not_depend_on_the_order() -> None:
    dataset = augmented_images()
    straight = arrays(DataLoader(dataset, 1, seed=3))
    shuffled = DataLoader(dataset, 7, shuffle=True, seed=3)
    order = [i for batch in shuffled.batch_sampler for i in batch]
    images = np.concatenate([x for x, _ in arrays(shuffled)])
    np.testing.assert_array_equal(images, np.concatenate([straight[i][0] for i in order]))


def test_augmentation_changes_with_the_epoch() -> None:
    loader = DataLoader(augmented_images(), 50, seed=3)
    assert not np.array_equal(arrays(loader)[0][0], arrays(loader)[0][0])


def test_default_seed_is_that_of_manual_seed() -> None:
    nnlab.manual_seed(8)
    loader = DataLoader(augmented_images(), 8, shuffle=True)
    nnlab.manual_seed(9)
    same(arrays(loader), arrays(DataLoader(augmented_images(), 8, shuffle=True, seed=8)))


def test_background_thread_gives_the_same() -> None:
    plain = DataLoader(augmented_images(), 8, shuffle=True, seed=3)
    threaded = DataLoader(augmented_images(), 8, shuffle=True, seed=3, background_thread=True, prefetch_factor=3)
    same(arrays(plain), arrays(threaded))
    same(arrays(plain), arrays(threaded))


def test_background_thread_loads_ahead_and_stops() -> None:
    before = threading.active_count()
    dataset = Counting(100)
    iterator = iter(DataLoader(dataset, 2, background_thread=True, prefetch_factor=3))
    next(iterator)
    deadline = time.monotonic() + 5
    while len(dataset.loaded) < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert dataset.loaded == list(range(6))
    del iterator
    assert threading.active_count() == before
    assert len(dataset.loaded) <= 8


@pytest.mark.parametrize("background", [False, True])
def test_errors_come_at_their_batch(background: bool) -> None:
    iterator = iter(DataLoader(Failing("data error"), 2, background_thread=background))
    assert next(iterator).numpy().tolist() == [0, 1]
    assert next(iterator).numpy().tolist() == [2, 3]
    with pytest.raises(DataError, match=r"cat\.jpg"):
        next(iterator)


@given(st.integers(1, 30), st.integers(1, 7), st.booleans(), st.data())
def test_resume_gives_the_rest_without_loading_what_came_before(
    count: int, batch_size: int, background: bool, data: st.DataObject
) -> None:
    options: dict[str, Any] = {"shuffle": True, "seed": 5, "background_thread": background}
    whole = DataLoader(range(count), batch_size, **options)
    whole.set_epoch(2)
    batches = [batch.numpy().tolist() for batch in whole]
    stop = data.draw(st.integers(0, len(batches)))

    interrupted = DataLoader(range(count), batch_size, **options)
    interrupted.set_epoch(2)
    iterator = iter(interrupted)
    for _ in range(stop):
        next(iterator)
    state = json.loads(json.dumps(interrupted.state_dict()))
    assert (state["epoch"], state["batches"]) == (2, stop)

    dataset = Counting(count)
    resumed = DataLoader(dataset, batch_size, **options)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    resumed.set_epoch(2)
    rest = [batch.numpy().tolist() for batch in resumed]
    assert rest == batches[stop:]
    assert dataset.loaded == [i for batch in batches[stop:] for i in batch]
    assert resumed.state_dict()["epoch"] == 3
    assert resumed.state_dict()["batches"] == 0
    assert len(list(resumed)) == len(batches)


def test_another_epoch_forgets_the_position() -> None:
    loader = DataLoader(range(10), 2, seed=0)
    loader.load_state_dict({"epoch": 1, "batches": 3, "seed": 0, "samples": 10, "batch_size": 2})
    loader.set_epoch(2)
    assert len(list(loader)) == 5


def test_an_iteration_given_up_starts_again() -> None:
    loader = DataLoader(range(10), 2, shuffle=True, seed=0)
    first = next(iter(loader)).numpy().tolist()
    assert loader.state_dict()["batches"] == 1
    assert next(iter(loader)).numpy().tolist() == first


def test_a_position_of_another_loader_is_refused() -> None:
    state = DataLoader(range(10), 2, seed=0).state_dict()
    for other, name in [
        (DataLoader(range(11), 2, seed=0), "samples"),
        (DataLoader(range(10), 3, seed=0), "batch_size"),
        (DataLoader(range(10), 2, seed=1), "seed"),
    ]:
        with pytest.raises(ArgumentError, match=name):
            other.load_state_dict(state)


def test_samplers_and_collate_fn_of_the_user() -> None:
    loader = DataLoader(range(10), 2, sampler=[3, 1, 4], collate_fn=double_all)
    batches = list(loader)
    assert [batch["doubled"].numpy().tolist() for batch in batches] == [[6, 2], [8]]
    assert [batch["count"] for batch in batches] == [2, 1]
    batch_sampler = BatchSampler(SequentialSampler(range(4)), 3, False)
    assert [b.numpy().tolist() for b in DataLoader(range(4), batch_sampler=batch_sampler)] == [[0, 1, 2], [3]]
    assert [b.numpy().tolist() for b in DataLoader(range(4), batch_sampler=[[2], [0, 1]])] == [[2], [0, 1]]


def test_collate_fn_gets_single_samples_of_array_images() -> None:
    dataset = augmented_images(4)
    seen: list[Any] = []
    list(DataLoader(dataset, 2, collate_fn=lambda samples: seen.extend(samples) or 0, seed=3))
    same(seen, [(x[0], y[0]) for x, y in arrays(DataLoader(dataset, 1, seed=3))])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"num_workers": -1}, "num_workers"),
        ({"timeout": -1}, "timeout"),
        ({"prefetch_factor": 0}, "prefetch_factor"),
        ({"multiprocessing_context": "fork"}, "multiprocessing_context"),
        ({"shuffle": True, "sampler": [0]}, "shuffle"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler"),
        ({"background_thread": True, "num_workers": 1}, "background_thread"),
    ],
)
def test_bad_arguments(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ArgumentError, match=named):
        DataLoader(range(4), **options)


def test_bad_epoch() -> None:
    with pytest.raises(ArgumentError, match="epoch"):
        DataLoader(range(4)).set_epoch(-1)


def test_a_data_set_of_pytorch_habits() -> None:
    class Mine(Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple[nnlab.Tensor, int]:
            return nnlab.full((2,), float(index)), index

    x, y = next(iter(DataLoader(Mine(), 3)))
    np.testing.assert_array_equal(x.numpy(), [[0, 0], [1, 1], [2, 2]])
    assert y.dtype == nnlab.int64
