"""Keras 3 on TensorFlow and on JAX, timed side by side on Fashion-MNIST.

Importing this package starts no framework.
"""

__version__ = "0.1.0"
