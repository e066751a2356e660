"""Training settings: their defaults with their meaning, the short argument behind the colon, and config files.

A duration is a string: "20_000 steps", "800_000 examples" or "2 epochs"; a bare number counts steps.
"""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_dict import placeholder

from actavatar_jax.diffusion import OPTIONS, Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.models import PHASES, Execution
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.training.lora import KERNELS

# A backbone without a past learns timing faster when its phase embeddings move faster (`configs/stage2.py`).
FROM_SCRATCH = ((rf"{PHASES}|latent_log_variance", 10.0), (r".*", 1.0))


def read_config(file: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The config of `FILE.py[:ARG]`, changed by arguments such as `--config.optim.learning_rate=1e-5`.

    Raises InputError for a file that cannot be read and for arguments that it has no place for.
    """
    values = flags.FlagValues()
    arguments = ["config", f"--config={file}", *overrides]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)  # or else this program's own
    try:
        rest = values(arguments)
        if rest[1:]:
            raise InputError(
                f"Unexpected arguments: {' '.join(rest[1:])}; settings are changed by --config.NAME=VALUE."
            )
        return values.config
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The config {file} cannot be used: {' '.join(str(error).split())}") from error


def parse_arg(arg: str, **defaults: Any) -> ConfigDict:
    """The argument of `--config file.py:arg`, e.g. `preset=small,runlocal`, over its defaults.

    A bare name sets a switch; values take the type of their default. Raises ValueError for an unknown name.
    """
    parsed = ConfigDict(defaults)
    for part in filter(None, arg.split(",")):
        name, has_value, text = part.partition("=")
        if name not in parsed:
            raise ValueError(f'Unknown config argument "{name}"; there are: {", ".join(sorted(defaults))}.')
        if isinstance(parsed[name], bool):
            if text.lower() not in ("", "true", "false"):
                raise ValueError(f'Config argument "{part}" is a switch; write {name}, {name}=true or {name}=false.')
            parsed[name] = text.lower() != "false"
        elif not has_value:
            raise ValueError(f'Config argument "{name}" needs a value: {name}=...')
        else:
            parsed[name] = type(parsed[name])(text)
    return parsed


def training(preset: str = "") -> ConfigDict:
    """Settings of both stages; a stage sets `rules`, `steps` and what else is its own."""
    c = ConfigDict()
    c.system = "actavatar"  # of `runs.systems`; of echomimic, settings are those of `echomimic` below
    c.seed = 0  # of initial weights (where there is no folder), data order, noise and times
    c.precision = "bfloat16"  # of the computation; weights, moments, norms, modulation and loss stay float32

    c.mesh = "1,-1,1"  # devices along data, fsdp and seq; one may be -1: all that are left
    c.micro_batches = 1  # parts in which a batch is computed one after the other, to save memory

    c.model = ConfigDict()
    c.model.folder = ""  # model folder to start from (a plain Wan2.2-TI2V-5B folder will do), or
    c.model.preset = preset  # name of a preset to start from random weights
    c.model.remat = "full"  # none | full | attention (keeps attention outputs: faster, more memory) | offload (keeps
    # them in the host's memory)
    c.model.stream = placeholder(str)  # of the residual stream: float32 | bfloat16; unset: as `precision`
    c.model.attention = "auto"  # auto (the platform's best) | xla | chunked | blocked | cudnn | splash
    c.model.splash_blocks = (512, 512, 512)  # of splash: queries, keys, and keys computed at once; try larger ones
    c.model.phase_time = placeholder(str)  # of `prompt.forms`; unset: as the folder or preset has it
    c.model.latent_rate = placeholder(float)  # a quarter of the clips' frames a second; unset: as the folder has it
    c.model.frame_time = placeholder(bool)  # absolute frame time; unset: as the folder or preset has it
    c.model.gamma = placeholder(float)  # of the audio adapter's depth scale; unset: as the folder or preset has it
    c.adapter = ""  # file whose audio adapter replaces the model's own: adapter.safetensors of stage 1

    c.data = ConfigDict()
    c.data.source = "shards"  # shards | synthetic | puppets (drawn for every batch)
    c.data.dirs = ()  # folders of encoded shards
    c.data.weights = placeholder(tuple)  # for each of `dirs` its share of all samples; unset: by number of records
    c.data.batch_size = 40  # over all devices
    c.data.text_drop = 0.1  # share of samples that lose their text,
    c.data.audio_drop = 0.1  # their speech,
    c.data.both_drop = 0.05  # or both, so that guidance can be used
    c.data.bucket = (704, 1280, 125)  # height, width and frames of synthetic clips
    c.data.world = ConfigDict()  # settings of `actavatar_jax.puppets.world.clips.World`, of puppets
    c.data.wording = "structured"  # of their prompts: structured | global | brief

    c.steps = "20_000 steps"  # length of the run
    c.log_every = "50 steps"  # metrics are averages over so many steps
    c.checkpoint_every = "500 steps"  # and at the end; 0: never
    c.bad_steps = 10  # steps in a row without a finite gradient, each skipped, after which a run stops
    c.explode = 0.0  # a gradient norm above this multiple of its running mean is skipped likewise; 0: off
    c.stall_minutes = 30.0  # without a step, after which a run dumps its stacks and exits, to be started again; 0: off
    c.rules = (
        (".*", 1.0),
    )  # (regex of parameter names, multiple of the learning rate or None: frozen); first match wins

    c.lora = ConfigDict()  # trains low-rank additions to kernels alone, whatever `rules` say
    c.lora.rank = 0  # 0: off
    c.lora.alpha = 16.0  # over the rank, the scale of what is added
    c.lora.rules = KERNELS  # (regex of parameter names, whether that kernel of the blocks has one); first match wins

    c.optim = ConfigDict()
    c.optim.learning_rate = 5e-6
    c.optim.schedule = "constant"  # constant | cosine, after the warm-up
    c.optim.warmup = "500 steps"  # linear
    c.optim.decay = "0"  # of a constant rate: to 0, in a straight line, over so long at the end of the run
    c.optim.b1 = 0.9
    c.optim.b2 = 0.999
    c.optim.eps = 1e-8  # of Adam: beside the root of the second moment
    c.optim.weight_decay = 0.01  # of kernels only
    c.optim.clip = 1.0  # global norm of the gradient
    c.optim.moments = "float32"  # of Adam's first moment: float32 | bfloat16
    c.optim.ema_decay = 0.0  # of averaged weights, which are then the ones sampled and saved; 0: off

    c.time_law = ConfigDict()
    c.time_law.shift = 5.0  # uniform over `steps` levels, then warped towards noise by this
    c.time_law.steps = 1000
    c.time_law.noisy_share = 0.0  # share of samples drawn from [noisy_from, 1] instead; helps backbones trained from
    c.time_law.noisy_from = 0.9  # scratch to learn when events happen

    c.time_law.clean = 1  # latent frames at the begin of a sample that may be clean; more: for videos that go on

    c.heldout = ConfigDict()  # the loss on clips that are not trained on, always with the same noise
    c.heldout.dirs = ()  # folders of encoded shards, none of them in `data.dirs`; empty: it is not measured
    c.heldout.every = "500 steps"  # and at the end; 0: never
    c.heldout.clips = 64  # so many of them at most, evenly spread

    c.preference = ConfigDict()  # steps of pairs of videos, of which one was preferred (`training.preference`)
    c.preference.folder = ""  # of pairs, as `actavatar preferences make` leaves it; empty: there are none
    c.preference.every = 5  # of so many steps one is of pairs
    c.preference.batch_size = 20  # pairs, over all devices
    c.preference.beta = 2000.0  # how far the model may go from where it began: less is further
    c.preference.region_weight = 1.0  # of what is missed where pairs have hands and faces; elsewhere it is 1

    c.best = ""  # figure by which the best model is kept in WORKDIR/best (`training.best`); empty: none is
    c.sample = sampling()
    c.sample.every = "0"  # how often sample videos are made; 0: never
    c.sample.jobs = ""  # JSON lines with image, audio and prompt, as for `actavatar sample --jobs`
    c.sample.syncnet = ""  # folder of syncnet_v2.model and face.onnx: sync_c and sync_d of the videos; empty: none
    return c


def echomimic(preset: str = "") -> ConfigDict:
    """Settings of a training of EchoMimicV3: those of `training`, but that `model.folder` is of its public files and
    `model.preset` one of `echomimic.PRESETS`, and a section of its own."""
    c = training(preset)
    c.system = "echomimic"
    c.echomimic = ConfigDict()
    c.echomimic.variant = "preview"  # of model.folder: preview | flash
    c.echomimic.base = ""  # folder of Wan2.1-Fun-V1.1-1.3B-InP: what model.folder lacks, and encoders of sample videos
    c.echomimic.audio_encoder = ""  # folder of the speech encoder, of sample videos
    c.echomimic.windows = True  # whether actions are heeded in their windows (`prompt.forms`, relay)
    c.echomimic.phase_dropout = True  # whether noise decides what is told (`echomimic.objective`); then time_law is
    # not read, and data.text_drop and the like come on top
    c.echomimic.late = 1 / 3  # flow time below which one or two of text, picture and speech are left out
    c.echomimic.early = 2 / 3  # above which text alone is told
    # How often each task is drawn, as a part of the sum; a clip without a mouth leaves that share to the others.
    c.echomimic.tasks = ConfigDict(
        {"first_frame": 0.5, "first_and_last": 0.15, "continuation": 0.2, "mouth": 0.1, "text_and_audio": 0.05}
    )
    return c


def sampling(**values: Any) -> ConfigDict:
    """The options of `diffusion.sampling.Sampling`, those not given unset: as the model folder has them."""
    options = ConfigDict()
    for field in dataclasses.fields(Sampling):
        form, parts = typing.get_origin(field.type), typing.get_args(field.type) or (field.type,)
        options[field.name] = placeholder(tuple if form is tuple else parts[0])
    options.update(values)
    return options


def chosen(sample: ConfigDict) -> dict[str, Any]:
    """The options of `sampling` that are set."""
    return {name: sample[name] for name in OPTIONS if sample[name] is not None}


def transformer_network(config: ConfigDict, base: DiTConfig) -> Network:
    """The transformer of a folder or preset with what the settings change of it, and how they compute it."""
    m = config.model
    changes = {name: m[name] for name in ("phase_time", "latent_rate", "frame_time") if m[name] is not None}
    if m.gamma is not None:
        changes["audio"] = dataclasses.replace(base.audio, gamma=m.gamma)
    execution = Execution(
        dtype=config.precision,
        stream=m.stream,
        attention=m.attention,
        remat=m.remat,
        splash_blocks=tuple(m.splash_blocks),
    )
    return Network(ActAvatarDiT, dataclasses.replace(base, **changes), execution)


def shrink(config: ConfigDict) -> ConfigDict:
    """The same run at a size for a laptop: a tiny random model, synthetic clips, seconds on one CPU core."""
    config.model.folder, config.model.preset, config.adapter = "", "tiny", ""
    config.model.remat = "none"
    config.data.source = "synthetic"
    config.data.bucket = (32, 64, 9)
    config.data.batch_size, config.preference.batch_size = 4, 4
    config.steps = "20 steps"
    config.log_every = "5 steps"
    config.checkpoint_every = "10 steps"
    config.sample.every = "0"
    config.optim.warmup = "5 steps"
    config.optim.learning_rate = 1e-3
    return config
