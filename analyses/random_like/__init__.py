"""Whether trained weights are like random ones."""
