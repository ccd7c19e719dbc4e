from dataclasses import replace

import pytest
import torch

from decaseg.nets.members import Members, in_turn, members_of, own_name
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import UNet, build

SPEC = NetworkSpec(1, 2, (2, 4), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, members=3)


def test_they_begin_apart_and_predict_the_mean_of_their_logits():
    torch.manual_seed(0)
    model, image = build(SPEC).eval(), torch.rand(2, 1, 8, 8, 8)
    with torch.no_grad():
        alone = [net(image) for net in members_of(model)]
        assert torch.allclose(model(image), torch.stack(alone).mean(dim=0), atol=1e-6)
    assert len(alone) == 3 and not torch.allclose(alone[0], alone[1], atol=0.01)


def test_one_member_is_a_plain_network_and_the_first_of_several_begins_like_it():
    torch.manual_seed(0)
    plain = build(replace(SPEC, members=1))
    torch.manual_seed(0)
    first = members_of(build(SPEC))[0]
    assert isinstance(plain, UNet) and members_of(plain) == [plain] and in_turn(plain, 7) is plain
    for name, value in plain.state_dict().items():
        assert torch.equal(first.state_dict()[name], value), name


def test_they_train_in_turn_with_the_saving_that_was_asked_for():
    model = build(SPEC).train()
    model.saving = "blocks"
    assert [members_of(model).index(in_turn(model, step)) for step in range(5)] == [0, 1, 2, 0, 1]
    assert [net.saving for net in members_of(model)] == ["blocks"] * 3 and model.saving == "blocks"
    in_turn(model, 1)(torch.rand(1, 1, 8, 8, 8)).square().mean().backward()
    assert [any(p.grad is not None for p in net.parameters()) for net in members_of(model)] == [False, True, False]
    with pytest.raises(RuntimeError, match="in turn"):
        model(torch.rand(1, 1, 8, 8, 8))


def test_a_weights_own_name():
    model = build(SPEC)
    own = {own_name(name) for name in model.state_dict()}
    assert own == set(members_of(model)[0].state_dict()) and own_name("heads.0.bias") == "heads.0.bias"
    assert isinstance(model, Members) and len(model.state_dict()) == 3 * len(own)
