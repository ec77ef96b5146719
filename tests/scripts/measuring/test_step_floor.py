from collections import Counter

import torch

from spin_fairseq.modules import products

from measuring.step_floor import StepFloor, _Noting, _Tensor, product_seconds, profile


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv1d(4, 8, 3, stride=2)
        self.query, self.out = torch.nn.Linear(8, 8), torch.nn.Linear(8, 5)

    def forward(self, x):
        x = self.convolution(x).transpose(1, 2)
        query = self.query(x).unflatten(-1, (2, 4)).transpose(1, 2)
        return self.out(
            torch.nn.functional.scaled_dot_product_attention(query, query, query).transpose(1, 2).flatten(2)
        )


def training_step():
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def step():
        net(torch.randn(2, 4, 21)).exp().sum().backward()
        optimizer.step()

    return step


def tensors_of(noted):
    """How often each function has been called on which tensors; what else a call says may be said in two ways."""
    calls = (
        (function, tuple(x for x in args if isinstance(x, _Tensor))) for function, args, _ in noted.calls.elements()
    )
    return Counter(calls)


def test_it_repeats_the_products_of_the_step_and_nothing_else():
    step = training_step()
    floor = StepFloor(step)
    with _Noting() as of_the_step:
        step()
    with _Noting() as of_the_floor:
        floor.run()
    assert tensors_of(of_the_floor) == tensors_of(of_the_step) and floor.number == sum(of_the_step.calls.values())
    names = {function.__name__.split(".")[0] for function, *_ in of_the_step.calls}
    assert {"convolution", "convolution_backward"} < names and names & {"addmm", "mm"}
    assert any("attention" in name or name == "bmm" for name in names)

    # By hand: 10 frames of a convolution (4 x 3 -> 8), two linear layers, forward; and more than that backward.
    forward = 2 * 2 * 10 * (4 * 3 * 8 + 8 * 8 + 8 * 5)
    assert 2 * forward < floor.flop < 6 * forward


def test_products_by_onednn_are_counted(monkeypatch):
    """Guards against a floor, and its operations, that leave out the products of the faster library."""
    monkeypatch.setattr(products, "FEWEST", 0)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    layer = products.Linear(8, 5)
    floor = StepFloor(lambda: layer(torch.randn(20, 8)).sum().backward())
    assert floor.number == 2 and floor.flop == 2 * 2 * 20 * 8 * 5  # forward, and the gradient of the weight
    floor.run()


def test_the_profile_names_operators():
    assert "aten::convolution" in profile(training_step(), rows=100)


def test_the_time_of_products_is_that_of_each_kind_and_of_nothing_else():
    x, y, rows = torch.randn(64, 64), torch.randn(64, 64), torch.randn(2, 4, 64, 8)
    kinds = {
        "product": lambda: x @ y,
        "product and sum": lambda: torch.addmm(x, y, y),
        "added in place": lambda: x.addmm_(y, y),
        "many products": lambda: rows @ rows.transpose(2, 3),
        "convolution": lambda: torch.nn.functional.conv1d(rows[0], rows[0].transpose(1, 2)[:, :8].transpose(1, 2)),
        "attention": lambda: torch.nn.functional.scaled_dot_product_attention(rows, rows, rows),
    }
    for kind, step in kinds.items():
        step()
        assert product_seconds(step) > 0, kind
    large = torch.randn(2000, 2000)
    assert product_seconds(lambda: torch.nn.functional.layer_norm(large, (2000,)).exp().add_(large).sum()) == 0
    assert product_seconds(lambda: (large.exp(), x @ y)) < product_seconds(lambda: large[:, :500] @ large[:500])
