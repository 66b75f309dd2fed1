"""The generative model: layers, sparse priors, and what any model of x and h is."""
