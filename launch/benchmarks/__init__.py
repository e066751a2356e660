"""The pairs behind `python launch/bench.py networks`: each network of the library beside its PyTorch original."""
