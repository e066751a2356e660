"""A complete small model folder as diffusers and transformers write it, every parameter random."""

import json

import pytest


@pytest.fixture(scope="session")
def diffusers_folder(tmp_path_factory):
    """transformer (float32, in shards), vae, text_encoder (bfloat16), audio_encoder, tokenizer, scheduler.

    The transformer has no tensors of ours; its config asks for a small audio adapter.
    """
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    import transformers
    from tokenizers import Tokenizer, models

    from actavatar_jax.models.wan_vae.vae import VAEConfig
    from actavatar_jax.weights.tables import vae

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "small"
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=8,
        out_channels=8,
        text_dim=12,
        freq_dim=8,
        ffn_dim=40,
        num_layers=3,
    )
    z = VAEConfig(encoder_base=4, decoder_base=4, z_dim=8, latents_mean=(0.1,) * 8, latents_std=(0.9,) * 8)
    text = transformers.UMT5EncoderModel(
        transformers.UMT5Config(
            vocab_size=40, d_model=12, num_heads=3, d_kv=4, d_ff=20, num_layers=2, feed_forward_proj="gated-gelu"
        )
    ).to(torch.bfloat16)
    audio = transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            conv_dim=(8,) * 7,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
        )
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, "<unk>")),
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    pipe = diffusers.WanImageToVideoPipeline(
        tokenizer=tokenizer,
        text_encoder=text,
        vae=diffusers.AutoencoderKLWan.from_config(vae.to_json(z)),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
        ),
        transformer=transformer,
        expand_timesteps=True,
    )
    for model in (transformer, pipe.vae, text, audio):
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    pipe.save_pretrained(folder)
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    transformer.save_pretrained(folder / "transformer", max_shard_size="60KB")
    config = json.loads((folder / "transformer" / "config.json").read_text())
    audio_adapter = {"feature_layers": 2, "feature_width": 16, "hidden": 10, "tokens": 4, "token_width": 14}
    config["actavatar"] = {"audio": audio_adapter, "text_len": 24}
    (folder / "transformer" / "config.json").write_text(json.dumps(config, indent=2))
    audio.save_pretrained(folder / "audio_encoder")
    (folder / "audio_encoder" / "preprocessor_config.json").write_text('{"do_normalize": true}')
    return folder
