"""Image restoration learned without pairs.

Images are float32 tensors in [0, 1], RGB, shaped (batch, channel, height, width), everywhere inside the library.
"""

__version__ = "0.1.0"
