"""`python -m actavatar_jax.cli ...`: the same as `actavatar ...`."""

from actavatar_jax.cli import main

main()
