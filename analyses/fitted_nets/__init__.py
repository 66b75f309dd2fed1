"""Layers of real nets judged under the generative model fitted to each."""
