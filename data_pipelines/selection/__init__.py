"""Which clips are trained on."""
