"""Flow matching: path and target (flow), integration in time (solvers), guidance, and the jitted sampler."""
