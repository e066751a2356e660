"""Trains the small world for two steps in one of several processes that find each other on this machine.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 python -m tests.parallel.two_process PORT PROCESS COUNT OUT

Of COUNT processes, each loads the samples of its own devices; the first one writes the parameters, whole, to OUT. Then
a video is asked for that the last process finds no portrait for.
"""

import sys
from pathlib import Path

import jax
import numpy as np


def main(port: str, process: str, processes: str, out: str) -> None:
    if int(processes) > 1:
        jax.distributed.initialize(f"localhost:{port}", int(processes), int(process))
    import optax  # after the devices are known

    import actavatar_jax
    from actavatar_jax import functional
    from actavatar_jax.errors import InputError
    from actavatar_jax.parallel import (
        local_rows,
        make_mesh,
        place_batch,
        replicate,
        share_values,
        state_shardings,
        to_host,
    )
    from actavatar_jax.training.objective import AvatarObjective
    from actavatar_jax.training.optimizer import skip_bad_steps
    from actavatar_jax.training.state import create_state
    from actavatar_jax.training.step import make_train_step
    from tests.parallel.world import BATCH, NETWORK, batch, params

    assert len(jax.devices()) == 8
    mesh = make_mesh("2,2,2")
    tx = skip_bad_steps(optax.sgd(0.1, momentum=0.9))
    state = create_state(params(), {}, tx, False, mesh)
    shardings = state_shardings(state, mesh)
    step = make_train_step(NETWORK, tx, AvatarObjective(), lambda step: 1e-3, shardings=shardings)
    rows = local_rows(mesh, BATCH)
    with jax.set_mesh(mesh):
        key = replicate(jax.random.key(0, impl="threefry2x32"), mesh)
        for number in range(2):
            ours = {name: array[rows] for name, array in batch(number).items()}
            placed = place_batch(ours, mesh)
            with jax.transfer_guard("disallow"):
                state, metrics = step(state, placed, key)
    print(f"process {process}: rows {rows.tolist()}, loss {float(metrics['loss']):.6f}", flush=True)
    print("shared", to_host(share_values(np.full(3, int(process)), mesh)).tolist(), flush=True)
    whole = functional.flatten(jax.tree.map(to_host, state.params))
    if jax.process_index() == 0:
        np.savez(out, **whole)

    puppets = Path(actavatar_jax.__file__).parent / "puppets" / "assets" / "model"
    pipeline = actavatar_jax.ActAvatarPipeline.from_pretrained(puppets, mesh="1,8,1")
    portrait = "absent.png" if int(process) == int(processes) - 1 else np.zeros((128, 128, 3), np.uint8)
    try:
        pipeline(portrait, np.zeros(9 * 640, np.float32), "A puppet.", num_frames=9, anyway=True)
    except InputError as error:
        print(f"refused: {error}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
