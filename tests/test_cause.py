"The causal core: what is known of an image, categories as effects, what mechanisms and denoiser learn from labels"
import math

import numpy as np
import pytest
import torch
from torch import nn

from causaldiffae.data.core import LabelScale
from causaldiffae.decoder import blanked
from causaldiffae.encoder import Mechanisms, category_codes, gumbel_given
from causaldiffae.files import read_tensors, write_tensors
from causaldiffae.graph import Action, CausalGraph
from causaldiffae.model import CausalDiffAE
from causaldiffae.prior import LabelPrior

GRAPH = CausalGraph.from_edges("dose->size, group->size, size->flag, flag->kind",
                               categories={"group": ["P", "Q", "R"], "flag": ["off", "on"], "kind": ["x", "y", "z"]})
NAMES = list(GRAPH.names)
SCALE = LabelScale([0. if v in GRAPH.categories else 10. for v in NAMES],
                   [len(GRAPH.categories[v])-1. if v in GRAPH.categories else 30. for v in NAMES])
NAN = float("nan")


def new(seed=0, **kw):
    torch.manual_seed(seed)
    m = CausalDiffAE(GRAPH, (1, 8, 8), widths=(32, 32), encoder=dict(widths=(16,)), scale=SCALE, **kw).eval()
    nn.init.normal_(m.encoder.mechanisms.w3, std=0.5)
    nn.init.normal_(m.decoder.net.leave.weight, std=0.05)
    return m


def some(n=12, seed=0):
    g = torch.Generator().manual_seed(seed)
    column = lambda v: (torch.randint(0, len(GRAPH.categories[v]), (n,), generator=g).double()
                        if v in GRAPH.categories else 10+20*torch.rand(n, generator=g).double())
    return torch.rand(n, 1, 8, 8, generator=g)*2-1, torch.stack([column(v) for v in NAMES], 1)


M = new()
X, Y = some()


def both(m, x=X, do=None, **kw): return m.counterfactual(x, do, steps=2, return_latents=True, **kw)


# what is known of an image

def test_known_labels_are_taken_and_the_rest_is_read():
    half = Y.clone()
    half[::2, 0] = NAN
    half[1, 2:] = NAN
    _, a, before, _ = both(M, labels=half)
    _, free, read, _ = both(M)
    known = ~half.isnan()
    assert (before-half)[known].abs().max() < 1e-4
    # dose is a root: what is not known is what was read
    assert (before[:, 0]-read[:, 0])[::2].abs().max() < 1e-4
    assert torch.equal(M.encoder.mechanisms(a.u), a.z)                # the noise solves the equations
    assert torch.equal(a.u, M.encode(X, half)) and torch.equal(a.u, M.abduct(X, 2, labels=half).u)


def test_nothing_known_is_nothing_changed():
    for labels in (None, torch.full_like(Y, NAN), np.full(Y.shape, NAN)):
        for a, b in zip(
            both(M, do={"size": 20.0})[:1] + both(M)[2:],
            both(M, do={"size": 20.0}, labels=labels)[:1] + both(M, labels=labels)[2:],
        ):
            assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["float32", "numpy", "whole", "table", "names", "columns"])
def test_all_ways_to_say_it_are_one(kind):
    y = Y.clone()
    y[:, :2] = y[:, :2].round()
    want = M.encode(X, y)
    if kind == "float32": got = M.encode(X, y.float())
    elif kind == "numpy": got = M.encode(X, y.numpy())
    elif kind == "whole": got = M.encode(X, y.round().long())
    else:
        pd = pytest.importorskip("pandas")
        table = pd.DataFrame(y.numpy(), columns=NAMES)
        if kind != "table":
            for v, cs in GRAPH.categories.items(): table[v] = [cs[int(k)] for k in table[v]]
        if kind == "columns":
            table, y = table[["kind", "dose"]], y.clone()
            y[:, [i for i, v in enumerate(NAMES) if v not in ("kind", "dose")]] = NAN
            want = M.encode(X, y)
        got = M.encode(X, table[list(table.columns)[::-1]])
    if kind == "whole": want = M.encode(X, y.round())
    assert torch.equal(want, got)


def spoiled(i, v):
    y = Y.clone()
    y[3, i] = v
    return y


@pytest.mark.parametrize("bad", [Y[:5], Y[:, :2], Y[0], "age", 3., spoiled(0, math.inf),
                                 spoiled(NAMES.index("flag"), 2.),
                                 spoiled(NAMES.index("kind"), 0.5),
                                 spoiled(NAMES.index("group"), -1.), spoiled(0, 1e30), Y > 1, Y+0j, [["a"]*5]*12])
def test_labels_that_cannot_be_are_refused_before_any_work(bad):
    calls = []
    hook = M.decoder.net.register_forward_hook(lambda *_: calls.append(1))
    for ask in (
        lambda: M.counterfactual(X, {"size": 20.0}, labels=bad),
        lambda: M.abduct(X, labels=bad),
        lambda: M.encode(X, bad),
    ):
        with pytest.raises(ValueError, match="^labels.*: expected .*, got "): ask()
    hook.remove()
    assert not calls


def test_tables_of_other_columns_are_refused():
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="labels: expected the columns"):
        M.encode(X, pd.DataFrame({"dose": [1.]*12, "moon": [1.]*12}))
    with pytest.raises(ValueError, match="expected one of off, on, got"):
        M.encode(X, pd.DataFrame({"flag": ["off"]*11+["maybe"]}))


@pytest.mark.parametrize("bad", [-1, 1.5, "1", True])
def test_seeds_and_samples_are_checked(bad):
    with pytest.raises(ValueError, match="seed: expected"): M.counterfactual(X, seed=bad)
    with pytest.raises(ValueError, match="samples: expected"): M.counterfactual(X, samples=bad)


def test_batches_say_the_same():
    half = Y.clone()
    half[::2, 1] = NAN
    do = {"dose": torch.linspace(12, 28, 12)}
    for kw in (dict(labels=half), dict(samples=3, labels=half), dict(samples=2)):
        one, many = (both(M, do=do, batch_size=b, **kw) for b in (100, 5))
        assert (one[3]-many[3]).abs().max() < 1e-4 and (one[0]-many[0]).abs().max() < 1e-4


# a linear model with known answers

def linear(edges, weights, d=2):
    "Mechanisms that multiply their parents by known numbers: SiLU(x)-SiLU(-x) = x"
    graph = CausalGraph.from_edges(edges)
    m = Mechanisms(graph, d, hidden=2*d)
    eye = torch.eye(d)
    with torch.no_grad():
        for p in m.parameters(): p.zero_()
        for i, v in enumerate(graph.names):
            for k, p in enumerate(graph.parents(v)):
                m.w1[i, k*d:(k+1)*d] = weights[p, v]*torch.cat([eye, -eye], 1)
        m.w2.copy_(torch.cat([torch.cat([eye, -eye]), torch.cat([-eye, eye])], 1)[None])
        m.w3.copy_(torch.cat([eye, -eye])[None])
    return graph, m


@pytest.mark.parametrize("edges,weights", [("a->b, b->c", {("a", "b"): 0.9, ("b", "c"): 0.8}),
                                           ("a->b, a->c", {("a", "b"): 0.9, ("a", "c"): -0.8}),
                                           ("a->c, b->c", {("a", "c"): 0.9, ("b", "c"): -0.7})])
def test_known_causes_give_the_true_effect(edges, weights):
    graph, mechanisms = linear(edges, weights)
    m = CausalDiffAE(graph, (1, 8, 8), widths=(32, 32), latent_dim=2, scale=LabelScale([-4.]*3, [4.]*3))
    m.encoder.mechanisms = mechanisms
    g = torch.Generator().manual_seed(1)
    u = torch.randn(50, 3, generator=g).double()
    def solve(do=None):
        y = torch.zeros(50, 3).double()
        for v in graph.order:
            i = graph.index(v)
            y[:, i] = (
                do
                if do is not None and v == "a"
                else u[:, i] + sum(weights[p, v] * y[:, graph.index(p)] for p in graph.parents(v))
            )
        return y
    y = solve()
    got = m.labels(m.solve(m.encode(torch.zeros(50, 1, 8, 8), y), {"a": 1.5}))
    assert (got-solve(1.5)).abs().max() < 1e-4


@pytest.mark.parametrize("learn", ["labels", "reading"])
def test_a_scale_is_learned_as_a_likelihood(learn):
    "b = 0.5·a, and noise that is wide where a is large"
    graph = CausalGraph.from_edges("a->b")
    torch.manual_seed(0)
    m = CausalDiffAE(graph, (1, 8, 8), widths=(32, 32), latent_dim=1, learn=learn)
    f, g = m.encoder.mechanisms, torch.Generator().manual_seed(0)
    opt = torch.optim.Adam(f.parameters(), 5e-3)
    for _ in range(400):
        a = torch.rand(256, generator=g)*2-1
        z = torch.stack([a, 0.5*a+(0.3+0.2*a)*torch.randn(256, generator=g)], 1)[..., None]
        opt.zero_grad()
        m._kl_u(z, torch.full_like(z, -8.), f.noise(z)).mean().backward()
        opt.step()
    a = torch.tensor([-0.8, 0., 0.8])
    effect, scale = f.parts(torch.stack([a, a], 1)[..., None])
    assert (effect[:, 1, 0]-0.5*a).abs().max() < 0.07 and (scale[:, 1, 0]/(0.3+0.2*a)-1).abs().max() < 0.2


# categories as effects

def test_gumbel_noise_is_that_of_the_category_it_chose():
    g = torch.Generator().manual_seed(0)
    for scale in (0.1, 1., 30.):
        logits, luck = torch.randn(20000, 4, generator=g)*scale, torch.rand(20000, 4, generator=g)
        at = torch.randint(0, 4, (20000,), generator=g)
        for r in (luck, torch.full_like(luck, 0.5), torch.zeros_like(luck), torch.ones_like(luck)):
            noise = gumbel_given(logits, at, r)
            assert noise.isfinite().all() and ((logits+noise).argmax(1) == at).all()


def test_gumbel_noise_over_all_categories_is_gumbel_noise():
    g = torch.Generator().manual_seed(1)
    logits, n = torch.tensor([0.3, -1., 0.9]), 100_000
    at = torch.multinomial(logits.softmax(0), n, True, generator=g)
    noise = gumbel_given(logits.expand(n, -1), at, torch.rand(n, 3, generator=g))
    assert (noise.mean(0)-0.5772).abs().max() < 0.02 and (noise.std(0)-math.pi/6**0.5).abs().max() < 0.02
    assert (torch.corrcoef(noise.T)-torch.eye(3)).abs().max() < 0.02
    # so the shares under an intervention are the softmax
    for other in (torch.tensor([0., 0., 0.]), torch.tensor([1., 1., -2.])):
        share = torch.bincount((other+noise).argmax(1), minlength=3)/n
        assert (share-other.softmax(0)).abs().max() < 0.01


def test_a_category_that_became_likelier_beside_all_others_stays():
    g = torch.Generator().manual_seed(2)
    logits = torch.randn(5000, 3, generator=g)
    at = torch.randint(0, 3, (5000,), generator=g)
    noise = gumbel_given(logits, at, torch.rand(5000, 3, generator=g))
    up = logits+torch.nn.functional.one_hot(at, 3)*torch.rand(5000, 1, generator=g)
    assert ((up+noise).argmax(1) == at).all()


def test_all_categories_are_codes_and_nothing_done_changes_none():
    x, y = some(300, 3)
    for labels in (None, y):
        u = M.encode(x, labels)
        for do in (None, {"size": 12.}, {"size": 29.}, {"group": "Q"}, {"flag": "on"}):
            z = M.solve(u, do)
            for i, k in M.prior.categories.items():
                assert ((z[:, i, None]-M.prior.code(i)).abs().amax(-1) == 0).any(1).all()
    assert torch.equal(M.labels(M.solve(M.encode(x, y)))[:, 1:], M.labels(M.solve(M.encode(x, y, seed=5)))[:, 1:])
    assert torch.equal(
        M.labels(M.solve(M.encode(x, y), {"flag": "on"}))[:, NAMES.index("flag")], torch.ones(300).double()
    )


def test_shares_follow_the_logits_and_agree_with_the_same_chance():
    graph = CausalGraph.from_edges("b->flag", categories={"flag": ["off", "on"]})
    m = Mechanisms(graph, 2, kind="gumbel")
    with torch.no_grad(): nn.init.normal_(m.w3, std=1.)
    g = torch.Generator().manual_seed(0)
    z = torch.zeros(20000, 2, 2)
    z[:, 0] = torch.rand(20000, 1, generator=g)*2-1
    at = torch.multinomial(m.effect(z)[:, 1].softmax(-1), 1, generator=g)[:, 0]
    z[:, 1] = category_codes(2, 2)[at]
    u = m.noise(z, torch.rand(z.shape, generator=g))
    for v in (-1., -0.3, 0.4, 1.):
        moved = m(u, [Action(0, "set", torch.full((20000,), v))])
        p = m.effect(moved)[0, 1].softmax(-1)[1].item()
        assert abs((moved[:, 1, 1] > 0).float().mean().item()-p) < 0.015


def test_seeds_repeat_and_none_draws_nothing():
    u = [M.encode(X, Y, seed=s) for s in (0, 0, 1, None, None)]
    assert torch.equal(u[0], u[1]) and not torch.equal(u[0], u[2]) and torch.equal(u[3], u[4])
    numbers = [i for i, v in enumerate(NAMES) if v not in GRAPH.categories]
    assert torch.equal(u[0][:, numbers], u[2][:, numbers])                 # of a number there is nothing to draw


# reading, and samples of what is uncertain

def test_the_width_of_a_reading_becomes_its_error():
    prior = LabelPrior(LabelScale([-1.], [1.]), d=1, sigma=0.02)
    g = torch.Generator().manual_seed(0)
    for error in (0.02, 0.1, 0.6):
        y = torch.randn(20000, 1, generator=g)*error
        logvar = torch.linspace(2*math.log(0.01), 2*math.log(2.), 800)
        cost = torch.stack(
            [prior.kl_read(torch.zeros(20000, 1, 1), v.expand(20000, 1, 1), y).mean() for v in logvar[::4]]
        )
        best = (logvar[::4][cost.argmin()]/2).exp().item()
        assert abs(best/math.hypot(error, 0.005)-1) < 0.03 and cost.min() > 0


def test_samples_spread_as_the_reading_says():
    m = new(1)
    q = m.encoder(X[:1])
    luck = torch.rand(4000, len(NAMES), 4, generator=torch.Generator().manual_seed(0))
    q4000 = type(q)(*(v.detach().expand(4000, -1, -1) for v in q))
    y = m.prior.to_unit(0, m.labels(m.encoder.draw(q4000, luck))[:, 0])
    # all numbers of a block err together
    assert abs(y.std().item()/(q.logvar[0, 0]/2).exp().mean().item()-1) < 0.05
    i = NAMES.index("kind")
    share = torch.bincount(m.labels(m.encoder.draw(q4000, luck))[:, i].long(), minlength=3)/4000
    # a category is as frequent as it is likely
    assert (share-(q.z[0, i, :3]+1)/2).abs().max() < 0.03


def test_samples_are_of_what_is_not_known():
    x_cf, a, before, after = both(M, samples=3, do={"size": 20.})
    assert x_cf.shape == (3, 12, 1, 8, 8) and before.shape == after.shape == (3, 12, 5) and len(a.u) == 36
    assert before.std(0).amax(0).min() > 0 and (after[..., NAMES.index("size")]-20).abs().max() < 1e-3
    before = both(M, samples=3, labels=Y)[2]
    assert (before-Y).abs().max() < 1e-4


def test_doubt_is_what_was_learned():
    r = M.read(X)
    q = M.encoder(X)
    assert torch.equal(r.labels, M.labels(M.encoder.mechanisms.settled(q.z.detach())))
    assert torch.allclose(r.doubt[:, 0], (q.logvar[:, 0]/2).exp().mean(-1).detach().double()*10)     # dose: 10 … 30
    i = NAMES.index("kind")
    assert torch.allclose(1-r.doubt[:, i], (q.z[:, i, :3].detach().amax(-1).double()+1)/2)
    z = M.solve(M.encode(X))
    chances = M.chances(z)
    assert set(chances) == {"flag", "kind"} and all((p.sum(1)-1).abs().max() < 1e-5 for p in chances.values())
    p = M.chances(M.solve(M.encode(X, Y), {"size": 20.}))["flag"]
    assert (p-p[:1]).abs().max() < 1e-6                                        # the same cause, the same chances


# learning

def test_an_undrawn_cause_teaches_its_mechanism():
    "Images are blank: all there is to learn stands in the labels"
    graph = CausalGraph.from_edges("a->b")
    torch.manual_seed(0)
    m = CausalDiffAE(graph, (1, 8, 8), widths=(32, 32), latent_dim=2, scale=LabelScale([-4.]*2, [4.]*2))
    opt = torch.optim.Adam(m.encoder.mechanisms.parameters(), 5e-3)
    g = torch.Generator().manual_seed(0)
    for _ in range(250):
        a = torch.randn(128, 1, generator=g)
        y = torch.cat([a, 0.9*a+0.5*torch.randn(128, 1, generator=g)], 1)
        q = m.encoder(torch.zeros(128, 1, 8, 8))
        opt.zero_grad()
        m._from_labels(q, y)[3].backward()
        opt.step()
    u = m.encode(torch.zeros(1000, 1, 8, 8), torch.cat([a, y[:, 1:]], 1).repeat(8, 1)[:1000])
    y1, y2 = (m.labels(m.solve(u, {"a": v}))[:, 1] for v in (-1., 1.))
    assert abs((y2-y1).mean().item()/2-0.9) < 0.07 and abs(y1.std().item()-0.5) < 0.08


def test_a_variable_is_blanked_alone():
    z = torch.randn(3, 4, 3)
    hidden = torch.tensor([[True, False, False, False], [False]*4, [True]*4])
    out = blanked(z, hidden)
    assert torch.equal(out[1], z[1]) and torch.equal(out[0, 1:], z[0, 1:])
    assert torch.equal(out[2], torch.tensor([2., -2., 2.]).expand(4, 3)) and out[0, 0].abs().min() == 2


def blocks(m, told):
    "The variables among what a denoiser was told, which the style follows"
    return told.flatten(1)[:, :m.graph.n*m.prior.d].unflatten(1, (m.graph.n, m.prior.d))


def test_a_missing_label_is_missing_alone_and_read():
    m, seen = new(learn="labels"), []
    m.decoder.net.register_forward_pre_hook(lambda _, a: seen.append(blocks(m, a[2])))
    y = Y.float()
    for v in (y, y.where(torch.arange(5) != 0, NAN), y*NAN): m.loss(X, v, generator=torch.Generator().manual_seed(0))
    whole, dose, none = seen
    read = m.encoder(X).z
    assert torch.equal(whole[:, 1:], dose[:, 1:])
    assert (dose[:, 0]-read[:, 0]).abs().max() < 5*m.prior.sigma > (none[:, 0]-read[:, 0]).abs().max()


def test_rows_that_all_lack_a_label_train_everything():
    m = new(learn="labels")
    y = Y.clone().float()
    y[torch.arange(12), torch.arange(12)%5] = NAN
    m.loss(X, y, generator=torch.Generator().manual_seed(0))["total"].backward()
    for name, p in m.named_parameters():
        if name.startswith(("encoder", "decoder.net.cond", "decoder.net.time")):
            assert p.grad.isfinite().all() and p.grad.abs().max() > 0, name


def test_a_variable_never_labelled_is_never_shown():
    m = new()
    m.trained = [[NAN, *SCALE.lo[1:].tolist()], [NAN, *SCALE.hi[1:].tolist()]]
    seen = []
    m.decoder.net.register_forward_pre_hook(lambda _, a: seen.append(blocks(m, a[2])))
    m.counterfactual(X, {"group": "Q"}, steps=2)
    m.predict(m.abduct(X, 2))
    m.loss(X, Y.where(torch.arange(5) != 0, NAN))
    assert all((z[:, 0].abs() == 2).all() and (z[:, 1:].abs() != 2).any() for z in seen)


@pytest.mark.parametrize("learn", ["labels", "reading"])
@pytest.mark.parametrize("mechanisms", ["gumbel", "additive", "scaled"])
def test_choices_are_kept_in_files(learn, mechanisms, tmp_path):
    m = new(learn=learn, mechanisms=mechanisms)
    far = nn.init.normal_(m.encoder.read[-1].bias, std=3.)                # codes far from what a category has
    assert m.loss(X, Y)["total"].isfinite() and far.isfinite().all()
    m.save(tmp_path/"m.safetensors")
    again = CausalDiffAE.load(tmp_path/"m.safetensors")
    assert again.config() == m.config() and torch.equal(again.encode(X), m.encode(X))


def test_files_from_before_keep_their_answers(tmp_path):
    m = new(learn="reading", mechanisms="additive", focus=0., hide=0., gamma=4.)
    m.save(tmp_path/"m.safetensors")
    tensors, config = read_tensors(tmp_path/"m.safetensors")
    for k in ("learn", "mechanisms", "focus", "hide"): del config["options"][k]
    del config["gamma_of"]
    config["options"]["gamma"] = 4/math.prod(m.image_shape)   # as it was meant then
    write_tensors(tmp_path/"m.safetensors", tensors, config)
    m = CausalDiffAE.load(tmp_path/"m.safetensors")
    assert m.learn == "reading" and not m.encoder.mechanisms.chosen
    assert (m.focus, m.hide) == (0, 0) and abs(m.gamma-4) < 1e-9
    x = torch.rand(2, *m.image_shape)*2-1
    q = m.encoder(x)
    assert torch.equal(m.encode(x), q.u) and torch.equal(m.abduct(x, 2).z, m.encoder.mechanisms(q.u))
    for k in ("mechanisms", "learn"):
        with pytest.raises(ValueError, match=f"{k}: expected one of"): new(**{k: "guess"})
