"""Train a shipped model anew by its recipe: `python scripts/make_weights.py NAME [--out FILE] [--steps N]`

NAME is pendulum, pendulum_noise, circuit or digits. The weights go to `causaldiffae/weights/NAME.safetensors`, or to
FILE; the recipe stands in the file's header. --steps trains shorter, to try the script. digits needs MNIST and
MorphoMNIST's labels: `$CAUSALDIFFAE_DATA` names the folder that holds `mnist/` and `morphomnist/`. An interrupted run
is kept in the cache and goes on when the command is given again."""
import argparse
import os
import time
from pathlib import Path
import numpy as np
import torch
from torch.nn import functional as F
import causaldiffae as cd
from causaldiffae.data.mnist import _redrawn, cache_home, read_mnist
from causaldiffae.data.morphomnist import build_morphomnist, draw_noise, morphomnist_graph
from causaldiffae.data.morphomnist import read_morpho_labels, solve_labels
from causaldiffae.graph import parse_do
from causaldiffae.images import from_uint8

SHIPPED = Path(__file__).resolve().parents[1]/"causaldiffae"/"weights"

def foreign(x, g):
    "Other hands: digits turned, slanted, wider or narrower at random, uint8 like `x`, (N, 28, 28)"
    n = len(x)
    turn,slant,wide,high = ((torch.rand(n,generator=g)*2-1)*k for k in (0.25,0.35,0.22,0.18))
    c,s,none = turn.cos(),turn.sin(),torch.zeros(n)
    rows = lambda a,b: torch.stack([torch.stack(a,1),torch.stack(b,1)],1)
    theta = rows([c,-s],[s,c])@rows([1+wide,slant],[none,1+high])
    where = F.affine_grid(torch.cat([theta,torch.zeros(n,2,1)],2),(n,1,*x.shape[1:]),align_corners=False)
    grey = torch.as_tensor(x)[:,None].float()
    return F.grid_sample(grey,where,mode="bilinear",align_corners=False)[:,0].round().byte().numpy()

def coarse(x):
    "Pictures as a scanner of 8×8 grey values sees them, drawn again along their centre line, uint8 (N, 28, 28)"
    ink = torch.as_tensor(x[:,4:-4,4:-4]>=128)[:,None].float()
    small = (16*F.adaptive_avg_pool2d(ink,8)).round()[:,0].numpy()
    return np.stack([_redrawn(v) if v.any() else x[i] for i,v in enumerate(small)])

def digits(n=20_000, more=10_000):
    """The first `n` MNIST training images, brought to their published labels, and `more` by other hands, half of them
    scanned coarsely, thinner and thicker than those; the last 500 of the first are not trained on"""
    home = Path(os.environ.get("CAUSALDIFFAE_DATA","../shared/data"))
    if not (home/"mnist").is_dir(): raise SystemExit(f"CAUSALDIFFAE_DATA: expected a folder with mnist, not {home}")
    images,digit = (v[:n] for v in read_mnist(home/"mnist"))
    y = read_morpho_labels(home/"morphomnist","train")[:n]
    g = torch.Generator().manual_seed(0)
    wide = 1.2+4.8*torch.rand(more,generator=g,dtype=torch.float64)   # thickness, pixels
    thick = solve_labels(draw_noise(more,g),parse_do({"thickness":wide},morphomnist_graph,more))
    hands = foreign(images[:more],g)
    images = np.concatenate([images,hands[::2],coarse(hands[1::2])])
    y,digit = torch.cat([y,thick.to(y)]),np.concatenate([digit,digit[:more:2],digit[1:more:2]])
    built = build_morphomnist(images,y,cache=cache_home()/"morphomnist")
    graph = cd.CausalGraph.from_edges("thickness->intensity, digit",categories={"digit":list("0123456789")})
    labels = torch.cat([y,torch.as_tensor(digit)[:,None].to(y)],1)
    held = torch.arange(n-500,n)
    rest = torch.cat([torch.arange(n-500),torch.arange(n,n+more)])
    return cd.CausalDataset(graph,from_uint8(built.images),labels,name="morphomnist",
                            splits=dict(train=rest,valid=held[:400],test=held[400:]))

# what to draw, options of the model, steps
RECIPES = dict(
    pendulum=(lambda: cd.pendulum(n=10_000,size=32,seed=0),dict(widths=(32,32,32),hide=0.1,style=0),12_000),
    pendulum_noise=(lambda: cd.pendulum(n=10_000,size=32,noise=True,seed=0),dict(widths=(32,32,64),hide=0.1),16_000),
    circuit=(lambda: cd.circuit(10_000),
             dict(widths=(32,32,64),patch=4,encoder=dict(widths=(32,32)),hide=0.1,style=0),20_000),
    digits=(digits,dict(sigma=0.03,encoder=dict(widths=(32,64,64),patch=1,convs=2),hide=0.1,style=0),20_000),
)

def make(name, out, steps=None):
    "Train model `name` and save it to `out`"
    data,options,usual = RECIPES[name]
    data,steps,kept = data(),steps or usual,cache_home()/"weights"
    kept.mkdir(parents=True,exist_ok=True)
    torch.manual_seed(0)
    model = cd.CausalDiffAE(data.graph,data.image_shape,**options)
    start = time.process_time()
    cd.fit(model,data,steps=steps,precision="bf16",seed=0,checkpoint=kept/f"{name}_{steps}.ckpt",resume=True)
    recipe = dict(command=f"python scripts/make_weights.py {name} --steps {steps}",model=options,
                  fit=dict(steps=steps,precision="bf16",seed=0),torch=torch.__version__,
                  causaldiffae=cd.__version__)
    model.save(out,half=True,recipe=recipe)
    print(f"{out}: {Path(out).stat().st_size:,} bytes, {(time.process_time()-start)/60:.1f} minutes of processor time")

if __name__=="__main__":
    p = argparse.ArgumentParser(description=__doc__,formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name",choices=RECIPES)
    p.add_argument("--out",type=Path)
    p.add_argument("--steps",type=int)
    a = p.parse_args()
    make(a.name,a.out or SHIPPED/f"{a.name}.safetensors",a.steps)
