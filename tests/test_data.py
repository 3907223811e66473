"Simulated data sets: known counterfactuals, the same numbers for the same seed, pickling, processes, numbers of NumPy"
import copy
import io
import pickle
import subprocess
import sys
import textwrap
import numpy as np
import pytest
import torch
from fastcore.test import test_close as close, test_eq as eq, test_fail as fail
from causaldiffae.data.circuit import circuit, circuit_graph, circuit_labels, circuit_noise, circuit_scm
from causaldiffae.data.morphomnist import (abduct_noise, build_morphomnist, draw_noise, implied_intensity, morphomnist,
    morphomnist_graph, morphomnist_scm, solve_labels)
from causaldiffae.data.pendulum import pendulum, pendulum_graph, pendulum_labels, pendulum_scm
from causaldiffae.graph import CausalGraph, parse_do, shift
from causaldiffae.scm import SCM

def bad(f, say): fail(f,contains=say,exc=ValueError)
def script(tmp_path, text, *args):
    "Run a script, as a user would, in a process of its own; what it prints"
    file = tmp_path/"script.py"
    file.write_text(textwrap.dedent(text),encoding="utf-8")
    r = subprocess.run([sys.executable,str(file),*map(str,args)],capture_output=True,text=True,timeout=240)
    assert r.returncode==0,r.stderr[-2000:]
    return r.stdout.strip()

@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return morphomnist(n=20,seed=1,size=28,digit=True,n_workers=1,cache=tmp_path_factory.mktemp("cache"))

# Known counterfactuals, from the equations of the papers, written down a second time

def shadow(angle, light):
    "The published formulas, with Python's own numbers"
    import math
    theta,cot = angle*math.pi/200,1/math.tan(light*math.pi/200)
    a,b = 10-11*cot,10+9.5*math.sin(theta)-(11-9.5*math.cos(theta))*cot
    return max(3,abs(a-b)),(a+b)/2

def test_pendulum_counterfactual():
    data = pendulum(n=30,noise=True,size=16,seed=3)
    y = data.test.labels
    t = data.test.truth({"light": 80., "angle": shift(2)}).labels
    for before,after in zip(y.tolist(),t.tolist()):
        own = [v-s for v,s in zip(before[2:],shadow(*before[:2]))]           # abduction by hand
        want = [before[0]+2,80.,*(s+e for s,e in zip(shadow(before[0]+2,80.),own))]
        assert after==pytest.approx(want,abs=1e-4)
    close(pendulum_scm.counterfactual(y,{"light": 80., "angle": shift(2)}),t,eps=1e-9)

def test_digit_counterfactual():
    y = torch.tensor([[2.,100.],[3.,200.]],dtype=torch.float64)
    sigma = 1/(1+np.exp(-(2*4-5+0.5*abduct_noise(y)[:,1].numpy())))
    close(implied_intensity(y,4.),torch.from_numpy(64+191*sigma),eps=1e-9)
    close(morphomnist_scm.counterfactual(y,{"intensity": 90.})[:,0],y[:,0],eps=1e-12)
    close(solve_labels(abduct_noise(y)),y,eps=1e-9)

def test_circuit_counterfactual():
    from scipy.stats import beta
    u = torch.tensor([[1/6,0.3,0.6,0.8]],dtype=torch.float64)              # the arm on the blue button
    y = circuit_labels(u)[0]
    blue,green = beta(4,1).ppf(0.3),beta(1,4).ppf(0.6)
    v = 0.2+0.6*min(1,blue+green)
    close(y,torch.tensor([1/6,blue,green,beta(5*v,5*(1-v)).ppf(0.8)],dtype=torch.float64),eps=1e-6)
    off = circuit_scm.counterfactual(y[None],{"blue": 0.})[0]
    v = 0.2+0.6*green
    eq((off[0],off[2]),(y[0],y[2]))
    close(off[3],beta(5*v,5*(1-v)).ppf(0.8),eps=1e-6)

SCMS = dict(pendulum=(pendulum_scm,lambda: pendulum_labels(torch.linspace(-40,44,50),torch.linspace(60,148,50))),
            circuit=(circuit_scm,lambda: circuit_labels(torch.rand(50,4,generator=torch.Generator().manual_seed(0)))),
            digits=(morphomnist_scm,lambda: solve_labels(draw_noise(50,torch.Generator().manual_seed(0)))))
@pytest.mark.parametrize("name",SCMS)
def test_every_simulator_is_one(name):
    scm,labels = SCMS[name]
    y = labels()
    eq(y.dtype,torch.float64)
    close(scm.solve(scm.abduct(y)),y,eps=1e-7)
    for v in scm.graph.names:                                              # what is no descendant stays
        t = scm.counterfactual(y,{v: y[:,scm.graph.index(v)]+0.01})
        for w in scm.graph.names:
            i = scm.graph.index(w)
            if w!=v and w not in scm.graph.descendants(v): close(t[:,i],y[:,i],eps=1e-7)
    eq(pickle.loads(pickle.dumps(scm)).solve(scm.abduct(y)),scm.solve(scm.abduct(y)))

def first(u, *parents): return u+sum(parents)
def test_scm_refuses():
    g = CausalGraph.from_edges("a->b")
    bad(lambda: SCM(g,dict(a=first)),"equations: expected one for each of a, b, got a")
    bad(lambda: SCM(g,dict(a=first,b=first),dict(b=first)),"inverses: expected one for each of a, b")
    s = SCM(g,dict(a=first,b=first))
    bad(lambda: s.abduct([[1,2]]),"scm: expected inverses")
    for v in ("ab",None,[[1,2,3]],[1,2],[["1","2"]],torch.zeros(2)):
        bad(lambda: s.solve(v),"noise: expected numbers (n, 2)")
    eq(s.solve([[1,2]]).tolist(),[[1,3]])

# The same seed, the same numbers as in release 0.1.0: a label, one under an intervention, the mean grey value of both

NUMBERS = [
    (lambda: pendulum(n=50),{"light": 80.},
     [33.44094,93.07413,5.66162,11.62936],[40.8387,80.,8.15783,10.5048],0.897204,0.894612),
    (lambda: pendulum(n=50,seed=2,noise=True,size=34,channels=4),{"angle": shift(5)},
     [30.79133,126.06571,2.14069,16.20219],[14.53765,117.63799,3.61848,12.94399],0.74687,0.75552),
    (lambda: circuit(n=50,size=32),{"arm": 0.25},
     [0.45772,0.13261,0.15602,0.56184],[0.25,0.2096,0.30844,0.80915],-0.242174,-0.238247)]
@pytest.mark.parametrize("k",range(3))
def test_same_numbers(k):
    make,do,label,other,grey,grey_cf = NUMBERS[k]
    data = make()
    t = data.test.truth(do)
    assert data.test.labels[0].tolist()==pytest.approx(label,abs=1e-4)
    assert t.labels[1].tolist()==pytest.approx(other,abs=1e-4)
    assert [v.double().mean().item() for v in (data.images,t.images)]==pytest.approx([grey,grey_cf],abs=1e-5)

def test_labels_have_64_bits(digits):
    exact = torch.tensor(80.1,dtype=torch.float64)
    data = {"pendulum": pendulum(n=20,size=8),"circuit": circuit(n=20,size=16),"digits": digits}
    for d in data.values():
        eq((d.labels.dtype,d.test.truth({}).labels.dtype),(torch.float64,)*2)
        eq(d.images.dtype,torch.float32)
    eq(data["pendulum"].test.truth({"light": exact}).labels[:,1].unique().tolist(),[80.1])
    eq(pendulum_labels([0.],[80.1])[0,1].item(),80.1)
    for d in data.values(): eq(d.test.truth({}).labels,d._all_labels[d.test.index])   # without an intervention

# A data set is a value

def copies(data):
    f = io.BytesIO()
    torch.save(data,f)
    f.seek(0)
    saved = torch.load(f,weights_only=False)
    return dict(pickle=pickle.loads(pickle.dumps(data)),copy=copy.deepcopy(data),torch=saved)

DOS = dict(pendulum={"light": 80.},circuit={"arm": 0.25},digits={"thickness": 3.})
def simulated(name, digits):
    if name=="pendulum": return pendulum(n=20,size=16,noise=True)
    return circuit(n=20,size=16) if name=="circuit" else digits

@pytest.mark.parametrize("name,do",DOS.items())
def test_copies(name, do, digits):
    data = simulated(name,digits)
    want = data.test.truth(do)
    for how,other in copies(data).items():
        got = other.test.truth(do)
        assert all(torch.equal(a,b) for a,b in zip(got,want)),how
        eq((type(other),other.graph,other.scale),(type(data),data.graph,data.scale))
        assert other.train.data is other
    part = pickle.loads(pickle.dumps(data.test))                           # a split brings its data set along
    assert torch.equal(part.truth(do).images,want.images)
    assert torch.equal(pickle.loads(pickle.dumps(data.with_labels(0.5))).test.truth(do).images,want.images)

def test_pickle_in_a_fresh_process(tmp_path, digits):
    made = [(simulated(name,digits),do) for name,do in DOS.items()]
    (tmp_path/"made").write_bytes(pickle.dumps(made))
    said = script(tmp_path,"""
        import pickle, sys
        for data,do in pickle.load(open(sys.argv[1],"rb")):
            t = data.test.truth(do)
            print(t.images.double().sum().item(),t.labels.sum().item())
        """,tmp_path/"made")
    want = [d.test.truth(do) for d,do in made]
    eq(said.splitlines(),[f"{t.images.double().sum().item()} {t.labels.sum().item()}" for t in want])

# Processes: a script without a guard, whatever starts them

@pytest.mark.parametrize("method",["spawn","forkserver"])
def test_no_guard(tmp_path, method):
    said = script(tmp_path,f"""
        import multiprocessing as mp, numpy as np, torch
        mp.set_start_method({method!r},force=True)
        from causaldiffae.data.morphomnist import build_morphomnist
        print("begun")
        a = np.zeros((8,8),np.uint8)                # small, so that drawing takes no time
        a[2:6,3:5] = 200
        y = torch.tensor([[2.,150.]]*260)
        built = build_morphomnist(np.stack([a]*260),y,base=[2.]*260,n_workers=2,progress=False)
        print(built.images.shape,len(np.unique(built.images.reshape(260,-1),axis=0)))
        """)
    eq(said.splitlines(),["begun","(260, 8, 8) 1"])                       # and the script has run once

def test_processes_that_die(monkeypatch):
    "Where processes cannot be used, this one draws, and says so"
    module = sys.modules[build_morphomnist.__module__]
    def dies(*a, **k): raise BrokenPipeError("no processes here")
    import joblib
    monkeypatch.setattr(joblib,"Parallel",dies)
    monkeypatch.setattr(module,"_block",2)
    a = np.zeros((5,28,28),np.uint8)
    a[:,8:20,13:15] = 200
    with pytest.warns(UserWarning,match="one process"):
        built = build_morphomnist(a,torch.tensor([[2.,150.]]*5),base=[2.]*5,n_workers=2,progress=False)
    eq(built.images.shape,(5,28,28))

# Numbers of NumPy are numbers; what is none is refused in a sentence

def test_numpy_numbers(tmp_path):
    i = np.int64
    p = pendulum(n=i(8),size=i(16),channels=np.int32(3),seed=np.uint8(1),labelled=np.float32(0.5))
    eq(p.images,pendulum(n=8,size=16,seed=1).images)
    c = circuit(n=i(8),size=i(16),channels=i(1),seed=i(1))
    eq(c.images,circuit(n=8,size=16,channels=1,seed=1).images)
    m = morphomnist(n=i(20),size=i(28),seed=i(1),n_workers=i(1),cache=tmp_path)
    eq(m.images,morphomnist(n=20,size=28,seed=1,n_workers=1,cache=tmp_path).images)

@pytest.mark.parametrize("f",[pendulum,circuit,morphomnist])
@pytest.mark.parametrize("name,values",[("n",(0,-1,2.5,"8",True,float("nan"))),("size",(4,1.5,"x",True)),
                                        ("seed",(-1,0.5,"0",None)),("labelled",(-0.1,1.1,"all",float("nan")))])
def test_refused_numbers(f, name, values):
    for v in values: bad(lambda: f(**(dict(n=20)|{name: v})),f"{name}: expected")

def test_refused_channels():
    for v in (2,"3",True,None,[3]):
        bad(lambda: pendulum(n=8,channels=v),"channels: expected one of 1, 3, 4")
        bad(lambda: circuit(n=8,size=16,channels=v),"channels: expected one of 1, 3")

def test_refused_interventions():
    p,c = pendulum(n=20,size=8),circuit(n=20,size=16)
    for v in (0.,200.,-5.): bad(lambda: p.test.truth({"light": v}),"light: expected directions above the horizon")
    bad(lambda: p.test.truth({"light": 0., "shadow_length": 3., "shadow_position": 3.}),"light: expected")
    for v in (-0.1,1.1): bad(lambda: c.test.truth({"arm": v}),"arm: expected values in [0,1]")
    bad(lambda: c.test.truth({"red": shift(2.)}),"red: expected values in [0,1]")
    eq(parse_do({},morphomnist_graph,3),[])
    assert pendulum_graph!=circuit_graph
    half = torch.full((3,4),0.5)
    bad(lambda: circuit_noise(half[:2],half[:,:3]),"pressed: expected a row for each of 2 labels")
