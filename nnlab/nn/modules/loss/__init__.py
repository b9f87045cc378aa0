"""Losses as modules; formulas, shapes and sources are those of the functions in ``nn.functional``."""
