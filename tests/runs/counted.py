"""Which programs are compiled for a video before weights are loaded, and which in all: `counted.py MODEL JOB [MESH]`.

Prints {"before": {program: times}, "in all": {...}} as JSON. A job is a line of a jobs file.
"""

import collections
import json
import sys

import jax

from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.runs.jobs import Job, run_jobs

COMPILED = "/jax/core/compile/backend_compile_duration"


def count_compiled(model, job: Job, watched: bool, mesh: str | None = None) -> dict[str, dict[str, int]]:
    """Makes one video, in a memory of 1 GB that it has room in."""
    compiled, before = collections.Counter(), {}
    load = ActAvatarPipeline.from_pretrained

    def count(event, seconds, fun_name="", **_):
        compiled[fun_name] += event == COMPILED

    def loading(*arguments, **options):
        before.update(compiled)
        return load(*arguments, **options)

    ActAvatarPipeline.from_pretrained = loading
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        watch = (lambda *_: lambda step: None) if watched else None
        assert run_jobs(model, [job], memory="1GB", mesh=mesh, watch=watch) == 0
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
        ActAvatarPipeline.from_pretrained = load
    return {"before": dict(+collections.Counter(before)), "in all": dict(+compiled)}


if __name__ == "__main__":
    model, line, mesh = sys.argv[1:]
    print(json.dumps(count_compiled(model, Job(**json.loads(line)), watched=True, mesh=mesh)))
