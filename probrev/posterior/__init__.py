"""Posteriors: what every method returns, whether to believe it, and who agrees with whom."""
