"""Parts from outside: a solver that keeps two images, a denoiser, a data set and a model"""
import tempfile
from pathlib import Path
import numpy as np
import torch
from torch import nn
import causaldiffae as cd
from causaldiffae.cli import causaldiffae_counterfactual, causaldiffae_train, data_sets
from causaldiffae.decoder import denoisers
from causaldiffae.files import SavedModel
from causaldiffae.sampling import Solver, ddim, solvers
def lossless(denoiser, x, schedule, timesteps):
    "DDIM, and beside x_T what it loses on the way back"
    x,*lost = (x,) if timesteps[0]<timesteps[-1] else x.chunk(2,1)
    out = ddim(denoiser,x,schedule,timesteps)
    return out+lost[0] if lost else torch.cat([out,x-ddim(denoiser,out,schedule,timesteps.flip(0))],1)
solvers["lossless"] = Solver(lossless,images=2)
class Tiny(nn.Module):
    "Two convolutions that are told time and causal variables"
    def __init__(self, image_shape, z_dim, widths=(32,), patch=1):
        super().__init__()
        self.told = nn.Linear(z_dim+1,widths[0])
        self.enter = nn.Conv2d(image_shape[0],widths[0],3,padding=1)
        self.leave = nn.Conv2d(widths[0],image_shape[0],3,padding=1)
    def forward(self, x_t, t, z=None, drop=None):
        z = x_t.new_zeros(len(x_t),self.told.in_features-1) if z is None else z.flatten(1)
        z = z if drop is None else z*~drop[:,None]
        return self.leave(torch.relu(self.enter(x_t)+self.told(torch.cat([z,t[:,None]/1000],1))[:,:,None,None]))
denoisers["tiny"] = Tiny
def dots(n=64, size=16, seed=0):
    "Grey squares: the shade causes the size"
    shade,far = torch.rand(n,generator=torch.Generator().manual_seed(seed)),(torch.arange(size)-size/2+0.5).abs()
    inside = (torch.maximum(far[:,None],far)<(2+4*shade)[:,None,None])[:,None]
    images,labels = torch.where(inside,shade[:,None,None,None],-1.),torch.stack([shade,2+4*shade],1)
    return cd.CausalDataset(cd.CausalGraph.from_edges("shade->reach"),images,labels)
data_sets["dots"] = dots
class Linear(SavedModel):
    "A picture as a linear function of its labels"
    def __init__(self, graph, image_shape):
        super().__init__()
        self.graph,self.image_shape = graph,tuple(image_shape)
        self.draw = nn.Linear(graph.n,torch.Size(image_shape).numel())
    def config(self): return dict(graph=self.graph.to_dict(),image_shape=list(self.image_shape))
    @classmethod
    def from_config(cls, config, device=None):
        return cls(cd.CausalGraph.from_dict(config["graph"]),config["image_shape"]).to(device)
    def loss(self, x, y, generator=None): return dict(total=((self.draw(y.float())-x.flatten(1))**2).mean())
    @torch.no_grad()
    def counterfactual(self, x, do):
        y = torch.tensor([[do.get(n,0.5) for n in self.graph.names]])
        return self.draw(y).view(1,*x.shape[1:]).expand_as(x).clamp(-1,1)
if __name__=="__main__":
    out,data,mine = Path(tempfile.mkdtemp()),dots(),Linear(dots().graph,(1,16,16))
    cd.fit(mine,data,steps=50,warmup=5,progress=False)
    mine.save(out/"mine")
    print(cd.explore(mine,data.images[0]))
    np.savez(out/"images.npz",images=((data.images[:4]+1)*127.5).byte().permute(0,2,3,1).numpy())
    causaldiffae_counterfactual(f"{out}/mine",f"{out}/images.npz",do="shade=0.9",out=f"{out}/mine.npz")
    causaldiffae_train("dots",out=f"{out}/theirs",steps=50,model_options="net='tiny', widths=[32]")
    causaldiffae_counterfactual(f"{out}/theirs",f"{out}/images.npz",do="shade=0.9",out=f"{out}/b.npz",solver="lossless")
