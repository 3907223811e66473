"""The models of the page "Live", for the reader's browser: `python scripts/make_onnx.py --out _docs/live`

Writes `models/NAME/` with four ONNX graphs, a dozen images and what was abducted of them, and `ort/` with ONNX Runtime
for browsers, which npm fetches; --no-runtime leaves the latter out. All of it is made when the site is built, none is
committed. Needs the package `onnx`, and npm."""
import argparse
import gzip
import json
import shutil
import subprocess
import tarfile
import tempfile
import warnings
from pathlib import Path
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
import causaldiffae as cd
from causaldiffae.graph import Action
from causaldiffae.images import from_uint8, to_uint8
from causaldiffae.sampling import closer, shrunk

OPSET = 17
RUNTIME = "onnxruntime-web@1.30.0"
ROUTES = (3,5,7,10)   # calls of the network that the page offers
IMAGES = 12

def npm(package, folder):
    "Fetch a package with npm and unpack it into `folder`/package"
    run = ["npm","pack","--silent",package]
    name = subprocess.run(run,cwd=folder,check=True,capture_output=True,text=True,timeout=300).stdout.split()[-1]
    with tarfile.open(Path(folder)/name) as t: t.extractall(folder,filter="data")

def pendulums():
    "A dozen test images of the simulator, as bytes hold them, and their labels"
    part = cd.pendulum(n=600,noise=True,seed=1).test
    return from_uint8(to_uint8(part.images[:IMAGES])),part.labels[:IMAGES]

def digits():
    "A dozen of the digits that come with scikit-learn, each digit once and two more, and their labels"
    data = cd.morphomnist(n=120,seed=0,digit=True)
    which = data.labels[:,2].long()
    first = [(which==k).nonzero()[0,0].item() for k in range(10)]
    rest = [i for i in range(len(which)) if i not in first][:IMAGES-10]
    return data.images[first+rest],data.labels[first+rest]

MODELS = dict(
    pendulum=dict(weights="pendulum_noise",images=pendulums,title="Pendulum",usual=7),
    digits=dict(weights="digits",images=digits,title="Digits",usual=7),
)

def joined(model, v, r):
    "u or z with the style behind the variables, as further blocks of d, so that the page hands on one thing"
    if r is None: return v
    d = model.prior.d
    return torch.cat([v,F.pad(r,(0,-r.shape[1]%d)).unflatten(1,(-1,d))],1)

def parted(model, v):
    "u or z, and the style; the inverse of `joined`"
    n = model.graph.n
    return v[:,:n],None if model.style is None else v[:,n:].flatten(1)[:,:model.style.k]

class Denoise(nn.Module):
    "Noisy image, time, z → what the network says"
    inputs,outputs = ("x","t","z"),("said",)
    def __init__(self, model):
        super().__init__()
        self.model = model
    def forward(self, x, t, z): return self.model.decoder.net(x,t,self.model._shown(*parted(self.model,z)))

class Read(Denoise):
    "Image → u, z; of a category the likeliest"
    inputs,outputs = ("x",),("u","z")
    def forward(self, x):
        u = self.model._noise(x,None,self.model._luck(1,None))
        z = self.model.encoder.mechanisms(u)
        r = None if self.model.style is None else self.model.style(x,z)
        return joined(self.model,u,r),joined(self.model,z,r)

class Solve(Denoise):
    "u, which variables are held (1 or 0), at which labels → z, and all labels, raw units"
    inputs,outputs = ("u","held","y"),("z","labels")
    def forward(self, u, held, y):
        equations,value = self.model.encoder.mechanisms,self.model.prior.mean(y.double()).float()
        u,r = parted(self.model,u)
        settled = []
        for level in equations.levels:
            z = torch.where(held[...,None]>0,value,equations(u,settled))
            settled = settled+[Action(i,"set",z[:,i]) for i in level]
        z = equations(u,settled)
        return joined(self.model,z,r),self.model.prior.labels(z).float()

class Finish(Denoise):
    "Image, the difference that the intervention makes, which variables are held → counterfactual image"
    inputs,outputs = ("x","difference","held"),("x_cf",)
    def forward(self, x, difference, held):
        x_cf = (x+shrunk(difference)).clamp(-1,1)
        if not self.model.focus: return x_cf
        seen = (self.model.support*held[0,:,None,None]).amax(0)[None,None]
        seen = F.interpolate(seen,self.model.image_shape[1:])>0.5
        return torch.where(seen,x_cf,x+shrunk(x_cf-x,8.))

PARTS = dict(denoise=Denoise,read=Read,solve=Solve,finish=Finish)

def examples(model):
    "Inputs of each part, from a fixed seed"
    g = torch.Generator().manual_seed(0)
    noise = lambda *shape: torch.randn(*shape,generator=g)
    n,d = model.graph.n,model.prior.d
    x,held = noise(1,*model.image_shape),torch.zeros(1,n)
    held[0,0] = 1.
    u = joined(model,noise(1,n,d),None if model.style is None else noise(1,model.style.k))
    y = torch.tensor(model.trained).mean(0,keepdim=True).round().float()
    return dict(denoise=(x,torch.tensor([500.]),0.5*u),read=(x.clamp(-1,1),),
                solve=(u,held,y),finish=(x.clamp(-1,1),0.1*noise(1,*model.image_shape),held))

def logaddexp(g, a, b):
    "ONNX has no such operator: the larger one, and what the other adds"
    rest = g.op("Exp",g.op("Neg",g.op("Abs",g.op("Sub",a,b))))
    one = g.op("Constant",value_t=torch.tensor(1.))
    return g.op("Add",g.op("Max",a,b),g.op("Log",g.op("Add",one,rest)))

def halved(graph):
    "Store in 16 bits what loses nothing by it: the shipped weights are rounded already"
    from onnx import TensorProto, helper, numpy_helper
    casts = []
    for w in graph.initializer:
        if w.data_type!=TensorProto.FLOAT: continue
        wide,name = numpy_helper.to_array(w),w.name
        with np.errstate(over="ignore"): half = wide.astype(np.float16)
        if wide.size<64 or not np.array_equal(half.astype(np.float32),wide): continue
        w.CopyFrom(numpy_helper.from_array(half,name+"_16"))
        casts.append(helper.make_node("Cast",[name+"_16"],[name],to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts,*nodes])

@torch.no_grad()
def export(model, folder):
    "Write the four graphs; the bytes of each"
    import onnx
    torch.onnx.register_custom_op_symbolic("aten::logaddexp",logaddexp,OPSET)
    sizes = {}
    for name,part in PARTS.items():
        path = folder/f"{name}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")   # shapes are fixed here, so what tracing makes constant is constant
            torch.onnx.export(part(model).eval(),examples(model)[name],str(path),input_names=list(part.inputs),
                              output_names=list(part.outputs),opset_version=OPSET,dynamo=False)
        graph = onnx.load(path)
        halved(graph.graph)
        onnx.checker.check_model(graph)
        onnx.save(graph,path)
        sizes[path.name] = path.stat().st_size
    return sizes

def routes(model):
    "For each number of calls the times to visit, from clean to noise, and ᾱ there"
    schedule,found = model.decoder.schedule,{}
    if schedule.prediction!="v": raise SystemExit("the page's sampler expects a network that predicts v")
    for steps in ROUTES:
        times = closer(model._route(steps,"twin",None).times(schedule))
        found[steps] = dict(times=times.tolist(),alpha_bar=schedule.at(times).flatten().double().tolist())
    return found

def abducted(model, x, y, steps, folder):
    "Write what belongs to each image, one file each: u and style as they are, the way to x_T in 16 bits; its unit"
    a = model.abduct(x,steps,labels=y)
    way = a.x_T[:,x.shape[1]:]   # the image itself is known
    unit = way.abs().max().item()/32767
    told = joined(model,a.u,a.style)
    for i,(u,w) in enumerate(zip(told,way)):
        whole = (w/unit).round().numpy().astype("<i2")
        (folder/f"{i}.bin").write_bytes(u.numpy().astype("<f4").tobytes()+whole.tobytes())
    return unit,told[0].numel()

def load(name):
    "One of the models, as Python has it"
    return cd.CausalDiffAE.from_pretrained(MODELS[name]["weights"]).eval()

def make_model(name, out):
    "All that the page needs of one model"
    about,folder = MODELS[name],out/"models"/name
    folder.mkdir(parents=True,exist_ok=True)
    model,(x,y) = load(name),about["images"]()
    graph = model.graph
    sizes = export(model,folder)
    (folder/"images.bin").write_bytes(to_uint8(x).numpy().tobytes())
    unit,numbers = abducted(model,x,y,about["usual"],folder)
    lows,highs = model.trained
    spans = [dict(name=v,low=a,high=b,causes=graph.parents(v),categories=list(graph.categories.get(v,())))
             for v,a,b in zip(graph.names,lows,highs)]
    said = dict(title=about["title"],weights=about["weights"],shape=list(model.image_shape),d=model.prior.d,
                variables=spans,levels=[list(l) for l in graph.levels],usual=about["usual"],routes=routes(model),
                images=len(x),unit=unit,numbers=numbers,bytes=sizes)
    (folder/"about.json").write_text(json.dumps(said))
    print(f"{folder}: {sum(sizes.values()):,} bytes of graphs, "
          f"{(folder/'0.bin').stat().st_size:,} bytes for each of {len(x)} images")

def vendor(out):
    "ONNX Runtime for browsers, from npm; its WebAssembly compressed, so that any server sends little"
    folder = out/"ort"
    folder.mkdir(parents=True,exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        npm(RUNTIME,tmp)
        dist = Path(tmp)/"package"/"dist"
        shutil.copy(dist/"ort.wasm.bundle.min.mjs",folder/"ort.mjs")
        wasm = gzip.compress((dist/"ort-wasm-simd-threaded.wasm").read_bytes(),9,mtime=0)
        (folder/"ort.wasm.gz").write_bytes(wasm)
    print(f"{folder}: {RUNTIME}, {sum(p.stat().st_size for p in folder.iterdir()):,} bytes")

if __name__=="__main__":
    p = argparse.ArgumentParser(description=__doc__,formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out",type=Path,required=True,help="folder of the page's files, `live` in the site")
    p.add_argument("--no-runtime",action="store_true",help="leave out what npm fetches")
    a = p.parse_args()
    for name in MODELS: make_model(name,a.out)
    if not a.no_runtime: vendor(a.out)
