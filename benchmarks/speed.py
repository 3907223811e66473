"""Speed, measured: `python benchmarks/speed.py --quick`; told on the page tutorials/speed"""
import argparse
import itertools
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
import torch
from torch import nn, Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from causaldiffae.check import check_number, refusal
from causaldiffae.data.core import CausalDataset
from causaldiffae.data.morphomnist import morphomnist, read_morphomnist
from causaldiffae.data.strokes import measure
from causaldiffae.data.pendulum import pendulum
from causaldiffae.files import atomic
from causaldiffae.graph import CausalGraph
from causaldiffae.images import from_uint8
from causaldiffae.model import CausalDiffAE
from causaldiffae.step import pick_precision
from causaldiffae.unet import UNet

class _Diffusers(nn.Module):
    "diffusers' UNet2DModel with the interface of `UNet`; the causal variables enter beside the time"
    def __init__(self, image_shape, z_dim, widths=(32,64,96)):
        super().__init__()
        try: from diffusers import UNet2DModel
        except ImportError: raise ImportError("the comparison with diffusers needs it: pip install diffusers") from None
        C,H,W = image_shape
        self.net = UNet2DModel(
            sample_size=(H, W),
            in_channels=C,
            out_channels=C,
            layers_per_block=1,
            block_out_channels=widths,
            norm_num_groups=16,
            attention_head_dim=32,
            down_block_types=("DownBlock2D",) * len(widths),
            up_block_types=("UpBlock2D",) * len(widths),
            class_embed_type="identity",
        )
        self.cond,self.null = nn.Linear(z_dim,4*widths[0]),nn.Parameter(torch.zeros(4*widths[0]))

    def forward(self, x_t, t, z, drop=None):
        e = self.cond(z.flatten(1))
        if drop is not None: e = torch.where(drop[:,None],self.null.to(e.dtype),e)
        return self.net(x_t,t,class_labels=e).sample

class _NoWayAround(nn.Module):
    "In the place of `Around`, for a U-Net like the reference's"
    def forward(self, x, e): return 0.

manners = ("ours","reference","diffusers")

def contestant(
    manner:str, # "ours", "reference" or "diffusers"
    data,       # CausalDataset
    seed:int=0, # of the weights
):              # (model, step, optimiser, AveragedModel); `step(x, y, generator)` gives the loss terms
    "A model and one step of its training loop, in one of three manners"
    if manner not in manners: raise ValueError(f"manner: expected one of {manners}, got {manner!r}")
    torch.manual_seed(seed)
    kind = {} if manner=="ours" else dict(prediction="eps",schedule="linear")
    model = CausalDiffAE(data.graph,data.image_shape,**kind)
    z_dim = model.decoder.net.z_dim
    if manner=="reference":
        model.decoder.net = UNet(data.image_shape,z_dim,patch=1)
        model.decoder.net.around = _NoWayAround()
    if manner=="diffusers": model.decoder.net = _Diffusers(data.image_shape,z_dim)
    model.prepare(data)
    half = manner=="diffusers" or (manner=="ours" and pick_precision()=="bf16")
    params = list(model.parameters())
    opt = (
        torch.optim.Adam(params, lr=1e-3, fused=True)
        if manner == "ours"
        else torch.optim.AdamW(params, lr=1e-3, weight_decay=0.0)
    )
    counted = itertools.count(1)
    def average(averaged, live, _):
        n = next(counted)
        torch._foreach_lerp_(averaged,live,1-min(0.999,(1+n)/(10+n)))
    averaged = AveragedModel(model,multi_avg_fn=average)
    averaged.update_parameters(model)   # the first time, it copies
    def step(x, y, generator):
        with torch.autocast("cpu",dtype=torch.bfloat16,enabled=half): terms = model.loss(x,y,generator=generator)
        opt.zero_grad()
        terms["total"].backward()
        nn.utils.clip_grad_norm_(params,1.)
        opt.step()
        averaged.update_parameters(model)
        return {k:v.detach() for k,v in terms.items()}
    return model,step,opt,averaged

@torch.no_grad()
def told(model, x, do=None):
    "What the denoiser is shown of images under `do`: their variables, and their style"
    u = model.encode(x)
    r = None if model.style is None else model.style(x,model.solve(u))
    return model._shown(model.solve(u,do),r)

@torch.no_grad()
def denoising_errors(
    model:CausalDiffAE, # any contestant
    x:Tensor,           # images in [-1,1], (N, C, H, W)
    levels=(0.99,0.9,0.7,0.5,0.3,0.1,0.02),  # ᾱ to ask at
) -> dict:              # mean squared errors over the levels: "noise", "image", and "loss", their sum
    "How well the network tells noise and image apart, whatever it predicts and on whichever schedule"
    if not len(levels) or not all(0 < a < 1 for a in levels):
        raise ValueError(f"levels: expected values of ᾱ between 0 and 1, got {levels!r}")
    z,s = told(model,x),model.decoder.schedule
    g,noise,image = torch.Generator().manual_seed(0),[],[]
    for level in levels:
        alpha_bar = s.at(torch.arange(s.T)).flatten()
        t = torch.full((len(x),),(alpha_bar-level).abs().argmin().item())
        eps = torch.randn(x.shape,generator=g)
        x_t = s.add_noise(x,t,eps)
        x_0,seen = s.split(model.decoder.net(x_t,t,z),x_t,t)
        noise.append(F.mse_loss(seen,eps))
        image.append(F.mse_loss(x_0,x))
    noise,image = (torch.stack(v).mean().item() for v in (noise,image))
    return dict(noise=noise,image=image,loss=noise+image)

def speedup(
    slow:list, # seconds of the one, round by round
    fast:list, # seconds of the other in the same rounds
) -> tuple:    # median of slow/fast, [lower quartile, upper quartile]
    "How many times faster, with its spread; ValueError for fewer than five rounds"
    if len(slow) != len(fast) or len(slow) < 5:
        raise ValueError(f"slow, fast: expected the same number of rounds, at least 5, got {len(slow)} and {len(fast)}")
    r = [a/b for a,b in zip(slow,fast)]
    q = statistics.quantiles(r,n=4,method="inclusive")
    return statistics.median(r),[q[0],q[2]]

def bench_training(
    data,                 # CausalDataset
    rounds:int=60,        # steps of each manner
    batch_size:int=32,    # images a step
) -> dict:                # images per second, ratios, and how far each came
    "Train in three manners, step by step in turn"
    sides = {m:contestant(m,data) for m in manners}
    took,g = {m:[] for m in manners},torch.Generator()
    n = len(data.train)
    order = torch.randperm(n,generator=torch.Generator().manual_seed(0)).repeat(rounds*batch_size//n+2)
    for r in range(rounds+2):
        i = data.train.index[order[r*batch_size:][:batch_size]]
        x,y = data.images[i],data.labels[i]
        for m,(model,step,*_) in sides.items():
            start = time.perf_counter()
            step(x,y,g.manual_seed(r))
            if r>=2: took[m].append(time.perf_counter()-start)   # the first two warm up
    x = data.valid.images[:128]
    out = {
        "train_parameters": {
            m: sum(p.numel() for p in model.decoder.net.parameters()) for m, (model, *_) in sides.items()
        },
        "train_images_per_second": {m: batch_size / statistics.median(t) for m, t in took.items()},
        "train_errors": {m: denoising_errors(model.eval(), x) for m, (model, *_) in sides.items()},
        "train_images": (rounds + 2) * batch_size,
    }
    for m in manners[1:]:
        out[f"train_speedup_vs_{m}"], out[f"train_speedup_vs_{m}_spread"] = speedup(took[m], took["ours"])
    return out

@torch.no_grad()
def reference_counterfactual(
    model:CausalDiffAE, # any
    x:Tensor,           # images in [-1,1], (N, C, H, W)
    do=None,            # intervention, raw units
    steps:int=250,      # calls of the network
    generator=None,     # of the noise
) -> Tensor:            # images like `x`
    "The published code's way: q_sample to the last timestep, then DDIM under `do` (Komanduri et al. 2024)"
    z = model.solve(model.encode(x),do)
    eps = torch.randn(x.shape,generator=generator)
    x_T = model.decoder.schedule.add_noise(x,torch.full((len(x),),model.decoder.schedule.T-1),eps)
    return model.sample(x_T,z,steps,"ddim",style=None if model.style is None else model.style(x,z))

@torch.no_grad()
def diffusers_counterfactual(
    net:nn.Module, # a _Diffusers
    x:Tensor,      # images in [-1,1], (N, C, H, W)
    z:Tensor,      # causal variables as they are, (N, n_vars, d)
    z_cf:Tensor,   # causal variables under the intervention, like `z`
    steps:int,     # calls of the network in each direction
) -> Tensor:       # images like `x`
    "Inversion and sampling by diffusers' schedulers"
    from diffusers import DDIMInverseScheduler, DDIMScheduler
    for kind,code in ((DDIMInverseScheduler,z),(DDIMScheduler,z_cf)):
        schedule = kind(clip_sample=False)
        schedule.set_timesteps(steps)
        for t in schedule.timesteps: x = schedule.step(net(x,t.expand(len(x)),code),t,x).prev_sample
    return x

def _asked(data, name, n):
    "Values over the variable's range, one per image"
    i = data.graph.index(name)
    lo,hi = data.scale.lo[i],data.scale.hi[i]
    return {name:lo+(hi-lo)*torch.rand(n,generator=torch.Generator().manual_seed(0))}

def truth_errors(
    answer,           # function (images, do) → counterfactual images
    data,             # a CausalDataset that knows the truth
    names,            # variables to intervene on
    n:int=64,         # test images for each
) -> Tensor:          # mean absolute error of each answer, of 255, (len(names), n)
    "How far counterfactuals are from the true ones, with values asked over each variable's range"
    x = data.test.images[:n]
    n = len(x)
    asked = [_asked(data,name,n) for name in names]
    return torch.stack(
        [(answer(x, do) - data.test.truth(do, torch.arange(n)).images).abs().mean((1, 2, 3)) * 127.5 for do in asked]
    )

def bench_counterfactual(
    model:CausalDiffAE,   # trained on the pendulum
    data,                 # the pendulum's CausalDataset
    steps:int=7,          # calls in each direction
    solver:str="adams",   # name of a solver
    rounds:int=5,         # how often each manner is timed
    n:int=16,             # images at a time
    truths:int=64,        # images whose counterfactuals are compared with the truth, for each variable
) -> dict:
    "One network asked in two manners, in turn, and diffusers beside them; each trained answer against the truth"
    x,do = data.test.images[:n],_asked(data,"light",n)
    net = _Diffusers(data.image_shape,model.decoder.net.z_dim).eval()
    z = told(model,x)
    calls = 2*steps+(solver=="exact")
    sides = {"ours": lambda x,do: model.counterfactual(x,do,steps=steps,solver=solver),
             "ddim250": lambda x,do: reference_counterfactual(model,x,do,generator=torch.Generator().manual_seed(0)),
             "diffusers": lambda x,do: diffusers_counterfactual(net,x,z,told(model,x,do),(calls+1)//2)}
    took = {k:[] for k in sides}
    # warm up
    sides["ours"](x,do)
    sides["diffusers"](x,do)
    for _ in range(rounds):
        for k,f in sides.items():
            start = time.perf_counter()
            f(x,do)
            took[k].append(time.perf_counter()-start)
    out = {
        "counterfactual_calls": calls,
        "counterfactual_calls_spread": [calls, calls],
        "counterfactual_solver": solver,
        "counterfactual_images": n,
    }
    for k in ("ddim250", "diffusers"):
        out[f"counterfactual_speedup_vs_{k}"], out[f"counterfactual_speedup_vs_{k}_spread"] = speedup(
            took[k], took["ours"]
        )
    for k,f in {"ours":sides["ours"],"ddim250":sides["ddim250"],"unchanged":lambda x,do: x}.items():
        e = truth_errors(f,data,("angle","light"),truths)
        out[f"truth_error_{k}_255"], out[f"truth_error_{k}_255_spread"] = (
            e.mean().item(),
            e.quantile(torch.tensor([0.25, 0.75])).tolist(),
        )
    return out

def bench_digits(
    model:CausalDiffAE,   # trained on digits with thickness and intensity
    x:Tensor,             # digits, (N, 1, 28, 28)
    y:Tensor,             # their thickness in pixels and intensity, 0 … 255, (N, 2)
    steps:int=7,          # calls in each direction
    solver:str="adams",   # name of a solver
) -> dict:                # mean absolute errors, in pixels of thickness and in 255ths
    "Effectiveness on digits, each asked for another one's thickness or intensity; and the image back, nothing done"
    asked,out = y[torch.randperm(len(y),generator=torch.Generator().manual_seed(0))],{}
    for k, f in (
        ("ours", lambda do: model.counterfactual(x, do, steps=steps, solver=solver)),
        ("ddim250", lambda do: reference_counterfactual(model, x, do, generator=torch.Generator().manual_seed(0))),
        ("unchanged", lambda do: x),
    ):
        for i,(name,unit) in enumerate((("thickness","px"),("intensity","255"))):
            e = (measure(f({name:asked[:,i]}))[:,i]-asked[:,i]).abs()
            e = e[~e.isnan()]
            out[f"{name}_error_{k}_{unit}"], out[f"{name}_error_{k}_{unit}_spread"] = (
                e.mean().item(),
                e.quantile(torch.tensor([0.25, 0.75])).tolist(),
            )
        e = (f(None)-x).abs().mean((1,2,3))*127.5
        out[f"nothing_done_{k}_255"], out[f"nothing_done_{k}_255_spread"] = (
            e.mean().item(),
            e.quantile(torch.tensor([0.25, 0.75])).tolist(),
        )
    return out

def bench_interactive(
    model:CausalDiffAE, # trained on digits
    x:Tensor,           # images, (N, C, H, W)
    steps:int=10,       # calls in each direction
    solver:str="adams", # name of a solver
    rounds:int=20,      # how many moves of the slider
) -> dict:
    "Milliseconds from a new value to the new image, one image"
    a,took,name = model.abduct(x[:1],steps,solver),[],model.graph.names[0]
    lo,hi = model.trained[0][0],model.trained[1][0]
    for k in range(rounds+2):
        start = time.perf_counter()
        model.predict(a,{name:lo+(hi-lo)*(k+1)/(rounds+3)})
        took.append(1000*(time.perf_counter()-start))
    q = statistics.quantiles(took[2:],n=4)
    return {"interactive_ms":statistics.median(took[2:]),"interactive_ms_spread":[q[0],q[2]],"interactive_calls":steps}

def bench_exact(
    models:dict,  # name → (model, images)
    steps:int=10, # calls in each direction
) -> dict:        # the larger error; the spread is from the better to the worse model
    "There and back with the exact solver, mean absolute error of 255"
    def error(m, x): return (m.predict(m.abduct(x,steps,"exact"))-x).abs().mean().item()*127.5
    e = {k: error(m,x) for k,(m,x) in models.items()}
    return {
        "exact_inversion_error_255": max(e.values()),
        "exact_inversion_error_255_spread": [min(e.values()), max(e.values())],
    }

# noqa: E501
_run = """
import sys, torch
from pathlib import Path
torch.set_num_threads({threads})
from causaldiffae.all import *
data = {data}
fit(CausalDiffAE(data.graph, data.image_shape), data, steps={steps}, validations=1, progress=False)
status = Path("/proc/self/status")   # getrusage would count what this process was forked from, too
if status.exists(): print(float(status.read_text().split("VmHWM:")[1].split()[0])/2**20)
else:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**30 if sys.platform=="darwin" else 2**20))
"""

def peak_memory(
    data:str,      # expression that makes the data, as `causaldiffae.all` knows it
    steps:int=10,  # training steps
    threads:int=2, # of the process
) -> float:        # GiB
    "The largest memory of a training process; RuntimeError when it fails"
    run = subprocess.run(
        [sys.executable, "-c", _run.format(data=data, steps=steps, threads=threads)], capture_output=True, text=True
    )
    if run.returncode: raise RuntimeError(f"the training process ended with {run.returncode}: {run.stderr[-500:]}")
    return float(run.stdout.split()[-1])

def bench_memory(
    rounds:int=2,  # processes for each
    threads:int=2, # of each
) -> dict:
    "The default run on as many 28×28 images as MNIST has, and steps on 96×96 pendulums, 32 at a time"
    out = {}
    for k, data in (
        ("train", "CausalDataset(morphomnist_graph, torch.rand(60_000,1,28,28)*2-1, torch.rand(60_000,2))"),
        ("train_96", "pendulum(n=400, size=96)"),
    ):
        m = [peak_memory(data,10,threads) for _ in range(rounds)]
        out[f"peak_{k}_rss_gb"],out[f"peak_{k}_rss_gb_spread"] = statistics.median(m),[min(m),max(m)]
    return out

def _seconds(f, rounds=7):
    f()
    took = []
    for _ in range(rounds):
        start = time.process_time()
        f()
        took.append(time.process_time()-start)
    return statistics.median(took)

def bench_cost(
    size:int=32,       # height and width of the images
    batch_size:int=32, # images
    n_vars:int=4,      # variables, each with up to three parents
    steps:int=7,       # of a counterfactual, in each direction
) -> dict:             # milliseconds per image of step and counterfactual; the encoder's share of a step
    "Processor time of one core"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    names = [f"v{i}" for i in range(n_vars)]
    graph = CausalGraph({v:names[max(0,i-3):i] for i,v in enumerate(names)})
    data = CausalDataset(
        graph,
        torch.rand(batch_size + 2, 3, size, size) * 2 - 1,
        torch.rand(batch_size + 2, n_vars),
        splits=dict(train=range(batch_size), valid=[batch_size], test=[batch_size + 1]),
    )
    x,y = data.train.images,data.train.labels
    try:
        model,step,*_ = contestant("ours",data)
        g = torch.Generator().manual_seed(0)
        def encode():
            q = model.encoder(x)
            torch.autograd.backward([q.u,q.logvar],[torch.ones_like(q.u)]*2)
            for p in model.encoder.parameters(): p.grad = None
        whole,part = _seconds(lambda: step(x,y,g)),_seconds(encode)
        call = _seconds(lambda: model.counterfactual(x,{names[0]:y[:,0].mean().item()},steps=steps),3)
    finally: torch.set_num_threads(before)
    return dict(
        size=size,
        batch_size=batch_size,
        n_vars=n_vars,
        step_ms=1000 * whole / batch_size,
        counterfactual_ms=1000 * call / batch_size,
        encoder_share=part / whole,
    )

def quality_curve(
    manner:str,             # "ours" or "reference"
    data,                   # a CausalDataset that knows the truth
    minutes:float,          # of one core's processor time, training alone
    every:float,            # … between two looks
    names=("angle","light"),# variables to intervene on
    n:int=64,               # test images for each
    batch_size:int=32,      # images a step
    lr:float=1e-3,          # peak learning rate
    seed:int=0,             # of the run
    progress:bool=True,     # a line for each look
) -> list:                  # a dict for each look: minutes, steps, errors
    "Train in one manner and look at its counterfactuals, with the averaged weights, as the minutes pass"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    model,step,opt,averaged = contestant(manner,data,seed)
    judged = averaged.module.eval()
    def answer(x, do):
        if manner=="ours": return judged.counterfactual(x,do)
        return reference_counterfactual(judged,x,do,generator=torch.Generator().manual_seed(0))
    g,order,curve,k,spent = torch.Generator(),torch.Generator().manual_seed(seed),[],0,0.
    try:
        while spent<60*minutes:
            start = time.process_time()
            for group in opt.param_groups:
                group["lr"] = (
                    lr * min(1, (k + 1) / 201) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * spent / (60 * minutes))))
                )
            i = data.train.index[torch.randint(len(data.train),(batch_size,),generator=order)]
            step(data.images[i],data.labels[i],g.manual_seed(k))
            k += 1
            spent += time.process_time()-start
            if spent>=60*min(minutes,every*(len(curve)+1)):
                x = data.test.images[:n]
                e = truth_errors(answer,data,names,n).mean(1).tolist()
                curve.append(
                    dict(
                        minutes=spent / 60,
                        steps=k,
                        **{f"do({v})": r for v, r in zip(names, e)},
                        composition=(answer(x, None) - x).abs().mean().item() * 127.5,
                        **denoising_errors(judged, x),
                    )
                )
                if progress: print(manner,{a:round(b,3) for a,b in curve[-1].items()},flush=True)
    finally: torch.set_num_threads(before)
    return curve

def time_to_quality(
    curve:list,        # of quality_curve
    within:float=2.,   # of 255
) -> float:            # minutes, or infinity
    "When a curve came within a quality and stayed there, for all that was asked"
    at = math.inf
    for r in reversed(curve):
        # not a number is not good
        if not all(v<=within for k,v in r.items() if k.startswith("do(") or k=="composition"): break
        at = r["minutes"]
    return at

def bench_quality(
    data,                          # a CausalDataset that knows the truth
    ours:float=8.,                 # minutes for ours
    reference:float=40.,           # minutes for the reference
    looks:int=8,                   # how often each is asked
) -> dict:
    "Time to quality in two manners, one after the other"
    a,b = quality_curve("ours",data,ours,ours/looks),quality_curve("reference",data,reference,reference/looks)
    return {
        "quality_curve_ours": a,
        "quality_curve_reference": b,
        "minutes_to_quality_ours": time_to_quality(a),
        "minutes_to_quality_reference": (
            time_to_quality(b) if math.isfinite(time_to_quality(b)) else f"not in {b[-1]['minutes']:.0f}"
        ),
    }

def checked(
    out:str,     # file for the figures
    threads:int, # processor threads
) -> Path:
    "The file, once it is known that it can be written; ValueError otherwise"
    check_number("threads",threads,1,whole=True)
    path = Path(out)
    if path.is_dir() or not path.parent.is_dir(): raise refusal("out","a file in an existing folder",repr(out))
    return path

def measured(quick, quality, digits, threads):
    "All figures, as a dictionary"
    data,n = pendulum(n=2_000,size=32,seed=1),48 if quick else 128
    if digits:
        published = read_morphomnist(digits)
        x,y = from_uint8(published.images[:n]),published.labels[:n]
    else:
        embedded = morphomnist(n=n)
        x,y = embedded.images,embedded.labels
    pend,dig = CausalDiffAE.from_pretrained("pendulum"),CausalDiffAE.from_pretrained("digits")
    result = {"digits":"published MorphoMNIST" if digits else "scikit-learn's","threads":threads,
              "machine":platform.processor() or platform.machine(),"torch":torch.__version__,
              "bf16":pick_precision()=="bf16"}
    def part(name, work):
        start = time.perf_counter()
        result.update(work())
        print(f"{name}: {time.perf_counter()-start:.0f} s",flush=True)
    part("training",lambda: bench_training(data,40 if quick else 150))
    part("counterfactuals",lambda: bench_counterfactual(pend,data,rounds=5 if quick else 7,truths=24 if quick else 100))
    part("digits",lambda: bench_digits(dig,x,y))
    part("slider",lambda: bench_interactive(dig,x))
    part("exact inversion",lambda: bench_exact({"pendulum":(pend,data.test.images[:32]),"digits":(dig,x[:32])}))
    part("memory",lambda: bench_memory(1 if quick else 2,threads))
    if quality: part("time to quality",lambda: bench_quality(pendulum(n=10_000,size=32,seed=0)))
    return result

def bench(
    out:str="bench.json", # file for the figures
    quick:bool=False,     # fewer rounds: under five minutes
    quality:bool=False,   # also train ours for 8 and the reference for 40 minutes
    digits:str=None,      # folder with the published MorphoMNIST; scikit-learn's digits if not given
    threads:int=2,        # processor threads
):
    "Measure training, counterfactuals, the slider, exact inversion and memory, each beside its counterpart"
    path,before = checked(out,threads),torch.get_num_threads()
    torch.set_num_threads(threads)
    try: result = measured(quick,quality,digits,threads)
    finally: torch.set_num_threads(before)
    with atomic(path) as part: part.write_text(json.dumps(result,indent=1),encoding="utf-8")
    for k,v in result.items():
        if s := result.get(f"{k}_spread"): print(f"{k:42s} {v:9.4g}   ({s[0]:.4g} … {s[1]:.4g})")

def main():
    p = argparse.ArgumentParser(description=bench.__doc__)
    p.add_argument("--out",default="bench.json",help="file for the figures")
    p.add_argument("--quick",action="store_true",help="fewer rounds: under five minutes")
    p.add_argument("--quality",action="store_true",help="also train ours for 8 and the reference for 40 minutes")
    p.add_argument("--digits",help="folder with the published MorphoMNIST; scikit-learn's digits if not given")
    p.add_argument("--threads",type=int,default=2,help="processor threads")
    try: bench(**vars(p.parse_args()))
    except (ValueError,OSError,ImportError) as e: sys.exit(f"speed.py: {e}")   # one line, status 1

if __name__=="__main__": main()
