"""Sums over all states of a finite hidden vector, in bounded memory."""
