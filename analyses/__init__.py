"""Questions about nets and Bayesian inference, a module or a folder each: see docs/results."""
