"The surroundings: pickling, processes, default types, gradient modes, code pages, other people's tables"
import math
import pickle
import subprocess
import sys
import warnings
import numpy as np
import pandas as pd
import pytest
import torch
import causaldiffae as cd
from causaldiffae.data.circuit import circuit
from causaldiffae.data.core import CausalDataset, LabelScale
from causaldiffae.data.morphomnist import morphomnist
from causaldiffae.data.pendulum import pendulum
from causaldiffae.files import load_model, read_tensors, write_tensors
from causaldiffae.graph import CausalGraph, parse_do
from causaldiffae.training import fit
from conftest import GRAPH, QUICK, ROOT, python, small

MAKERS = [lambda: pendulum(n=20),lambda: pendulum(n=20,noise=True),lambda: circuit(n=20,size=16)]
@pytest.mark.parametrize("make",MAKERS)
def test_simulated_data_pickle_into_a_fresh_process(make, tmp_path):
    data = make()
    cause = data.graph.names[0]
    value = data.labels[0,0].item()
    (tmp_path/"data").write_bytes(pickle.dumps(data))
    load = f"import pickle; d = pickle.load(open({str(tmp_path/'data')!r},'rb'))"
    code = f"{load}; print(d.test.truth({{{cause!r}:{value}}}).images.sum().item())"
    assert math.isclose(float(python(code)),data.test.truth({cause:value}).images.sum().item(),rel_tol=1e-6)

def test_digits_pickle(tmp_path):
    data = morphomnist(n=20,cache=tmp_path)
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again.test.truth({"thickness":3.}).images,data.test.truth({"thickness":3.}).images)

def test_a_model_pickles_with_its_methods(tmp_path):
    model = cd.CausalDiffAE.from_pretrained("pendulum")
    (tmp_path/"model").write_bytes(pickle.dumps(model))
    x = pendulum(n=8,seed=1).images[:2]
    load = f"import pickle; m = pickle.load(open({str(tmp_path/'model')!r},'rb'))"
    code = (f"{load}; from causaldiffae.data.pendulum import pendulum; "
            "print(m.counterfactual(pendulum(n=8,seed=1).images[:2],{'light':80.},steps=2).sum().item())")
    assert math.isclose(float(python(code)),model.counterfactual(x,{"light":80.},steps=2).sum().item(),rel_tol=1e-5)

def test_spawned_processes_do_not_run_the_script_again(tmp_path):
    (tmp_path/"s.py").write_text("""import multiprocessing as mp, numpy as np, torch
mp.set_start_method("spawn", force=True)
from causaldiffae.data.morphomnist import build_morphomnist
a = np.zeros((28,28),np.uint8)
a[8:20,13:15] = 200
print(build_morphomnist(np.stack([a]*300), torch.tensor([[2.,150.]]*300), n_workers=2, progress=False).images.shape)
""")
    r = subprocess.run([sys.executable,tmp_path/"s.py"],capture_output=True,text=True,timeout=300)
    assert r.returncode==0 and r.stdout.count("(300, 28, 28)")==1,r.stderr

@pytest.mark.parametrize("dtype",[torch.float64,torch.bfloat16])
def test_any_default_type(dtype, pictures):
    x,y = pictures
    torch.set_default_dtype(dtype)
    try:
        shipped = cd.CausalDiffAE.from_pretrained("pendulum")
        assert (
            shipped.counterfactual(torch.zeros(1, 3, 32, 32, dtype=torch.float32), {"light": 80.0}, steps=2).dtype
            == torch.float32
        )
        fit(small(),CausalDataset(GRAPH,x,y),**QUICK)
        cd.explore(small().eval(),x[0],steps=2)
    finally: torch.set_default_dtype(torch.float32)

def test_inference_mode(pictures):
    x,_ = pictures
    torch.manual_seed(0)
    with torch.inference_mode():
        for m in (small(),cd.DiffSCM(GRAPH,(1,16,16),widths=(32,32))):
            assert m.counterfactual(x[:1]+0,{"a":0.5},steps=4).shape==(1,1,16,16)

def test_labels_that_want_gradients(pictures):
    x,y = pictures
    fit(small(),CausalDataset(GRAPH,x,y.clone().requires_grad_()),**QUICK)

def test_a_code_page_without_sigma(tmp_path):
    code = f"from causaldiffae.cli import causaldiffae_train as t; t('pendulum',n=60,steps=2,out={str(tmp_path/'m')!r})"
    python(code,PYTHONIOENCODING="cp1252")
    assert (tmp_path/"m").exists()

def test_numpys_numbers(toy):
    fit(small(),toy,**{**QUICK,"steps":np.int64(1)})
    fit(small(),toy,seed=np.int64(1),**QUICK)
    pendulum(n=np.int64(8),size=np.int32(16),seed=np.uint8(3))
    m = small(latent_dim=np.int64(2),sigma=np.float32(0.03))
    assert m.config()["options"]["latent_dim"]==2

def test_tables_by_name(pictures):
    x,y = pictures
    table = pd.DataFrame({"b":y[:,1].numpy(),"a":y[:,0].numpy()},index=range(5,45))
    assert torch.equal(CausalDataset(GRAPH,x,table).labels,y.double())
    with pytest.raises(ValueError,match="column"): CausalDataset(GRAPH,x,table.rename(columns={"b":"c"}))
    with pytest.raises(ValueError,match="column"): CausalDataset(GRAPH,x,table.assign(c=1))
    with pytest.raises(ValueError,match="numbers"): CausalDataset(GRAPH,x,table.assign(b="x"))

def test_a_column_by_position():
    assert parse_do({"a":pd.Series([1.,2.],index=[7,9])},GRAPH,2)[0].values.tolist()==[1.,2.]

def test_what_is_saved_can_be_loaded(pictures, tmp_path):
    x,y = pictures
    for first in (torch.ones(40),torch.full((40,),math.nan)):    # a variable that did not vary, or was never known
        m = small()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit(m,CausalDataset(GRAPH,x,torch.stack([first,y[:,1]],1),scale=LabelScale([0,0],[2,1])),**QUICK)
        m.save(tmp_path/"m")
        assert load_model(tmp_path/"m").scale==LabelScale([0,0],[2,1])
        cd.explore(m,x[0],steps=2)

def test_a_newer_file_says_so(tmp_path):
    small().save(tmp_path/"m")
    tensors,config = read_tensors(tmp_path/"m")
    config["options"]["attention"] = True
    write_tensors(tmp_path/"n",tensors,config)
    with pytest.raises(ValueError,match=r"written by version .* \(this is "): load_model(tmp_path/"n")

def test_damaged_models_are_refused(tmp_path):
    small().save(tmp_path/"m")
    good,rng = (tmp_path/"m").read_bytes(),np.random.default_rng(0)
    for k in range(150):
        b = bytearray(good)
        head = int.from_bytes(good[:8],"little")
        for _ in range(rng.integers(1,4)): b[rng.integers(0,head+8 if k%2 else len(b))] = rng.integers(0,256)
        (tmp_path/"bad").write_bytes(b[:rng.integers(0,len(b))] if k%7==0 else b)
        if bytes(b)==good: continue
        try: load_model(tmp_path/"bad")
        except ValueError as e: assert "bad" in str(e)
        except OSError as e: assert "bad" in str(e)

def test_weights_bring_their_units():
    p = cd.CausalDiffAE.from_pretrained("pendulum")
    q = cd.CausalDiffAE(p.graph,p.image_shape,**p._config)
    q.load_state_dict(p.state_dict())
    x = pendulum(n=4,seed=1).images
    assert torch.equal(q.eval().counterfactual(x,{"light":80.},steps=3),p.counterfactual(x,{"light":80.},steps=3))

def test_parts_from_outside():
    r = subprocess.run([sys.executable,ROOT/"examples"/"strangers.py"],capture_output=True,text=True,timeout=300)
    assert r.returncode==0 and r.stdout.count("(set)")==2,r.stderr

def test_categories_by_name():
    stages = CausalGraph.from_edges("stage->b",categories={"stage":[1,2,3,4]})
    assert parse_do({"stage":"2"},stages,1)[0].values.item()==1.
    with pytest.raises(ValueError,match="by its name"): parse_do({"stage":2},stages,1)


def test_functions_stay_functions_when_everything_is_imported():
    code = ("import causaldiffae.all, types, causaldiffae as cd\n"
            "assert not [n for n in cd.__all__ if isinstance(getattr(cd,n),types.ModuleType)]")
    subprocess.run([sys.executable,"-c",code],check=True)


def test_floats_of_a_list_keep_their_64_bits():
    g = cd.CausalGraph.from_edges("date->size")
    dates = [[20240101.,1.],[20240102.,2.]]
    data = cd.CausalDataset(g,torch.zeros(2,1,8,8),dates)
    assert data.labels.tolist()==dates
    for v in (20240101.,[20240101.,20240103.],(80.1,80.2)):
        asked = parse_do({"date":v},g,2)[0]
        assert asked.values.tolist()==(list(v) if isinstance(v,(list,tuple)) else [v,v])
