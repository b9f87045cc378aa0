"""Language models over characters: text, samples, training."""
