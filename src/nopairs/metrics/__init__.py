"""Measures of image quality and of noise, and their uncertainty."""
