"Training by several processes is training by one: a script run by two on the CPU, and by one with `accumulate=2`"
import importlib.util
import os
import subprocess
import sys
import pytest
from causaldiffae.files import read_tensors

SCRIPT = """
import math, shutil, sys, torch
from pathlib import Path
from causaldiffae.data.pendulum import pendulum
from causaldiffae.model import CausalDiffAE
from causaldiffae.files import write_tensors
from causaldiffae.training import Processes, fit

procs,out,data = Processes(),Path(sys.argv[1]),pendulum(n=120,size=8,seed=0)
two,found = procs.n==2,dict(processes=procs.n)
many = 1 if two else 2
options = dict(steps=8,validations=2,warmup=2,lr=1e-2,progress=False)

class Plain(torch.nn.Module):
    "No noise, in double precision, so that rounding can be told from a mistake"
    def __init__(self, seed=0, nan=0, stop=0):   # no number in the last process, or an interruption, at these calls
        super().__init__()
        torch.manual_seed(seed)
        self.net,self.unused = torch.nn.Linear(192,4).double(),torch.nn.Linear(2,2)
        self.nan,self.stop,self.n = nan,stop,0
    def loss(self, x, y, generator=None):
        self.n += 1
        if self.n==self.stop: raise KeyboardInterrupt
        bad = self.n==self.nan and procs.rank==procs.n-1
        return dict(total=((self.net(x.double().flatten(1))-y/100)**2).mean()*(math.nan if bad else 1))

# the two start from different weights, to see that both take those of process 0
torch.manual_seed(procs.rank)
model = CausalDiffAE(data.graph,data.image_shape,latent_dim=2,widths=(32,32))
found["CausalDiffAE"] = fit(model,data,batch_size=8,accumulate=many,**options)
plain = Plain(seed=procs.rank)
found["plain"] = fit(plain,data,batch_size=8*many,**{**options,"progress":True})
found["unused"] = plain.unused.weight.grad is None
if two:
    try: fit(Plain(stop=4),data,batch_size=8,checkpoint=out/"run",**options)
    except KeyboardInterrupt: pass
    if procs.rank==0: shutil.copy(out/"run",out/"run1")
    procs.wait()
    timed = Plain()
    fit(timed,data,minutes=0.003,batch_size=8,validations=0,warmup=2,lr=1e-2,progress=False)
    found["timed"] = timed.n
    wrong = dict(nan=lambda: fit(Plain(nan=4),data,batch_size=8,**options),
                 seed=lambda: fit(Plain(),data,steps=8,seed=procs.rank))
    for name,run in wrong.items():
        found[name] = "no error"
        try: run()
        except (FloatingPointError,ValueError) as e: found[name] = str(e)
resumed = Plain(seed=5+procs.rank)   # other weights: those of the checkpoint count
fit(resumed,data,batch_size=8,accumulate=many,checkpoint=out/("run" if two else "run1"),resume=True,**options)
found["resumed"] = max((a-b).abs().max().item() for a,b in zip(resumed.parameters(),plain.parameters()))
kept = {f"{k}.{n}": p for k,m in dict(diffae=model,plain=plain).items() for n,p in m.state_dict().items()}
write_tensors(out/f"{procs.n}.{procs.rank}",kept,found)
"""

def run(folder, *launcher):
    "The script, as a program; what it printed"
    env = {**os.environ,"OMP_NUM_THREADS":"1","CUDA_VISIBLE_DEVICES":""}
    done = subprocess.run([sys.executable,*launcher,str(folder/"script.py"),str(folder)],
                          capture_output=True,text=True,timeout=300,env=env)
    assert done.returncode==0,done.stdout+done.stderr
    return done.stdout

def differ(a, b): return max((a[k]-b[k]).abs().max().item() for k in a)
def of_plain(a): return {k: v for k,v in a.items() if k.startswith("plain")}

@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    "What two processes printed; (weights, findings) of both, and of one process"
    if not importlib.util.find_spec("accelerate"): pytest.skip("accelerate is not installed")
    folder = tmp_path_factory.mktemp("processes")
    (folder/"script.py").write_text(SCRIPT,encoding="utf-8")
    two = ("-m","accelerate.commands.launch","--multi_gpu","--num_processes","2","--main_process_port","0")
    printed = run(folder,*two)
    run(folder)
    return printed,*(read_tensors(folder/name) for name in ("2.0","2.1","1.0"))

def test_two_processes_agree(runs):
    printed,(w0,r0),(w1,r1),(_,r) = runs
    assert (r0["processes"],r1["processes"],r["processes"])==(2,2,1)
    assert differ(w0,w1)==0
    for found in (r0,r1):   # all but the clock, which is each process's own
        for a in (*found["CausalDiffAE"],*found["plain"]): a.pop("minutes",None)
    assert r0==r1
    assert len([l for l in printed.splitlines() if l.startswith("step")])==2   # process 0 alone prints
    assert r0["unused"]
    assert r0["timed"]>2

def test_two_processes_are_one(runs):
    _,(w0,r0),_,(w,r) = runs
    assert differ(w0,w)<1e-5
    assert differ(of_plain(w0),of_plain(w))<1e-9
    for k in ("CausalDiffAE","plain"):
        for a,b in zip(r0[k],r[k],strict=True):
            assert a["step"]==b["step"]
            for t in a:
                if "total" in t: assert abs(a[t]-b[t])<1e-5*max(1,abs(b[t]))
    assert r0["plain"][-1]["valid_total"]<r0["plain"][0]["valid_total"]

def test_resumed_by_two_and_by_one(runs):
    _,(_,r0),_,(_,r) = runs
    assert r0["resumed"]==0
    assert r["resumed"]<1e-9

def test_what_goes_wrong_in_one_stops_both(runs):
    _,(_,r0),(_,r1),_ = runs
    assert r0["nan"].startswith("the loss is nan at step 3")
    assert r1["nan"]==r0["nan"]
    assert r1["seed"]=="seed: expected the same in all processes, got [0, 1]"
