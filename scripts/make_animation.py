"""The moving picture at the top of the first page: `python scripts/make_animation.py`

Writes nbs/images/counterfactuals.webp (moving) and counterfactuals.png (its first frame, for readers who asked their
system for less motion): two images that the shipped models have not seen, what they would have looked like under
`do`, and the truth."""
import argparse
import io
from pathlib import Path
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
from PIL import Image
import causaldiffae as cd

IMAGES = Path(__file__).resolve().parents[1]/"nbs"/"images"

def there_and_back(lo, hi, n):
    "`n` values from `lo` to `hi` and back, slow at both ends"
    turn = torch.linspace(0,2*torch.pi,n+1,dtype=torch.float64)[:-1]
    return lo+(hi-lo)*(1-turn.cos())/2

def answers(model, split, row, variable, values):
    "One image, what the model says and the truth for each value, and the graph"
    x = split.images[row:row+1].expand(len(values),-1,-1,-1)
    true = torch.cat([split.truth({variable: float(v)},index=[row]).images for v in values])
    return dict(graph=model.graph,variable=variable,values=values,image=x[0],
                answer=model.counterfactual(x,{variable: values},seed=0),true=true)

def show(ax, x, title):
    ax.imshow(x.permute(1,2,0).squeeze(-1)/2+0.5,cmap="gray",vmin=0,vmax=1,interpolation="nearest")
    ax.set(xticks=[],yticks=[])
    ax.set_title(title,fontsize=11)
    for s in ax.spines.values(): s.set_color("silver")

def frame(rows, k):
    "Frame `k` as a PIL image"
    shape = dict(width_ratios=(1.5,1,1,1))
    fig,axes = plt.subplots(len(rows),4,figsize=(7.6,2.15*len(rows)),dpi=140,layout="constrained",gridspec_kw=shape)
    for ax,r in zip(axes,rows):
        asked = f"do({r['variable']} = {r['values'][k]:.{r['digits']}f})"
        r["graph"].draw(r["variable"],ax[0])
        show(ax[1],r["image"],"the image")
        show(ax[2],r["answer"][k],asked)
        show(ax[3],r["true"][k],"the truth")
    page = io.BytesIO()
    fig.savefig(page)
    plt.close(fig)
    return Image.open(page).convert("RGB")

def main():
    p = argparse.ArgumentParser(description=__doc__,formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out",type=Path,default=IMAGES)
    p.add_argument("--frames",type=int,default=24)
    a = p.parse_args()
    pendulums,digits = cd.pendulum(n=8000,noise=True,seed=1),cd.morphomnist(n=60)
    light = answers(cd.CausalDiffAE.from_pretrained("pendulum_noise"),pendulums.test,3,"light",
                    there_and_back(65,130,a.frames))
    stroke = answers(cd.CausalDiffAE.from_pretrained("digits"),digits.train,9,"thickness",
                     there_and_back(1.5,4.5,a.frames))
    frames = [frame([light|dict(digits=0),stroke|dict(digits=1)],k) for k in range(a.frames)]
    a.out.mkdir(parents=True,exist_ok=True)
    frames[0].save(a.out/"counterfactuals.webp",save_all=True,append_images=frames[1:],duration=130,loop=3,
                   quality=55,method=6)
    frames[0].quantize(64).save(a.out/"counterfactuals.png",optimize=True)
    for f in ("webp","png"): print(f"counterfactuals.{f}: {(a.out/f'counterfactuals.{f}').stat().st_size:,} bytes")

if __name__=="__main__": main()
