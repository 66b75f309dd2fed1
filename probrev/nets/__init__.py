"""Real nets: their weights, activations and training, and layers fitted to them."""
