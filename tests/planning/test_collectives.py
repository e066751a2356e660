"""Collectives read off XLA's text."""

import pytest

from actavatar_jax.planning.collectives import Collective, collectives, device_groups

SCAN = """HloModule jit_step, num_partitions=8, input_output_alias={ {}: (0, {}, may-alias) }

%add.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%all-reduce-scatter.1 (x: f32[1024,1024]) -> f32[256,1024] {
  %x = f32[1024,1024]{1,0:T(8,128)} parameter(0)
  %all-reduce.7 = f32[1024,1024]{1,0:T(8,128)} all-reduce(%x), replica_groups={{0,2,4,6},{1,3,5,7}}, to_apply=%add.1
  ROOT %slice = f32[256,1024]{1,0:T(8,128)} dynamic-slice(%all-reduce.7, %x), dynamic_slice_sizes={256,1024}
}

%body (state: (s32[], f32[256,1024])) -> (s32[], f32[256,1024]) {
  %state = (s32[]{:T(128)}, /*index=1*/f32[256,1024]{1,0:T(8,128)S(1)}) parameter(0)
  %gathered = bf16[4,1024]{1,0:T(8,128)(2,1)} all-gather(%state), replica_groups=[4,2]<=[8], dimensions={0}
  %start = (f32[64]{0}, f32[64]{0}, u32[]{:S(2)}) collective-permute-start(%gathered), source_target_pairs={{0,1},{1,0}}
  %end = f32[64]{0} collective-permute-done(%start), metadata={op_name="calls=%all-reduce-scatter.1"}
  %fused = f32[256,1024]{1,0} fusion(%end), kind=kCustom, calls=%all-reduce-scatter.1, metadata={op_name="x"}
  ROOT %next = (s32[], f32[256,1024]) tuple(%state, %fused)
}

%condition (state: (s32[], f32[256,1024])) -> pred[] {
  %limit = s32[]{:T(128)} constant(30)
  %state = (s32[], f32[256,1024]) parameter(0)
  %counter = s32[] get-tuple-element(%state), index=0
  ROOT %less = pred[]{:T(512)} compare(%counter, %limit), direction=LT, metadata={op_name="constant(7)"}
}

ENTRY %main (p: f32[256,1024]) -> f32[256,1024] {
  %p = f32[256,1024]{1,0} parameter(0)
  %loop = (s32[], f32[256,1024]) while(%p), condition=%condition, body=%body
  %known = (s32[], f32[256,1024]) while(%p), body=%body, backend_config={"known_trip_count":{"n":"2"}}
  %both = (f32[8]{0}, f32[24]{0}) all-reduce(%p, %p), replica_groups={}, to_apply=%add.1
  %begun = ((f32[16]{0}, f32[4]{0}), (f32[32]{0}, f32[8]{0})) all-gather-start(%p, %p), replica_groups=[4,2]<=[8]
  %done = (f32[32]{0}, f32[8]{0}) all-gather-done(%begun)
  ROOT %out = f32[256,1024]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_collectives_count_as_often_as_their_loops_turn():
    found = {(c.kind, c.across): c for c in collectives(SCAN, devices=8, slices=2)}
    turns = 30 + 2
    assert {key: c.count for key, c in found.items()} == {
        ("all-gather", False): turns + 1,
        ("all-reduce", True): 1,
        ("collective-permute", False): turns,
        ("reduce-scatter", True): turns,
    }
    assert found["all-gather", False].bytes == turns * 4 * 1024 * 2 / 2 + 40 * 4 / 2
    assert found["all-reduce", True].bytes == 32 * 4 * 2 * 7 / 8
    assert found["collective-permute", False].bytes == turns * 64 * 4
    assert found["reduce-scatter", True].bytes == turns * 4 * 2**20 * 3 / 4


def test_what_slices_exchange_through_their_hosts():
    send = (
        "ENTRY %main (p: f32[8]) -> f32[8] {\n"
        "  %send.6 = (f32[512,8]{1,0}, u32[], token[]) send(%p), channel_id=2, is_host_transfer=true, "
        'frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}\n'
        "  %send-done.6 = token[] send-done(%send.6), channel_id=2, is_host_transfer=true\n}\n"
    )
    assert collectives(send, devices=8, slices=2) == [Collective("all-reduce", True, 1, 512 * 8 * 4 * 2 / 2)]


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("replica_groups={{0,2},{1,3}}, dimensions={0}", [[0, 2], [1, 3]]),
        ("replica_groups={}, to_apply=%add", [[0, 1, 2, 3]]),
        ("replica_groups=[2,2]<=[4], x", [[0, 1], [2, 3]]),
        ("replica_groups=[2,2]<=[2,2]T(1,0), x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}, x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'b'}, x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(1)2}, x", [[0, 2], [1, 3]]),
        ("replica_groups=mesh['a'=4] {'a':(2)2}, x", [[0, 1], [2, 3]]),
    ],
)
def test_groups_of_devices_in_every_form(text, groups):
    assert device_groups(text, 4).tolist() == groups
