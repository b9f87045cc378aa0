"""Readings of a card, from a stand-in for the management library."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from nnlab.backend import Device, get_backend
from nnlab.bench import sensors
from nnlab.bench.sensors import Sensors, between


class Library:
    """The functions of pynvml that are used, for one card at 1500 MHz that its power limit holds back."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0
    nvmlClocksEventReasonGpuIdle, nvmlClocksEventReasonSwPowerCap = 1, 4
    nvmlClocksEventReasonHwSlowdown, nvmlClocksEventReasonHwThermalSlowdown = 8, 64

    def __init__(self) -> None:
        self.handle = object()
        self.energy = 1_000_000
        self.reasons = 1 | 4

    def nvmlInit(self) -> None:
        return None

    def nvmlDeviceGetHandleByPciBusId(self, place: str) -> object:
        assert place == "0000:65:00.0"
        return self.handle

    def nvmlDeviceGetClockInfo(self, handle: object, kind: int) -> int:
        assert handle is self.handle
        return {1: 1500, 2: 2600}[kind]

    def nvmlDeviceGetTemperature(self, handle: object, kind: int) -> int:
        assert kind == 0
        return 51

    def nvmlDeviceGetPowerUsage(self, handle: object) -> int:
        return 345_000  # mW

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
        self.energy += 6_000  # mJ
        return self.energy

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int:
        return self.reasons


def test_a_reading() -> None:
    library = Library()
    assert Sensors(library, library.handle).read() == {
        "sm_mhz": 1500, "memory_mhz": 2600, "celsius": 51, "watts": 345.0, "slowed": ["power limit"], "joules": 1006.0,
    }  # fmt: skip


def test_an_older_library_and_a_card_that_tells_little() -> None:
    class Older(Library):
        nvmlClocksThrottleReasonHwThermalSlowdown = 64
        nvmlDeviceGetCurrentClocksEventReasons: Any = property()  # not there

        def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object) -> int:
            return 64

        def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
            raise self.NVMLError("not supported")

    library = Older()
    card = Sensors(library, library.handle)
    found = card.read()
    assert found["slowed"] == ["temperature (hardware)"] and "joules" not in found
    assert card.energy([lambda: None], lambda: None, 0.0) is None


def test_energy_of_a_call() -> None:
    """The stand-in's counter goes on by 6 J between two readings, whatever the number of calls."""
    library, calls = Library(), []
    card = Sensors(library, library.handle)
    assert card.energy([lambda: calls.append("a"), lambda: calls.append("b")], lambda: None, 0.0) == 6.0
    assert calls == ["a"]
    found = card.energy([lambda: calls.append("a"), lambda: calls.append("b")], lambda: None, 0.01)
    assert found == pytest.approx(6.0 / (len(calls) - 1)) and calls[1:4] == ["a", "b", "a"]


def test_between_two_readings() -> None:
    before = {"sm_mhz": 1980, "watts": 100.0, "slowed": [], "joules": 5.0}
    after = {"sm_mhz": 1500, "watts": 700.0, "slowed": ["power limit"], "joules": 7.5, "celsius": 60}
    assert between(before, after) == {
        "sm_mhz": [1980, 1500], "watts": [100.0, 700.0], "joules": 2.5, "slowed": ["power limit"],
    }  # fmt: skip
    assert between({}, {}) == {}


def test_the_names_are_the_librarys() -> None:
    pynvml = pytest.importorskip("pynvml", reason="the management library's own names")
    for name in sensors.SLOWED:
        assert getattr(pynvml, f"nvmlClocksThrottleReason{name}") > 0
    for name in dir(Library):
        if name.lower().startswith("nvml"):
            assert hasattr(pynvml, name), name


def test_by_its_place_on_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    class Card:
        host_memory = False
        device = Device("cuda", 1)

    monkeypatch.setitem(sys.modules, "pynvml", Library())
    monkeypatch.setattr(sensors.cuda, "bus_id", lambda index: {1: "0000:65:00.0"}[index])
    card = sensors.sensors(Card())
    assert card is not None and card.read()["sm_mhz"] == 1500
    assert sensors.sensors(get_backend("cpu")) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert sensors.sensors(Card()) is None
