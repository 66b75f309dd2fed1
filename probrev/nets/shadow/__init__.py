"""Training of ReLU classifiers with dropout, on real inputs and on those they draw themselves."""
