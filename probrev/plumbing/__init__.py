"""Plumbing: what any package needs, and nothing that knows of models."""
