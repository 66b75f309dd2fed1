"""Inference methods, one a file, one call shape: `method([key,] model, obs, ...) -> Posterior`."""
