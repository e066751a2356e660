"""Many processes become one program."""

import os

import jax

from actavatar_jax.errors import InputError


def join_cluster() -> None:
    """Waits until all processes are there; call it before anything else of JAX.

    They find each other under SLURM, Open MPI, GKE and on Cloud TPUs, and anywhere else by JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID. Raises InputError where nothing tells who the others are.
    """
    place = {
        name: int(os.environ[variable])
        for name, variable in (("num_processes", "JAX_NUM_PROCESSES"), ("process_id", "JAX_PROCESS_ID"))
        if variable in os.environ
    }
    try:
        jax.distributed.initialize(**place)
    except ValueError as error:
        raise InputError(
            f"--distributed finds no cluster ({error}); start it under SLURM, Open MPI, GKE or on Cloud TPUs, or set "
            "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID."
        ) from error
