"""A draft of a bench and a person: a page to accept, edit and reject its items, and the bench of what is left."""

from actavatar_jax.evaluation.bench.review.accepting import BENCH_FILE, DRAFT, Accepted, accept_bench
from actavatar_jax.evaluation.bench.review.page import REVIEW_PAGE, write_review_page

__all__ = ["BENCH_FILE", "DRAFT", "REVIEW_PAGE", "Accepted", "accept_bench", "write_review_page"]
