"""A linear cause that does not show in the picture: is its effect learned, and the image's own noise found?

    python benchmarks/undrawn_cause.py chain labels 0 1500     # graph, learn=, seed, steps: three quarters of a minute

Bars of b and c on 16×16 pixels; a is in the table alone (in `middle`, b). Printed for each way to know the image's own
variables: slope and spread of the effects of do(a), their error, and how often a
90 % interval of samples holds the truth.
"""
import argparse
import time
import warnings

import numpy as np
import torch

from causaldiffae.data.core import CausalDataset
from causaldiffae.graph import CausalGraph
from causaldiffae.images import check_images
from causaldiffae.model import CausalDiffAE
from causaldiffae.training import fit

GRAPHS = dict(
    chain=("a->b, b->c", "a"), fork=("a->b, a->c", "a"), collider=("a->c, b->c", "a"), middle=("a->b, b->c", "b")
)
CHAIN = dict(a=lambda y: 8., b=lambda y: 8+.9*(y["a"]-8), c=lambda y: 8+.8*(y["b"]-8))
MEANS = dict(chain=CHAIN, middle=CHAIN,
             fork=dict(CHAIN, c=lambda y: 8-.8*(y["a"]-8)),
             collider=dict(a=CHAIN["a"], b=CHAIN["a"], c=lambda y: 8+.9*(y["a"]-8)-.7*(y["b"]-8)))
WIDTHS = dict(a=1.5, b=1.6, c=1.2)


def solve(kind, ex, do=None):
    "Labels by name, with `do` set"
    y = {}
    for v in "abc":
        y[v] = np.full(len(ex[v]), do[v]) if do and v in do else MEANS[kind][v](y)+WIDTHS[v]*ex[v]
    return y


def make(kind, n, seed):
    "Exogenous noise, labels (n, 3), images in [-1,1]"
    r = np.random.default_rng(seed)
    ex = {v: r.normal(size=n) for v in "abc"}
    y = solve(kind, ex)
    img = np.full((n, 16, 16), 40.)
    for j, v in enumerate(v for v in "abc" if v != GRAPHS[kind][1]):
        img[:, 2+7*j:7+7*j] += 150*np.clip(y[v][:, None]-np.arange(16), 0, 1)[:, None]
    img = (img+r.normal(0, 3, img.shape)).clip(0, 255).round().astype(np.uint8)
    return ex, torch.tensor(np.stack([y[v] for v in "abc"], 1)), check_images(img[..., None])


def answers(model, x, labels, values, seed=1, draw=False):
    "Labels under do(a=v) for each v, (values, N, 3)"
    with torch.no_grad(): u = model._noise(x, model.known(labels, len(x)), model._luck(len(x), seed), draw)
    return np.stack([model.labels(model.solve(u, {"a": float(v)})).numpy() for v in values])


def report(model, kind):
    "Prints slope, spread and error of the effects of do(a)"
    hidden, values = "abc".index(GRAPHS[kind][1]), np.linspace(5, 11, 5)
    ex, y, x = make(kind, 1000, 99)
    told = torch.full_like(y, float("nan"))
    told[:, hidden] = y[:, hidden]
    truth = {v: np.array([solve(kind, ex, {"a": a})[v] for a in values]) for v in model.graph.descendants("a")}
    slope = lambda m: np.polyfit(values, m.mean(1), 1)[0]
    for how, labels, draw in (("read", None, False), ("labels=", told, False), ("samples=", None, True)):
        got = answers(model, x, labels, values, draw=draw)
        for v, t in truth.items():
            g = got[..., "abc".index(v)]
            print(f"  {how:9} do(a) on {v}: slope {slope(g):.2f} of {slope(t):.2f}, spread {g.std(1).mean():.2f} of "
                  f"{t.std(1).mean():.2f}, off {((g-t)**2).mean()**.5:.2f}")
    many = np.stack([answers(model, x, None, [6.], s, True)[0] for s in range(40)])
    lo, hi = np.quantile(many, (.05, .95), axis=0)
    for v, t in solve(kind, ex, {"a": 6.}).items():
        i = "abc".index(v)
        held, wide = ((t >= lo[:, i])&(t <= hi[:, i])).mean(), (hi-lo)[:, i].mean()
        if v in truth: print(f"  a 90 % interval holds {v} in {held:.3f}, {wide:.2f} wide")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("graph", choices=GRAPHS)
    p.add_argument("learn", choices=("labels", "reading"))
    p.add_argument("seed", type=int)
    p.add_argument("steps", type=int)
    a = p.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    graph = CausalGraph.from_edges(GRAPHS[a.graph][0], list("abc"))
    _, y, x = make(a.graph, 4000, a.seed+10)
    data = CausalDataset(graph, x, y, seed=a.seed)
    torch.manual_seed(a.seed)
    model = CausalDiffAE(graph, data.image_shape, widths=(32, 32), patch=4, learn=a.learn)
    start = time.time()
    fit(model, data, steps=a.steps, seed=a.seed, progress=False)
    print(f"{a.graph}, learn={a.learn!r}, seed {a.seed}, {a.steps} steps, {time.time()-start:.0f} s")
    report(model, a.graph)


if __name__ == "__main__": main()
