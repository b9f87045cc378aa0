"""Settings of a run as a dataclass: checked values, read from files, saved beside the run, kept when it is resumed."""

from __future__ import annotations

import difflib
import json
import operator
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from nnlab.errors import ArgumentError, CheckpointError, complaint

FILE = "config.json"
GROUPS = ("Model", "Data", "Training", "Optimizer", "Running")
_LIMITS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("low", operator.ge, "be at least"),
    ("above", operator.gt, "be greater than"),
    ("below", operator.lt, "be less than"),
)


def option(default: Any, help: str, *, group: str, extend: bool = False, **limits: Any) -> Any:
    """A configuration value.

    Args:
        default: its default.
        help: the flag's help.
        group: the heading out of GROUPS under which the command's ``--help`` lists it.
        extend: whether a resumed run may change it.
        limits: ``low`` (inclusive), ``above`` and ``below`` (exclusive), ``choices``.
    """
    return field(default=default, metadata={"help": help, "group": group, "extend": extend, **limits})


@dataclass
class Settings:
    """Base of configurations. Errors name the value: ``[config] 'lr' must be greater than 0, got -1``."""

    command: ClassVar[str]
    """The command that makes runs of this configuration; kept in their ``config.json``."""

    def __post_init__(self) -> None:
        for spec in fields(self):
            self._check(spec, getattr(self, spec.name))

    def _check(self, spec: Field[Any], value: Any) -> None:
        name, limits, annotation = spec.name, spec.metadata, str(spec.type)
        if value is None:
            if "None" in annotation:
                return
            raise ArgumentError(complaint("config", name, "have a value", None))
        kind = {"str": str, "int": int, "float": float, "bool": bool}[annotation.split(" ")[0]]
        if kind is float and type(value) is int:
            value = float(value)
            setattr(self, name, value)
        if type(value) is not kind:
            raise ArgumentError(complaint("config", name, f"be of type {kind.__name__}", value))
        if "choices" in limits and value not in limits["choices"]:
            raise ArgumentError(complaint("config", name, f"be one of {', '.join(limits['choices'])}", value))
        for key, ok, words in _LIMITS:
            if key in limits and not ok(value, limits[key]):
                raise ArgumentError(complaint("config", name, f"{words} {limits[key]}", value))

    @classmethod
    def specs(cls) -> list[Field[Any]]:
        """The values' fields, group by group."""
        return sorted(fields(cls), key=lambda spec: GROUPS.index(spec.metadata["group"]))

    @classmethod
    def known(cls, values: Mapping[str, Any], source: str = "config") -> dict[str, Any]:
        """The values under their plain names; they may be spelled with dashes.

        Raises:
            ArgumentError: a name is unknown (the nearest one is suggested), or they are of another command.
        """
        names = [spec.name for spec in cls.specs()]
        plain = {name.replace("-", "_"): value for name, value in values.items()}
        command = plain.pop("command", cls.command)
        if command != cls.command:
            raise ArgumentError(f"[{source}] belongs to 'nnlab {command}', not to 'nnlab {cls.command}'")
        for name in plain:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise ArgumentError(f"[{source}] there is no setting {name!r}; {hint}")
        return plain

    def to_dict(self) -> dict[str, Any]:
        return {spec.name: getattr(self, spec.name) for spec in self.specs()}

    def save(self, folder: Path) -> None:
        """Write ``config.json`` into a run folder."""
        text = json.dumps({"command": self.command, **self.to_dict()}, indent=1) + "\n"
        aside = folder / (FILE + ".tmp")
        aside.write_text(text, encoding="utf-8")
        aside.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The configuration of a run folder.

        Raises:
            CheckpointError: the folder holds no configuration, or a damaged one.
            ArgumentError: the configuration is of another command.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"[checkpoint] {folder} is not a run folder: it has no {FILE}") from error
        except ValueError as error:
            raise CheckpointError(f"[checkpoint] {path} is damaged: not JSON ({error})") from error
        return cls(**cls.known(values, source=str(path)))

    @classmethod
    def owns(cls, folder: Path) -> bool:
        """Whether a folder holds a configuration of this command."""
        try:
            cls.load(folder)
        except (CheckpointError, ArgumentError):
            return False
        return True

    def extended(self, flags: Mapping[str, Any]) -> Self:
        """This configuration with a resumed run's flags.

        Raises:
            ArgumentError: a flag would change what the run has been so far; every such flag is named.
        """
        clashes = []
        for spec in self.specs():
            before = getattr(self, spec.name)
            if spec.name in flags and flags[spec.name] != before and not spec.metadata["extend"]:
                clashes.append(f"--{spec.name.replace('_', '-')} {flags[spec.name]} (the run has {before})")
        if clashes:
            raise ArgumentError(
                f"[train] --resume continues the run as it was; it cannot change {', '.join(clashes)}. "
                "Start a new run for that"
            )
        return replace(self, **flags)


def read_config_file(path: Path) -> dict[str, Any]:
    """Names and values of a ``.toml`` or ``.json`` file.

    Raises:
        ArgumentError: the file cannot be read or is of another kind.
    """
    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".json":
            return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ArgumentError(f"[config] cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ArgumentError(f"[config] {path} is not valid {path.suffix[1:].upper()}: {error}") from error
    raise ArgumentError(complaint("config", "config", "be a .toml or .json file", str(path)))
