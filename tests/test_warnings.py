"What cannot be right, or may be wrong, is said: ranges, units, labels, runs that do not fit"
import math
import warnings
import pytest
import torch
import causaldiffae as cd
from causaldiffae.data.core import CausalDataset
from causaldiffae.data.pendulum import pendulum
from causaldiffae.graph import CausalGraph
from causaldiffae.training import fit
from conftest import GRAPH, QUICK, small

def said(f):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        f()
    return [str(o.message) for o in w]

def test_pictures_from_0_to_1(pictures):
    x,y = pictures
    model = cd.CausalDiffAE.from_pretrained("pendulum")
    asked = (pendulum(n=4,seed=1).images+1)/2
    assert any("[-1,1]" in s for s in said(lambda: model.counterfactual(asked,{"light":80.},steps=2)))
    assert any("[-1,1]" in s for s in said(lambda: CausalDataset(GRAPH,(x+1)/2,y)))
    assert any("black" in s for s in said(lambda: CausalDataset(GRAPH,(x[:,0]>0).byte(),y)))

def test_a_rounding_error_is_taken(pictures):
    x,y = pictures
    x[0,0,0,0] = -1.0000002
    assert CausalDataset(GRAPH,x,y).images.min()==-1
    with pytest.raises(ValueError,match=r"-1\.01"): CausalDataset(GRAPH,x*1.01,y)

def test_a_code_for_missing():
    d = pendulum(n=200,seed=0)
    y = d._all_labels.clone()
    y[3,0] = -999
    everything = dict(train=range(200),valid=[],test=[])
    assert any("-999" in s for s in said(lambda: CausalDataset(d.graph,d.images,y,splits=everything)))

def test_other_units(pictures, toy):
    x,y = pictures
    m = small()
    fit(m,toy,**QUICK)
    assert any("same units" in s for s in said(lambda: fit(m,CausalDataset(GRAPH,x,y*1000+500),**QUICK)))
    assert not said(lambda: fit(m,toy,**QUICK))

def test_a_follower_beyond_its_range():
    m = cd.CausalDiffAE.from_pretrained("digits")
    y = torch.zeros(20,1,28,28)
    y[:,0,5:24,12:16] = 1
    bright = torch.tensor([[2.,250.,1.]]*20)   # for so thin a stroke: a thick one would be brighter than any
    words = said(lambda: m.counterfactual(y*2-1,{"thickness":5.},labels=bright,steps=2))
    assert any("intensity follows" in s for s in words)

def test_both_systems_warn(pictures):
    x,_ = pictures
    torch.manual_seed(0)
    m = cd.DiffSCM(GRAPH,(1,16,16),widths=(32,32))
    m.units.trained = [[0.,0.],[1.,1.]]
    assert any("do sets a to 5" in s for s in said(lambda: m.counterfactual(x[:1],{"a":5.},steps=2)))
    assert not said(lambda: m.counterfactual(x[:1],{"a":0.5},steps=2))

CHANGES = [dict(prediction="eps"),dict(schedule="linear"),dict(sigma=0.03),dict(gamma=1e-2),dict(T=500),dict(drop=0.2),
           dict(start=0.9),dict(latent_dim=5),dict(encoder=dict(convs=2))]
@pytest.mark.parametrize("change",CHANGES,ids=lambda c: next(iter(c)))
def test_another_model_is_another_run(change, toy, tmp_path):
    fit(small(),toy,checkpoint=tmp_path/"c",**QUICK)
    with pytest.raises(ValueError,match=f"{next(iter(change))}: expected .* as in the run to resume"):
        fit(small(**change),toy,checkpoint=tmp_path/"c",resume=True,**QUICK)

RUNS = [dict(lr=1e-4),dict(batch_size=4),dict(seed=1),dict(ema=0.9),dict(warmup=2),dict(clip=2.),dict(precision="bf16"),
        dict(validations=1),dict(steps=1)]
@pytest.mark.parametrize("change",RUNS,ids=lambda c: next(iter(c)))
def test_other_settings_are_another_run(change, toy, tmp_path):
    fit(small(),toy,checkpoint=tmp_path/"c",**QUICK)
    with pytest.raises(ValueError,match=f"{next(iter(change))}: expected"):
        fit(small(),toy,checkpoint=tmp_path/"c",resume=True,**{**QUICK,**change})

def test_other_data_are_another_run(pictures, toy, tmp_path):
    x,y = pictures
    fit(small(),toy,checkpoint=tmp_path/"c",**QUICK)
    other = x.clone()
    other[toy.train.index[0]] *= 0.5
    for data,what in ((CausalDataset(GRAPH,other,y),"data's images"),(CausalDataset(GRAPH,x,y+1),"data's labels")):
        with pytest.raises(ValueError,match=what): fit(small(),data,checkpoint=tmp_path/"c",resume=True,**QUICK)
    y3 = torch.rand(40,3)
    g1,g2 = (CausalGraph.from_edges(t) for t in ("a->b->c","a->b, c"))
    fit(small(g1),CausalDataset(g1,x,y3),checkpoint=tmp_path/"g",**QUICK)
    with pytest.raises(ValueError, match="graph"):
        fit(small(g2), CausalDataset(g2, x, y3), checkpoint=tmp_path / "g", resume=True, **QUICK)

def test_a_checkpoint_is_not_overwritten(toy, tmp_path):
    fit(small(),toy,checkpoint=tmp_path/"c",**QUICK)
    before = (tmp_path/"c").read_bytes()
    with pytest.raises(ValueError,match="resume=True"): fit(small(),toy,checkpoint=tmp_path/"c",**{**QUICK,"steps":1})
    assert (tmp_path/"c").read_bytes()==before

def test_the_precision_chosen_is_kept(toy, tmp_path):
    fit(small(),toy,checkpoint=tmp_path/"c",**{**QUICK,"precision":"bf16"})
    fit(small(),toy,checkpoint=tmp_path/"c",resume=True,**{**QUICK,"precision":"auto","steps":4})
    with pytest.raises(ValueError, match="precision"):
        fit(small(), toy, checkpoint=tmp_path / "c", resume=True, **{**QUICK, "steps": 6})

def test_a_mechanism_that_sees_no_whole_family(pictures):
    x,y = pictures
    y[::2,0] = math.nan
    y[1::2,1] = math.nan
    words = said(lambda: fit(small(),CausalDataset(GRAPH,x,y),**QUICK))
    assert [w for w in words if w.startswith("no image to train on has the labels of b and of all its causes (a)")]
    y[:10] = 0.5   # some images have both: nothing to say
    y[:10] += torch.rand(10,2)
    words = said(lambda: fit(small(),CausalDataset(GRAPH,x,y),**QUICK))
    assert not [w for w in words if "all its causes" in w]

def test_a_root_needs_no_family(pictures):
    x,y = pictures
    apart = CausalGraph.from_edges("a, b")
    y[::2,0] = math.nan
    y[1::2,1] = math.nan
    assert not [w for w in said(lambda: fit(small(apart),CausalDataset(apart,x,y),**QUICK)) if "causes" in w]
