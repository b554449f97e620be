"""Restorers: a degraded image in, a restored image out."""
