"""Trained weights: read from files, and held against what random ones would be."""
