"""Priors on patches, used with a known forward operator: an observation in, a reconstructed image out."""
