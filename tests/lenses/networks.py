"""Small networks of every kind that DeepLIFT must add up on, untrained, with the shape of one input."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Calls(nn.Module):
    """A function with layers: what module hooks cannot see."""

    def __init__(self, function: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(self, *x)


def batch_norm_cnn() -> nn.Module:
    net = nn.Sequential(
        nn.Conv1d(4, 8, 5),
        nn.BatchNorm1d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool1d(3, stride=1, padding=1),
        nn.Conv1d(8, 8, 3, dilation=2),
        nn.BatchNorm1d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveMaxPool1d(3),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(24, 3),
    )
    for layer in net:
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.running_mean)
            nn.init.uniform_(layer.running_var, 0.5, 2)
    return net


def _residual(net: nn.Module, x: Tensor) -> Tensor:
    h = torch.relu(net.a(x))
    return net.head(torch.relu(h + net.b(h)).mean(2))


def _bpnet(net: nn.Module, x: Tensor) -> Tensor:
    h = functional.relu(net.stem(x))
    for layer in net.tower:
        h = h + functional.relu(layer(h))
    profile = net.profile(h).flatten(1)
    profile = profile - profile.mean(1, keepdim=True)
    return (torch.softmax(profile, 1) * profile).sum(1) + net.count(h.mean(2))[:, 0]


def _attention_pool(net: nn.Module, x: Tensor) -> Tensor:
    return net.head((torch.softmax(net.score(x), 1) * torch.tanh(net.value(x))).sum(1))


def _in_place(net: nn.Module, x: Tensor) -> Tensor:
    h = net.a(x)
    h[:, :5] = torch.relu_(h[:, :5])
    h += 1
    return net.b(h.mul_(h.sigmoid()))


def _linear(width: int = 1) -> dict[str, nn.Module]:
    return {"a": nn.Linear(10, 12), "b": nn.Linear(10, 12), "c": nn.Linear(12, width)}


def _function(name: str) -> nn.Module:
    function = getattr(functional, name)
    return Calls(lambda net, x: net.c(function(net.a(x))), **_linear())


def _encoder(*, norm_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu", norm_first=norm_first)
    tower = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return Calls(lambda net, x: net.head(net.tower(x)[:, 0]), tower=tower, head=nn.Linear(16, 2))


def _recurrent(kind: type[nn.Module]) -> nn.Module:
    layer = kind(4, 8, num_layers=2, batch_first=True, bidirectional=True)
    return Calls(lambda net, x: net.head(net.layer(x)[0][:, -1]), layer=layer, head=nn.Linear(16, 2))


def _twice() -> nn.Module:
    relu = nn.ReLU()
    return nn.Sequential(nn.Linear(10, 10), relu, nn.Linear(10, 10), relu, nn.Linear(10, 1))


_FUNCTIONS = [
    "celu",
    "elu",
    "gelu",
    "hardswish",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "tanh",
]

#: Name -> (what makes the network, shape of one input).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "attention pooling": (
        lambda: Calls(_attention_pool, score=nn.Linear(5, 1), value=nn.Linear(5, 8), head=nn.Linear(8, 1)),
        (9, 5),
    ),
    "batch norm CNN": (batch_norm_cnn, (4, 40)),
    "BPNet": (
        lambda: Calls(
            _bpnet,
            stem=nn.Conv1d(4, 8, 21, padding=10),
            tower=nn.ModuleList([nn.Conv1d(8, 8, 3, padding=2**i, dilation=2**i) for i in range(1, 4)]),
            profile=nn.Conv1d(8, 1, 15, padding=7),
            count=nn.Linear(8, 1),
        ),
        (4, 60),
    ),
    "CNN of images": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(6, 6, 3),
            nn.ELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 4),
        ),
        (1, 14, 14),
    ),
    "condition": (lambda: Calls(lambda n, x: n.c(torch.where(n.a(x) > 0.1, n.b(x), 2 * n.a(x))), **_linear()), (10,)),
    "extremes": (
        lambda: Calls(
            lambda n, x: torch.maximum(n.a(x), n.b(x)).amax(1) + n.c(n.a(x)).min(1).values, **_linear(width=4)
        ),
        (10,),
    ),
    "gating": (lambda: Calls(lambda n, x: n.c(n.a(x) * torch.sigmoid(n.b(x))), **_linear()), (10,)),
    "group norm": (
        lambda: nn.Sequential(nn.Conv1d(4, 8, 5), nn.GroupNorm(2, 8), nn.SiLU(), nn.Flatten(), nn.Linear(288, 1)),
        (4, 40),
    ),
    "GRU": (lambda: _recurrent(nn.GRU), (7, 4)),
    "in place": (lambda: Calls(_in_place, a=nn.Linear(10, 16), b=nn.Linear(16, 1)), (10,)),
    "L2 norm": (lambda: Calls(lambda n, x: n.c(functional.normalize(n.a(x), dim=1)), **_linear()), (10,)),
    "layer norm": (lambda: nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 1)), (10,)),
    "LSTM": (lambda: _recurrent(nn.LSTM), (7, 4)),
    "no rule": (lambda: Calls(lambda n, x: n.c(torch.cumprod(n.a(x), 1).sort(1).values), **_linear()), (10,)),
    "residual": (
        lambda: Calls(
            _residual, a=nn.Conv1d(4, 8, 5, padding=2), b=nn.Conv1d(8, 8, 3, padding=1), head=nn.Linear(8, 2)
        ),
        (4, 40),
    ),
    "sigmoid head": (
        lambda: Calls(lambda n, x: torch.sigmoid(n.c(torch.relu(n.a(x)))).squeeze(-1), **_linear()),
        (10,),
    ),
    "softmax head": (lambda: nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 4), nn.Softmax(-1)), (10,)),
    "softmax inside": (lambda: Calls(lambda n, x: n.c(torch.softmax(n.a(x), 1)), **_linear()), (10,)),
    "SwiGLU": (lambda: Calls(lambda n, x: n.c(functional.silu(n.a(x)) * n.b(x)), **_linear()), (10,)),
    "transformer": (lambda: _encoder(norm_first=False), (7, 16)),
    "transformer, norm first": (lambda: _encoder(norm_first=True), (7, 16)),
    "twice": (_twice, (10,)),
    "upsampling": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 8, 5, stride=2),
            nn.ReLU(),
            nn.ConvTranspose1d(8, 4, 4, stride=2, groups=2),
            nn.Softplus(),
            nn.Upsample(scale_factor=2),
            nn.AvgPool1d(3, 2, 1),
            nn.Flatten(),
            nn.Linear(152, 1),
        ),
        (4, 40),
    ),
    **{name: (lambda name=name: _function(name), (10,)) for name in _FUNCTIONS},
}


def network(name: str, *, seed: int = 0) -> tuple[nn.Module, tuple[int, ...]]:
    """One of them, in evaluation mode."""
    torch.manual_seed(seed)
    make, shape = NETWORKS[name]
    return make().eval(), shape
