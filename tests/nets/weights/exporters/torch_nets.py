"""Nets of torch, as they are saved."""

import json
from collections import Counter, OrderedDict

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune

from tests.nets.weights.exporters.corpus import new_path, write_run

torch.manual_seed(0)


def linear(n_in, n_out, bias=True):
    """A layer that neither dies out nor blows up, with a bias that matters."""
    layer = nn.Linear(n_in, n_out, bias)
    nn.init.kaiming_normal_(layer.weight)
    if bias:
        nn.init.normal_(layer.bias, std=0.3)
    return layer


def used(norm):
    """A normalisation as it is after training."""
    nn.init.normal_(norm.weight, 1, 0.3)
    nn.init.normal_(norm.bias)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.3, 2)
    return norm.eval()


def deep(width=6, depth=13, norm=False):
    layers = []
    for _ in range(depth - 1):
        layers += [linear(width, width), *([used(nn.BatchNorm1d(width))] if norm else [])]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, linear(width, 3)).eval()


def run(name, net, *shape):
    """Writes what the net gives in double precision, and leaves it in its own."""
    x = torch.randn(4, *shape, dtype=torch.float64)
    own = next(net.parameters()).dtype
    with torch.no_grad():
        write_run(name, x, net.double()(x))
    net.to(own)


def save(name, net, *shape, wrap=lambda state: state):
    """Saves a state dict; a run of the net beside it, if there is one to compare with."""
    if name.endswith(".safetensors"):
        save_file(net.state_dict(), new_path(name))
    else:
        torch.save(wrap(net.state_dict()), new_path(name))
    if shape:
        run(name, net, *shape)


class Named(nn.Module):
    """Modules by name, used in another order than that of the alphabet."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.order = list(modules)

    def forward(self, x):
        layers = [name for name in self.order if isinstance(getattr(self, name), nn.Linear)]
        for name in self.order:
            follows = self.order[self.order.index(name) + 1 :][:1]
            has_norm = follows and isinstance(getattr(self, follows[0]), nn.BatchNorm1d)
            x = getattr(self, name)(x)
            if name != layers[-1] and not has_norm:
                x = torch.relu(x)
        return x


def write_plain():
    net = deep()
    save("torch/deep.pt", net, 6)
    save("torch/deep.safetensors", net, 6)
    torch.save(
        net.state_dict(), new_path("torch/deep_legacy.pt"), _use_new_zipfile_serialization=False
    )
    run("torch/deep_legacy.pt", net, 6)
    torch.save(net.state_dict(), new_path("torch/deep_protocol4.pt"), pickle_protocol=4)
    run("torch/deep_protocol4.pt", net, 6)
    chained = Named(fc_in=linear(5, 7), hidden=linear(7, 9), add=linear(9, 3))
    save("torch/chained_names.safetensors", chained, 5)
    equal = Named(fc_in=linear(6, 6), hidden=linear(6, 6), out=linear(6, 6))
    save("torch/unknown_order.safetensors", equal)
    save("torch/data_parallel.pt", nn.DataParallel(deep(depth=3)))
    run("torch/data_parallel.pt", deep_of("torch/data_parallel.pt"), 6)
    half = deep(depth=3).to(torch.bfloat16)
    save("torch/bfloat16.pt", half, 6)
    save("torch/bfloat16.safetensors", half, 6)
    save("torch/half.pt", deep(depth=3).half(), 6)
    backwards = nn.Module()
    backwards.fc2, backwards.fc1 = linear(6, 6), linear(6, 6)
    save("torch/made_backwards.pt", backwards)


def deep_of(name):
    """The plain net whose states were saved under a prefix."""
    net = deep(depth=3)
    state = torch.load(new_path(name))
    net.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    return net


def write_norms():
    save("torch/norms.pt", deep(depth=5, norm=True), 6)
    save("torch/norms.safetensors", deep(norm=True), 6)
    named = Named(
        fc1=linear(5, 6), bn1=used(nn.BatchNorm1d(6)), fc2=linear(6, 6, False),
        bn2=used(nn.BatchNorm1d(6)), out=linear(6, 2),
    ).eval()  # fmt: skip
    save("torch/named_norms.pt", named, 5)
    save("torch/named_norms.safetensors", named, 5)
    after = nn.Sequential(
        linear(5, 6), nn.ReLU(), used(nn.BatchNorm1d(6)), linear(6, 6), nn.ReLU(), linear(6, 2)
    ).eval()
    save("torch/norm_after_relu.pt", after, 5)
    save("torch/norm_after_relu.safetensors", after, 5)
    between = nn.Sequential(
        linear(6, 6), nn.ReLU(), used(nn.BatchNorm1d(6)), nn.ReLU(), linear(6, 2)
    ).eval()
    save("torch/norm_between.safetensors", between)
    save("torch/layer_norm.pt", nn.Sequential(linear(5, 6), nn.LayerNorm(6), linear(6, 2)))


def write_training():
    """What training loops save beside the weights."""
    net = deep(depth=3)
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5])
    net(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    schedule.step()
    states = {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
    lightning = {
        "epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{name}": value for name, value in net.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "hparams_name": "kwargs",
        "optimizer_states": [states["optimizer"]], "lr_schedulers": [states["schedule"]],
        "hyper_parameters": {"lr": 1e-3, "widths": (6, 6, 3)},
    }  # fmt: skip
    torch.save(lightning, new_path("torch/lightning.ckpt"))
    run("torch/lightning.ckpt", net, 6)
    torch.save({"net": net.state_dict(), "o": optimizer.state_dict()}, new_path("torch/loop.pt"))
    run("torch/loop.pt", net, 6)
    torch.save(optimizer.state_dict(), new_path("torch/optimizer_alone.pt"))
    average = torch.optim.swa_utils.AveragedModel(net)
    average.update_parameters(deep(depth=3))
    torch.save(
        {"model": net.state_dict(), "ema": average.module.state_dict()}, new_path("torch/ema.pt")
    )
    run("torch/ema.pt", net, 6)
    save("torch/averaged_alone.pt", average)
    run("torch/averaged_alone.pt", average.module, 6)


def write_pieces():
    """Weights that are kept in pieces, twice, or in few of their entries."""
    old = nn.Sequential(linear(5, 6), nn.ReLU(), linear(6, 2))
    torch.nn.utils.weight_norm(old[0])
    save("torch/weight_norm_old.pt", old, 5)
    new = nn.Sequential(parametrizations.weight_norm(linear(5, 6)), nn.ReLU(), linear(6, 2))
    with torch.no_grad():
        new[0].parametrizations.weight.original0.mul_(1.7)
    save("torch/weight_norm.safetensors", new, 5)
    spectral = nn.Sequential(parametrizations.spectral_norm(linear(5, 6)), nn.ReLU(), linear(6, 2))
    save("torch/spectral_norm.pt", spectral.eval())
    pruned = nn.Sequential(linear(5, 6), nn.ReLU(), linear(6, 2))
    prune.l1_unstructured(pruned[0], "weight", 0.4)
    save("torch/pruned.pt", pruned, 5)
    tied = nn.Sequential(linear(6, 6), nn.ReLU(), linear(6, 6))
    tied[2].weight = tied[0].weight
    save("torch/tied.pt", tied)
    sparse = OrderedDict(deep(depth=3).state_dict())
    sparse["0.weight"] = (sparse["0.weight"] * (sparse["0.weight"] > 0)).to_sparse()
    torch.save(sparse, new_path("torch/sparse.pt"))
    net = deep(depth=3)
    net.load_state_dict({name: value.to_dense() for name, value in sparse.items()})
    run("torch/sparse.pt", net, 6)
    rows = OrderedDict(deep(depth=3).state_dict())
    rows["0.weight"] = rows["0.weight"].to_sparse_csr()
    torch.save(rows, new_path("torch/sparse_rows.pt"))
    expanded = deep(depth=3)
    state = expanded.state_dict()
    state["2.weight"] = torch.tensor([[0.5]]).expand(6, 6)
    expanded.load_state_dict(state)
    torch.save(state, new_path("torch/expanded.pt"))
    run("torch/expanded.pt", expanded, 6)


def write_no_layers():
    """Modules whose weights are no matrices of a dense layer or a convolution."""
    head = linear(6, 2)
    save("torch/lstm.pt", Named(lstm=nn.LSTM(5, 6, 2, bidirectional=True), head=head))
    save("torch/gru_cell.safetensors", Named(cell=nn.GRUCell(5, 6), head=head))
    attention = Named(attention=nn.MultiheadAttention(6, 2), head=head)
    save("torch/attention.safetensors", attention)
    save("torch/embedding.safetensors", Named(tok_emb=nn.Embedding(9, 6), head=head))
    save("torch/transformer.pt", nn.TransformerEncoderLayer(6, 2, 8))
    save("torch/bilinear.pt", Named(bilinear=nn.Bilinear(3, 4, 6), head=head))


def convolution(*settings, **more):
    layer = nn.Conv2d(*settings, **more)
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    return layer


def write_convolutions():
    net = nn.Sequential(
        convolution(2, 4, 3), used(nn.BatchNorm2d(4)), nn.ReLU(), convolution(4, 5, (2, 3))
    ).eval()
    save("torch/convolutions.pt", net, 2, 6, 7)
    save("torch/convolutions.safetensors", net, 2, 6, 7)
    save("torch/convolution_1d.pt", nn.Sequential(nn.Conv1d(2, 4, 3)), 2, 9)
    transposed = nn.Sequential(convolution(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3))
    save("torch/transposed.pt", transposed)
    bare = nn.Sequential(
        convolution(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3, bias=False),
        used(nn.BatchNorm2d(3)),
    )  # fmt: skip
    save("torch/transposed_with_norm.pt", bare)
    mobile = nn.Sequential(
        convolution(2, 4, 3), nn.ReLU(), convolution(4, 4, 3, groups=4), nn.ReLU(),
        convolution(4, 6, 1),
    )  # fmt: skip
    save("torch/depthwise.pt", mobile)


def write_shards():
    net = deep(depth=3)
    state = net.state_dict()
    for ending, stem, write in (
        ("safetensors", "model", save_file), ("bin", "pytorch_model", torch.save),
    ):  # fmt: skip
        shards = {
            f"{stem}-0000{one}-of-00002.{ending}": list(state)[one - 1 :: 2] for one in (1, 2)
        }
        for shard, names in shards.items():
            write({name: state[name] for name in names}, new_path(f"torch/shards/{shard}"))
        index = f"torch/shards/{stem}.{ending}.index.json"
        places = {name: shard for shard, names in shards.items() for name in names}
        new_path(index).write_text(
            json.dumps({"metadata": {"total_size": 0}, "weight_map": places}, indent=1)
        )
        run(index, net, 6)


def write_odd():
    """Everything else that torch reads with weights_only=True, and what it does not."""
    net = deep(depth=3)
    odd = {
        "counter": Counter([2, 2, 5]), "size": torch.Size([2, 3]), "dtype": torch.float32,
        "device": torch.device("cpu"), "set": {1, 2}, "bytes": b"some", "array": bytearray(b"ab"),
        "complex": 1 + 2j, ("tuple", 3): 1.5, 7: "seven", "nothing": None, "layout": torch.strided,
        "large": 10**30, "models": [net.state_dict(), {"note": "of one"}],
        "parameter": nn.Parameter(torch.ones(())), "waves": torch.ones(2, 2, dtype=torch.complex64),
        "unsigned": torch.ones(3, dtype=torch.uint16),
        "coarse": torch.ones(2, 2).to(torch.float8_e4m3fn),
        "flags": torch.ones(2, 2, dtype=torch.bool), "meta": torch.ones(2, 2, device="meta"),
        "whole": torch.ones(2, 2, dtype=torch.int8),
    }  # fmt: skip
    torch.save(odd, new_path("torch/odd.pt"))
    torch.load(new_path("torch/odd.pt"), weights_only=True)
    run("torch/odd.pt", net, 6)
    save_file(
        {
            "fc.weight": linear(5, 6).weight.detach(),
            "coarse.weight": torch.ones(6, 6).to(torch.float8_e4m3fn),
            "whole.weight": torch.ones(6, 6, dtype=torch.int8),
            "zero.weight": torch.zeros(6, 4), "mask": torch.full((4, 4), float("-inf")).triu(1),
            "broken.weight": torch.full((6, 6), float("nan")),
        },
        new_path("torch/one_odd.safetensors"),
    )  # fmt: skip
    torch.save(net, new_path("torch/whole_module.pt"))


def write_torch():
    """Writes all of them."""
    for write in (
        write_plain, write_norms, write_training, write_pieces, write_no_layers,
        write_convolutions, write_shards, write_odd,
    ):  # fmt: skip
        write()
