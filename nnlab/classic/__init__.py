"""The systems that the field began with, as small functions: one module a system, an example for each in examples/."""
