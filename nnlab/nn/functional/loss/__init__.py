"""Losses, by what they compare. ``reduction`` is 'mean', 'sum' or 'none' (one value an element or sample).

Not PyTorch's: ``size_average`` and ``reduce``, which it deprecated; what follows them is given by name.
"""
