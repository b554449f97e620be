"""Optimal transport that moves a restorer's output towards natural images."""
