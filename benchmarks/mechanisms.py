"""Mechanisms learned from labels alone, asked where the truth is known: what does a scale of the noise buy?

    python benchmarks/mechanisms.py     # two sets, two kinds, three seeds: two minutes

MorphoMNIST's equations (Pawlowski et al. 2020) and a linear chain; 3,200 rows to learn from;
the labels of the 1,000 rows that are asked about are known.
"""
import math

import numpy as np
import torch

from causaldiffae.data.core import LabelScale
from causaldiffae.encoder import Mechanisms
from causaldiffae.graph import Action, CausalGraph
from causaldiffae.prior import LabelPrior
from causaldiffae.training import EMA


def morpho(r, n, do=None):
    t = .5+r.gamma(10., 1/5., n)
    e = r.normal(size=n)
    if do: t = np.full(n, do[1])
    return np.stack([t, 191/(1+np.exp(-(.5*e+2*t-5)))+64], 1)


def chain(r, n, do=None):
    a, e, f = (s*r.normal(size=n) for s in (1.5, 1.6, 1.2))
    if do and do[0] == 0: a = np.full(n, do[1])
    b = .9*a+e
    if do and do[0] == 1: b = np.full(n, do[1])
    return np.stack([a, b, .8*b+f], 1)


SETS = dict(morphomnist=(CausalGraph.from_edges("thickness->intensity"), morpho, [(0, 1.5), (0, 2.5), (0, 3.5)]),
            chain=(CausalGraph.from_edges("a->b, b->c"), chain, [(0, -2.), (0, 2.), (1, 2.)]))


def learn(graph, y, kind, seed, steps=4000):
    "Mechanisms and prior, by the loss of the model's label half"
    prior = LabelPrior(LabelScale.from_labels(y), 4)
    torch.manual_seed(seed)
    f = Mechanisms(graph, 4, kind=kind)
    opt, mean, g = torch.optim.Adam(f.parameters()), EMA(f), torch.Generator().manual_seed(seed)
    for s in range(steps):
        rate = 1e-3*min(1, (s+1)/201)*(.01+.99*.5*(1+math.cos(math.pi*s/steps)))
        for group in opt.param_groups: group["lr"] = rate
        z = prior.mean(y[torch.randint(0, len(y), (32,), generator=g)])
        effect, scale = f.parts(z)
        opt.zero_grad()
        prior.kl_caused(effect, z, torch.full_like(z, 2*math.log(prior.sigma)), scale).mean().backward()
        opt.step()
        mean.update()
    mean.swap()
    return f, prior


@torch.no_grad()
def errors(name, kind, seed):
    "Mean error of the last variable under each intervention, and how far it moves"
    graph, draw, dos = SETS[name]
    f, prior = learn(graph, torch.tensor(draw(np.random.default_rng(seed+1), 3200)), kind, seed)
    y = torch.tensor(draw(np.random.default_rng(99), 1000))
    u = f.noise(prior.mean(y))
    for i, v in dos:
        act = Action(i, "set", prior.to_unit(i, torch.full((1000,), v).double()))
        true = torch.tensor(draw(np.random.default_rng(99), 1000, (i, v)))
        off, moves = ((w-true)[:, -1].abs().mean().item() for w in (prior.labels(f(u, [act])), y))
        yield f"do({graph.names[i]}={v:g}) {off:.3f} of {moves:.2f}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in SETS:
        for kind in ("additive", "scaled"):
            for seed in range(3): print(name, kind, seed, "; ".join(errors(name, kind, seed)), flush=True)
