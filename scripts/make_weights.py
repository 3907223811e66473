"""Train a shipped model anew by its recipe: `python scripts/make_weights.py NAME [--out FILE] [--steps N]`

NAME is pendulum, circuit or digits. The weights go to `causaldiffae/weights/NAME.safetensors`, or to FILE; the recipe
stands in the file's header. --steps trains shorter, to try the script. digits needs MNIST and MorphoMNIST's labels:
`$CAUSALDIFFAE_DATA` names the folder that holds `mnist/` and `morphomnist/`. An interrupted run is kept in the cache
and goes on when the command is given again."""
import argparse
import os
import time
from pathlib import Path
import torch
import causaldiffae as cd
from causaldiffae.data.mnist import cache_home, read_mnist
from causaldiffae.data.morphomnist import build_morphomnist, read_morpho_labels
from causaldiffae.images import from_uint8

SHIPPED = Path(__file__).resolve().parents[1]/"causaldiffae"/"weights"
PUBLISHED = dict(learn="reading",mechanisms="additive")   # the choices of the paper, with which all three were made

def digits(n=24_000):
    "The first `n` MNIST training images, brought to their published labels; the last 500 are not trained on"
    home = Path(os.environ.get("CAUSALDIFFAE_DATA","../shared/data"))
    if not (home/"mnist").is_dir(): raise SystemExit(f"CAUSALDIFFAE_DATA: expected a folder with mnist, not {home}")
    images,digit = (v[:n] for v in read_mnist(home/"mnist"))
    y,rows = read_morpho_labels(home/"morphomnist","train")[:n],torch.arange(n)
    built = build_morphomnist(images,y,cache=cache_home()/"morphomnist")
    graph = cd.CausalGraph.from_edges("thickness->intensity, digit",categories={"digit":list("0123456789")})
    labels = torch.cat([y,torch.as_tensor(digit)[:,None].to(y)],1)
    return cd.CausalDataset(graph,from_uint8(built.images),labels,name="morphomnist",
                            splits=dict(train=rows[:-500],valid=rows[-500:-100],test=rows[-100:]))

# what to draw, options of the model, steps
RECIPES = dict(
    pendulum=(lambda: cd.pendulum(n=10_000,size=32,seed=0),{},12_000),
    circuit=(lambda: cd.circuit(10_000),dict(widths=(32,32,64),patch=4,encoder=dict(widths=(32,32))),12_000),
    digits=(digits,dict(sigma=0.03,encoder=dict(widths=(32,64,96),patch=1,convs=2)),20_000),
)

def make(name, out, steps=None):
    "Train model `name` and save it to `out`"
    data,options,usual = RECIPES[name]
    data,options,steps,kept = data(),{**PUBLISHED,**options},steps or usual,cache_home()/"weights"
    kept.mkdir(parents=True,exist_ok=True)
    torch.manual_seed(0)
    model = cd.CausalDiffAE(data.graph,data.image_shape,**options)
    start = time.process_time()
    cd.fit(model,data,steps=steps,precision="bf16",seed=0,checkpoint=kept/f"{name}_{steps}.ckpt",resume=True)
    recipe = dict(command=f"python scripts/make_weights.py {name} --steps {steps}",model=options,
                  fit=dict(steps=steps,precision="bf16",seed=0),torch=torch.__version__)
    model.save(out,half=True,recipe=recipe)
    print(f"{out}: {Path(out).stat().st_size:,} bytes, {(time.process_time()-start)/60:.1f} minutes of processor time")

if __name__=="__main__":
    p = argparse.ArgumentParser(description=__doc__,formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("name",choices=RECIPES)
    p.add_argument("--out",type=Path)
    p.add_argument("--steps",type=int)
    a = p.parse_args()
    make(a.name,a.out or SHIPPED/f"{a.name}.safetensors",a.steps)
