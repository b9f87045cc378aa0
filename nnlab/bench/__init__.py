"""What operations cost: time, against what the machine can do and against PyTorch. ``nnlab bench`` is its command.

- ``problem.py`` what a problem is: shapes, counted operations and bytes, how each library computes it
- ``conv.py`` ``pool.py`` ``dense.py`` ``pointwise.py`` ``recurrent.py`` ``step.py`` ``training.py`` the problems,
  ``shapes.py`` the named sets of them
- ``timing.py`` repetitions, interleaved, on the CPU's clock or a GPU's events
- ``ceilings.py`` copy bandwidth and matrix product of the machine
- ``inputs.py`` the numbers; ``peer.py`` PyTorch; ``sensors.py`` a card's clocks, temperature and energy
- ``measure.py`` rows of a table; ``record.py`` files of them; ``compare.py`` two files; ``report.py`` what people see
"""

from __future__ import annotations
