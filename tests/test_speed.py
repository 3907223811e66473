"The benchmark harness: what it compares, and that its command refuses in one line"
import math
import subprocess
import sys
from pathlib import Path
import pytest
import torch
from fastcore.test import test_close as close, test_eq as eq, test_fail as fail
from causaldiffae.data.pendulum import pendulum
from causaldiffae.model import CausalDiffAE
HARNESS = Path(__file__).parents[1]/"benchmarks"
sys.path.insert(0,str(HARNESS))
import speed

def test_quartiles():
    eq(speed.speedup([2.,4.,6.,8.,10.],[1.]*5),(6.,[4.,8.]))
    fail(lambda: speed.speedup([1.]*4,[1.]*4),contains="at least 5")

def test_time_to_quality():
    looks = lambda *errors: [dict(minutes=k+1,**{"do(a)":e},composition=1.) for k,e in enumerate(errors)]
    eq(speed.time_to_quality(looks(3.,1.)),2)
    eq(speed.time_to_quality(looks(1.,3.)),math.inf)   # did not stay

def test_a_wrong_option_is_one_line():
    r = subprocess.run([sys.executable,HARNESS/"speed.py","--threads","0"],capture_output=True,text=True)
    assert r.returncode==1 and r.stderr=="speed.py: threads: expected a whole number of at least 1, got 0\n",r.stderr
    fail(lambda: speed.bench("nowhere/bench.json"),contains="out: expected")

@pytest.mark.parametrize("manner",speed.manners)
def test_each_manner_learns(manner):
    if manner=="diffusers": pytest.importorskip("diffusers")
    data = pendulum(n=80,size=16,seed=0)
    model,step,*_ = speed.contestant(manner,data)
    x,y = data.train.images[:8],data.train.labels[:8]
    losses = [step(x,y,torch.Generator().manual_seed(0))["total"].item() for _ in range(6)]
    assert losses[-1]<losses[0]

def test_networks_are_of_one_size():
    pytest.importorskip("diffusers")
    data = pendulum(n=10,size=32,seed=0)
    n = {m: sum(p.numel() for p in speed.contestant(m,data)[0].decoder.net.parameters()) for m in ("ours","diffusers")}
    assert abs(n["diffusers"]/n["ours"]-1)<0.1

def test_errors_know_the_truth():
    data = pendulum(n=80,size=16,seed=0)
    truth = lambda x,do: data.test.truth(do,torch.arange(len(x))).images
    assert speed.truth_errors(truth,data,("angle","light"),8).max()==0
    assert speed.truth_errors(lambda x,do: x,data,("angle","light"),8).mean()>2

def test_denoising_errors():
    data = pendulum(n=40,size=32,seed=2)
    model,x = CausalDiffAE.from_pretrained("pendulum"),data.test.images
    trained,new = speed.denoising_errors(model,x),speed.denoising_errors(speed.contestant("ours",data)[0],x)
    assert all(trained[k]<0.1*new[k] for k in new)
    for bad in ((),(2.,),(0.,)): fail(lambda: speed.denoising_errors(model,x,bad),contains="levels: expected")
    at = {a: speed.denoising_errors(model,x,(a,)) for a in (0.9,0.3)}
    for k,f in (("noise",lambda a: 1/a),("image",lambda a: 1/(1-a))):   # at one level the three are one error
        close(sum(f(a)*e[k] for a,e in at.items()),sum(e["loss"] for e in at.values()),eps=1e-3)

def test_memory_is_that_of_the_process():
    ballast = torch.ones(2**28)
    assert 0.2<speed.peak_memory("pendulum(n=40,size=16)",1,1)<1.2
    del ballast   # the gibibyte held here is not counted there
