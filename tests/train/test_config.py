"""The configuration: checks, files, resuming."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlab.errors import ArgumentError, CheckpointError
from nnlab.train.config import TrainConfig
from nnlab.train.settings import read_config_file


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": -1.0}, "'lr' must be greater than 0.0, got -1.0"),
        ({"lr": float("nan")}, "'lr' must be greater than 0.0, got nan"),
        ({"epochs": 0}, "'epochs' must be at least 1, got 0"),
        ({"epochs": 2.5}, "'epochs' must be of type int, got 2.5"),
        ({"epochs": True}, "'epochs' must be of type int, got True"),
        ({"epochs": None}, "'epochs' must have a value, got None"),
        ({"momentum": 1.0}, "'momentum' must be less than 1.0"),
        ({"optimizer": "lion"}, "'optimizer' must be one of sgd, adam, adamw, .*, got 'lion'"),
    ],
)
def test_impossible_values_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        TrainConfig(**values)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    config = TrainConfig(lr=1, data="flowers", clip_norm=0.5)
    assert config.lr == 1.0 and isinstance(config.lr, float)
    config.save(tmp_path)
    assert TrainConfig.load(tmp_path) == config
    again = TrainConfig.known(read_config_file(tmp_path / "config.json"))  # as --config
    assert TrainConfig(**again) == config
    with pytest.raises(ArgumentError, match=r"\[x\] belongs to 'nnlab lm train', not to 'nnlab train'"):
        TrainConfig.known({**again, "command": "lm train"}, source="x")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is damaged"):
        TrainConfig.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"is not a run folder: it has no config.json"):
        TrainConfig.load(tmp_path / "none")


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('model = "vgg11"\nbatch-size = 8\n')
    (tmp_path / "a.json").write_text('{"lr": 0.5}')
    (tmp_path / "bad.toml").write_text("model = \n")
    assert TrainConfig.known(read_config_file(tmp_path / "a.toml")) == {"model": "vgg11", "batch_size": 8}
    assert read_config_file(tmp_path / "a.json") == {"lr": 0.5}
    with pytest.raises(ArgumentError, match=r"bad.toml is not valid TOML"):
        read_config_file(tmp_path / "bad.toml")
    with pytest.raises(ArgumentError, match=r"must be a .toml or .json file"):
        read_config_file(tmp_path / "a.yaml")
    with pytest.raises(ArgumentError, match=r"cannot read .*none.toml"):
        read_config_file(tmp_path / "none.toml")
    with pytest.raises(ArgumentError, match=r"\[a.toml\] there is no setting 'epoch'; did you mean 'epochs'"):
        TrainConfig.known({"epoch": 3}, source="a.toml")


def test_resuming_may_extend_but_not_change() -> None:
    config = TrainConfig(epochs=3)
    longer = config.extended({"epochs": 5, "workers": 2, "lr": config.lr})
    assert (longer.epochs, longer.workers) == (5, 2)
    with pytest.raises(ArgumentError, match=r"--lr 0.5 \(the run has 0.05\), --batch-size|--batch-size .*--lr 0.5"):
        config.extended({"lr": 0.5, "batch_size": 8, "epochs": 9})


@pytest.mark.parametrize(
    ("values", "rate", "decay"),
    [
        ({}, 0.05, 5e-4),
        ({"model": "vgg16_bn"}, 0.05, 5e-4),
        ({"model": "alexnet"}, 0.01, 5e-4),
        ({"optimizer": "adam"}, 0.001, 0.0),
        ({"optimizer": "adamw", "lr": 0.01}, 0.01, 0.01),
        ({"optimizer": "adadelta"}, 1.0, 0.0),
        ({"optimizer": "rmsprop", "weight_decay": 0.1}, 0.001, 0.1),
        ({"optimizer": "nadam"}, 0.002, 0.0),
    ],
)
def test_rate_and_decay_suit_optimizer_and_network(values: dict[str, object], rate: float, decay: float) -> None:
    config = TrainConfig(**values)  # type: ignore[arg-type]
    assert (config.lr, config.weight_decay) == (rate, decay)
