"""Inference methods, one call shape: `method([key,] model, obs, ...) -> Posterior`."""
