"""A judge that sees only pixels of puppets, and how it is trained."""

from actavatar_jax.puppets.judge.network import SHIPPED_JUDGE, Judge, JudgeConfig, load_judge, save_judge

__all__ = ["SHIPPED_JUDGE", "Judge", "JudgeConfig", "load_judge", "save_judge"]
