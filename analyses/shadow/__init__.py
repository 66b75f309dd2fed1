"""Whether training on what the net draws itself (SHADOW) lowers its error."""
