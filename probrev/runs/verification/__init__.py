"""A saved run held against itself: what follows from its draws and its h is computed again."""
