"""Degradation models: p(degraded given clean), learned from unpaired images."""
