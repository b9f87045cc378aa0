"""A card's clocks, temperature, power and energy, by NVIDIA's management library; nothing where that is missing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any

from nnlab.backend import cuda
from nnlab.bench.problem import Call
from nnlab.errors import optional_import

# What makes a card slower than it could be: the library's constant without its prefix, in our words.
SLOWED = {
    "SwPowerCap": "power limit",
    "HwSlowdown": "slowed by the hardware",
    "SwThermalSlowdown": "temperature (driver)",
    "HwThermalSlowdown": "temperature (hardware)",
    "HwPowerBrakeSlowdown": "power brake",
}
LEAST_SECONDS = 0.5  # of a loop whose energy is measured: the counter moves in steps of tens of milliseconds

Reading = dict[str, Any]


class Sensors:
    """One card.

    Args:
        nvml: the library (module ``pynvml``), initialised.
        handle: its handle of the card.
    """

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def read(self) -> Reading:
        """Now: ``sm_mhz``, ``memory_mhz``, ``celsius``, ``watts``, ``slowed`` (reasons), ``joules`` (a counter).

        What this card does not tell is left out.
        """
        nvml = self._nvml
        power, energy = self._ask("nvmlDeviceGetPowerUsage"), self._ask("nvmlDeviceGetTotalEnergyConsumption")
        found = {
            "sm_mhz": self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            "memory_mhz": self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            "celsius": self._ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            "watts": None if power is None else power / 1e3,
            "slowed": self._slowed(),
            "joules": None if energy is None else energy / 1e3,
        }
        return {name: value for name, value in found.items() if value is not None}

    def energy(self, calls: Sequence[Call], synchronize: Call, seconds: float = LEAST_SECONDS) -> float | None:
        """Joules of one call, from as many as fill the time; None if this card does not count energy."""
        before = self.read().get("joules")
        if before is None:
            return None
        count, turn, start = 0, cycle(calls), time.perf_counter()
        while count == 0 or time.perf_counter() - start < seconds:
            next(turn)()
            synchronize()
            count += 1
        return float((self.read()["joules"] - before) / count)

    def _slowed(self) -> list[str] | None:
        """Newer drivers say "event reasons", older ones "throttle reasons"; the bits are the same."""
        for word in ("Event", "Throttle"):
            bits = self._ask(f"nvmlDeviceGetCurrentClocks{word}Reasons")
            if bits is not None:
                names = {f"nvmlClocks{word}Reason{name}": text for name, text in SLOWED.items()}
                return [text for name, text in names.items() if bits & getattr(self._nvml, name, 0)]
        return None

    def _ask(self, name: str, *arguments: Any) -> Any:
        """None if this card, driver or version of the library has no answer."""
        try:
            return getattr(self._nvml, name)(self._handle, *arguments)
        except (AttributeError, self._nvml.NVMLError):
            return None


def sensors(be: Any) -> Sensors | None:
    """The sensors of a backend's card; None on a CPU, or where the library is missing or does not work."""
    if be.host_memory:
        return None
    try:
        nvml = optional_import("pynvml", extra="cuda13", purpose="reading a card's clocks and energy")
        nvml.nvmlInit()
        # By its place on the bus: CUDA may number the cards differently.
        return Sensors(nvml, nvml.nvmlDeviceGetHandleByPciBusId(cuda.bus_id(be.device.index)))
    except Exception:  # the library's own error class is not importable without the library
        return None


def between(before: Reading, after: Reading) -> Reading:
    """What a loop's row keeps: each reading before and after it, the reasons of either, the energy in between."""
    kept: Reading = {
        name: [before[name], after[name]]
        for name in ("sm_mhz", "memory_mhz", "celsius", "watts")
        if name in before and name in after
    }
    if "joules" in before and "joules" in after:
        kept["joules"] = after["joules"] - before["joules"]
    reasons = dict.fromkeys([*before.get("slowed", []), *after.get("slowed", [])])
    return kept | ({"slowed": list(reasons)} if "slowed" in before or "slowed" in after else {})
