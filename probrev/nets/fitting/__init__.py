"""The generative model fitted to a net's real activations: layers, priors, and how well."""
