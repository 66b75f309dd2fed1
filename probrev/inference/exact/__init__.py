"""Exact posteriors: one entry point, and a folder for each way to sum or integrate."""
