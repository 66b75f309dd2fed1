"""Message passing between layers: approximate posteriors of large ones, checked by Gibbs."""
