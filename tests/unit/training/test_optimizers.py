import pytest
import torch
from torch import nn

from headrace.errors import SettingInvalid
from headrace.models.checkpoint import Checkpoint
from headrace.training.encoders import load_with_head
from headrace.training.numbers import Numbers, Optimizer, Schedule
from headrace.training.optimizers import freeze_layers, make_optimizer, set_learning_rate, share_of_rate


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("cosine", [0.5, 1.0, 1.0, 0.853553, 0.5, 0.146447]),
    ],
)
def test_the_rate_rises_and_falls(schedule: Schedule, shares: list[float]):
    assert [share_of_rate(schedule, 1 / 3, step, 6) for step in range(6)] == pytest.approx(shares, abs=1e-6)


def test_a_rate_without_warm_up_begins_at_its_greatest():
    assert share_of_rate("linear", 0.0, 0, 10) == 1.0


def test_the_rate_is_set_in_every_group():
    optimizer = make_optimizer(nn.Linear(2, 2).parameters(), Numbers(learning_rate=0.2, warmup=0.0))
    assert set_learning_rate(optimizer, Numbers(learning_rate=0.2, warmup=0.0), 5, 10) == pytest.approx(0.1)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_matrices_decay_and_vectors_do_not(name: Optimizer, kind: type):
    layer = nn.Linear(3, 2)
    optimizer = make_optimizer(layer.parameters(), Numbers(optimizer=name, weight_decay=0.3))
    assert type(optimizer) is kind
    assert [(group["params"], group["weight_decay"]) for group in optimizer.param_groups] == [
        ([layer.weight], 0.3),
        ([layer.bias], 0.0),
    ]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_each_optimizer_learns(name: Optimizer):
    torch.manual_seed(0)
    layer, rows = nn.Linear(4, 1), torch.randn(64, 4)
    optimizer = make_optimizer(layer.parameters(), Numbers(optimizer=name, learning_rate=0.05))
    wanted = rows @ torch.tensor([[1.0], [-2.0], [0.5], [3.0]])
    loss = torch.tensor(torch.inf)
    for _ in range(300):
        loss = nn.functional.mse_loss(layer(rows), wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05


def test_frozen_layers_stay_as_they_are(base: Checkpoint):
    model = load_with_head(base, "SequenceClassification", 0, {"num_labels": 2})
    freeze_layers(model, 0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    freeze_layers(model, 1)
    with pytest.raises(SettingInvalid, match="freeze cannot be 3: the model has 2 layers"):
        freeze_layers(model, 3)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name for name, _ in model.named_parameters() if name.startswith(("bert.embeddings.", "bert.encoder.layer.0."))
    }
