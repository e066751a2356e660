"""Clips encoded once by the frozen encoders."""
