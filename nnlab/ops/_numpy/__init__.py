"""Array code over ``be.xp``: runs on NumPy and CuPy alike."""
