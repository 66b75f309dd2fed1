"""Posteriors of models without noise: the points where the equations of active rows hold."""
