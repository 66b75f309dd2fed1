"""Numerics: special functions and rules that know of no model."""
