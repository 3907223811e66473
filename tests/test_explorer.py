"The explorer without a screen, and what it tells the screen; test_lab.py drives it in JupyterLab"
import base64
import io
import sys
from unittest.mock import patch
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.image import imread
from PIL import Image
from causaldiffae.baselines.diffscm import DiffSCM
from causaldiffae.data.core import LabelScale
from causaldiffae.data.pendulum import pendulum
from causaldiffae.explorer import Explorer, explore, show_counterfactuals
from causaldiffae.graph import CausalGraph, shift
from causaldiffae.images import to_uint8
from causaldiffae.model import CausalDiffAE
from conftest import small

@pytest.fixture(scope="module")
def data(): return pendulum(n=200,seed=1)
@pytest.fixture(scope="module")
def model(): return CausalDiffAE.from_pretrained("pendulum")
@pytest.fixture
def img(): return torch.rand(1,16,16,generator=torch.Generator().manual_seed(0))*2-1
@pytest.fixture
def graph(): return CausalGraph.from_edges("kind->size",categories={"kind":["round","flat","long"]})
@pytest.fixture(autouse=True)
def no_figures():
    yield
    plt.close("all")

def bytes_of(source): return (imread(io.BytesIO(base64.b64decode(source.partition(",")[2])))[...,:3]*255).round()

class Counted:
    "Count the calls of a model's abduct and predict"
    def __init__(self, model): self.model,self.n = model,dict(abduct=0,predict=0)
    def __enter__(self):
        def wrap(k, f):
            def counted(*args, **kw):
                self.n[k] += 1
                return f(*args,**kw)
            return counted
        for k in self.n: setattr(self.model,k,wrap(k,getattr(self.model,k)))
        return self
    def __exit__(self, *_):
        for k in self.n: delattr(self.model,k)

def drawn(ax):
    words = lambda ticks: [t.get_text() for t in ticks]
    return ax.images[0].get_array(),words(ax.get_yticklabels()),words(ax.get_xticklabels())

def test_rows_of_counterfactuals(data, model):
    x,do = data.test.images[:8],{"light":torch.linspace(65,145,8)}
    x_cf,true = model.counterfactual(x,do),data.test.truth(do,slice(0,8)).images
    a,rows,heads = drawn(show_counterfactuals(x,x_cf,true,do))
    assert rows==["factual","do(light)","truth","minus truth"]
    assert (heads[0],heads[-1])==("65","145")
    assert (a[:32,:32]==to_uint8(x[:1])[0].numpy()).all()
    assert (a[33:65,33:65]==to_uint8(x_cf[1:2])[0].numpy()).all()
    assert (a[99:131,:32]==to_uint8((x_cf-true)[:1]/2)[0].numpy()).all()   # from the truth where there is one
    a,rows,heads = drawn(show_counterfactuals(x,x_cf,do={"light":80,"angle":shift(-5.)}))
    assert (rows,heads)==(["factual","do(light=80, angle+=-5)","minus factual"],[])
    assert (a[66:98,:32]==to_uint8((x_cf-x)[:1]/2)[0].numpy()).all()
    assert drawn(show_counterfactuals(x[0],x_cf[0]))[1]==["factual","counterfactual","minus factual"]
    kinds = ["round","flat","long",*["flat"]*5]
    rows,heads = drawn(show_counterfactuals(x,x_cf,do={"kind":kinds,"size":[1.5]*8}))[1:]
    assert (rows[1],heads[:2])==("do(kind, size)",["round\n1.5","flat\n1.5"])

@pytest.mark.parametrize("change,words",[
    (dict(x_cf=torch.zeros(3,3,32,32)),"x_cf: expected the shape"),(dict(x_cf=torch.full((8,3,32,32),3.)),"pixels in"),
    (dict(do={"light":torch.zeros(3)}),"8 of them"),(dict(do={"light":torch.zeros(8,1)}),r"shape \(8, 1\)"),
    (dict(do={"kind":["a","b","c"]}),"8 of them")])
def test_rows_that_do_not_fit(change, words):
    x = torch.zeros(8,3,32,32)-1
    with pytest.raises(ValueError,match=words): show_counterfactuals(**dict(x=x,x_cf=x)|change)

@pytest.mark.parametrize("c",[2,4,5])
def test_rows_of_any_number_of_channels(c): show_counterfactuals(torch.zeros(2,c,4,4)-1,torch.zeros(2,c,4,4)-1)

@pytest.mark.filterwarnings("ignore:ω=1.5")
def test_an_image_is_abducted_once_for_each_number_of_steps(data, model):
    with Counted(model) as count:
        e = explore(model,data.test.images[3],steps=8)
        start,read = e.images["counterfactual"],{n: b for n,(b,_) in e.labels.items()}
        assert count.n==dict(abduct=1,predict=1)
        for v in (60.,80.): e.ask({"light":v})
        assert count.n==dict(abduct=1,predict=3)
        e.ask(steps=5)
        assert (count.n["abduct"],e.do,e.steps,e.calls)==(2,{"light":80.},5,5)
        e.ask(steps=8)
        assert count.n["abduct"]==2
        e.ask(draft=True)
        assert (count.n["abduct"],e.steps,e.calls)==(3,8,2)
        e.ask({"angle":20.},guidance=1.5)
        calls = dict(count.n)
    assert torch.equal(e.images["counterfactual"],model.predict(e.asked.kept[8],{"angle":20.},1.5))
    assert calls["abduct"]==3
    e.ask({},guidance=1.)
    assert torch.equal(e.images["counterfactual"],start)
    assert {n: c for n,(_,c) in e.labels.items()}==read

def test_an_error_changes_nothing(data, model):
    e = explore(model,data.test.images[0],steps=2).ask({"light":80.})
    before = (e.do,e.images,e.labels,e.steps)
    for wrong in (dict(do={"moon":1.}),dict(do={"light":float("nan")}),dict(steps=0),dict(guidance=-1)):
        with pytest.raises(ValueError): e.ask(**wrong)
    assert before==(e.do,e.images,e.labels,e.steps)

def test_truth_stands_beside(data, model):
    e = explore(model,data.test.images[2],truth=lambda do: data.test.truth(do,2),steps=2)
    assert torch.equal(e.images["truth"],e.x)
    e.ask({"light":90.})
    assert torch.equal(e.images["truth"],data.test.truth({"light":90.},2).images)
    assert torch.allclose(e.images["difference"]*2,e.images["counterfactual"]-e.images["truth"],atol=1e-6)
    assert len(e.figure().subfigs[0].axes)==4
    as_array = explore(model,data.test.images[2],truth=lambda do: np.zeros((32,32,3),np.uint8)+9,steps=2)
    assert as_array.ask({"light":90.}).images["truth"].max()<-0.9
    with pytest.raises(ValueError,match="truth: expected a function of do"): explore(model,e.x,truth=e.x)

def test_images_of_every_kind_are_the_same_image(data, model):
    x = data.test.images[:1]
    b = to_uint8(x)[0]
    kinds = [x,x[0],x.numpy(),x[0].numpy(),x[0].double().numpy(),b,b.numpy(),b[None],b.permute(2,0,1),
             b.numpy().transpose(2,0,1),Image.fromarray(b.numpy())]
    for kind in kinds:
        e = explore(model,kind,steps=2).ask({"light":80.})
        assert (e.x-x).abs().max()<0.005
        scope = dict(model=model,x=kind)
        exec(e.code(),scope)
        assert torch.equal(scope["x_cf"],e.images["counterfactual"])

def test_grey_images_of_every_kind(img):
    m = small().eval()
    b = to_uint8(img[None])[0,...,0]
    for kind in (b,b.numpy(),b[...,None],Image.fromarray(b.numpy())):
        assert (explore(m,kind,steps=2).x-img).abs().max()<0.005

@pytest.mark.parametrize("x,words",[
    (torch.zeros(2,3,32,32)-1,"x: expected one image"),(torch.zeros(1,32,32)-1,r"x: expected images \(C, H, W\)"),
    (torch.full((3,32,32),2.),r"x: expected pixels in \[-1,1\]"),(Image.new("P",(32,32)),"mode L, RGB or RGBA"),
    (Image.new("RGBA",(32,32)),r"x: expected images \(C, H, W\)"),("photo.png","x: expected")])
@pytest.mark.filterwarnings("ignore")
def test_images_that_are_refused(model, x, words):
    with pytest.raises(ValueError,match=words): explore(model,x)

def test_without_the_extra(data, model):
    with patch.dict(sys.modules,anywidget=None):
        with pytest.raises(ImportError,match=r"pip install causaldiffae\[widgets\]"): explore(model,data.test.images[0])
        assert Explorer(model,data.test.images[0],steps=2).figure()   # a page needs none

def test_strangers(img):
    "A baseline that knows no mechanisms, and a model that knows nothing but how to answer"
    torch.manual_seed(0)
    e = explore(DiffSCM(CausalGraph.from_edges("a->b"),(1,16,16),widths=(32,32)),img,steps=2)
    e.ask({"a":0.5})
    assert e.labels["a"][1]==0.5 and (e.images["counterfactual"]-e.x).abs().max()>0
    assert not e.widget.spec["guided"]
    class Mirror:
        graph,image_shape = CausalGraph.from_edges("xa->b"),(5,4,4)
        def counterfactual(self, x, do): return -x
    e = explore(Mirror(),torch.rand(5,4,4)*2-1,ranges={"b":(0,9)}).ask({"b":3.})
    assert torch.equal(e.images["counterfactual"],-e.x)
    assert (e.spans["b"],e.widget.shown["notes"]["b"],e.widget.shown["values"]["xa"])==((0,9),"",None)
    assert e.code()=="x_cf = model.counterfactual(x[None], do={'b': 3.0})"
    assert e.figure()
    with pytest.raises(ValueError,match="model: expected one with graph"): explore(3,img)

def test_ranges(img):
    "Of a variable that did not vary in training, or that training never saw; warnings are shown, not lost"
    one = small().eval()
    one.trained = [[1.,0.],[1.,1.]]
    lo,hi = explore(one,img,steps=2).spans["a"]
    assert lo<1<hi
    one.trained = [[float("nan"),0.],[float("nan"),1.]]
    assert explore(one,img.numpy(),steps=2).spans["a"]==(-1.,1.)
    one.trained = [[0.,0.],[0.2,1.]]
    e = explore(one,img,steps=2,ranges={"a":(0,1)}).ask({"a":1.})
    assert "training saw" in e.widget.shown["status"]
    with torch.inference_mode(): explore(one,img,steps=2).ask({"b":0.5})

def test_categories(graph, img):
    "A menu; names in captions and in `do`, positions in `labels`; an untrained model will do: what is asked is set"
    sorts = small(graph,scale=LabelScale([0.,3.],[2.,9.])).eval()
    torch.nn.init.normal_(sorts.encoder.mechanisms.w3,std=0.2)
    e = explore(sorts,img,steps=3)
    read,names = e.labels["kind"][0],list(graph.categories["kind"])
    assert e.widget.spec["variables"][0]==dict(name="kind",options=names)
    assert e.widget.shown["notes"]["kind"]==f"factual {names[int(read)]}"
    other = (int(read)+1)%3
    e.widget.asked = dict(seq="v 1",do={"kind":other},steps=3,guidance=1,final=True)   # as a browser sends it
    assert (e.do,e.labels["kind"]) == ({"kind":names[other]},(read,other))
    assert (e.widget.shown["seq"],e.widget.shown["do"])==("v 1",{"kind":other})
    assert torch.equal(e.images["counterfactual"],sorts.counterfactual(img[None],{"kind":names[other]},steps=3))
    assert e.widget.shown["tiles"][1]["caption"]==f"do(kind={names[other]})"
    assert e.labels["size"][0]!=e.labels["size"][1]
    texts = [t.get_text() for f in e.figure().subfigs for s in f.subfigs for ax in s.axes for t in ax.texts]
    assert f"{names[int(read)]} → {names[other]}" in texts

def test_what_a_browser_asks(data, model):
    e = explore(model,data.test.images[3],steps=8)
    w,graph = e.widget,e.widget.graph
    v = {v["name"]: v for v in w.spec["variables"]}
    for n,(lo,hi) in e.spans.items():   # round numbers within what training saw
        assert lo-1e-9<=v[n]["lo"]<v[n]["hi"]<=hi+1e-9 and 40<(hi-lo)/v[n]["step"]<=101
    ask = lambda **k: setattr(w,"asked",dict(seq=k.pop("seq","s"),do={},steps=8,guidance=1,final=True)|k)
    ask(do={"shadow_length":6},final=False)
    assert (e.do,e.calls,e.steps)==({"shadow_length":6.},2,8)
    assert "2 steps while you drag" in w.shown["status"] and "shadow_length cut" in w.graph["alt"]
    cut = w.graph
    ask(do={"shadow_length":7})
    assert (e.calls,w.graph)==(8,cut)   # the same cut is not drawn again
    assert (bytes_of(w.shown["tiles"][1]["src"])==to_uint8(e.images["counterfactual"])[0].numpy()).all()
    ask(do={},steps=5,guidance=1.5,seq="t")
    assert (e.do,e.steps,e.guidance,w.shown["seq"],w.graph)==({},5,1.5,"t",graph)
    # what cannot be answered is said, and the state stays
    with patch.object(model,"predict",side_effect=RuntimeError("broken")): ask(do={"light":80},seq="u")
    assert (e.do,w.shown["seq"],w.shown["status"])==({},"u","RuntimeError: broken")
    w.asked = dict(seq="hello",hello=True)
    assert w.shown["seq"]=="hello" and "answered in" in w.shown["status"]
    # from Python the screen follows
    e.ask({"light":80.})
    assert w.shown["do"]=={"light":80.} and w.shown["title"]=="do(light=80)"

def test_the_saved_cell_holds_a_picture_of_the_last_state(graph, img):
    evil = small(graph.with_categories({"kind":["x","<img src=q onerror=alert(1)>"]})).eval()
    e,sent = explore(evil,img,steps=8),[]
    def keep(data, **k): sent.append((data,k))
    with patch("IPython.display.display",keep),patch("IPython.display.update_display",keep):
        e._ipython_display_()
        (still,first),(view,_) = sent
        assert "application/vnd.jupyter.widget-view+json" in view and "image/png" not in view
        assert "nothing done" in still["text/html"] and base64.b64decode(still["image/png"])[:4]==b"\x89PNG"
        e.ask({"kind":"<img src=q onerror=alert(1)>"},draft=True)
        assert len(sent)==2                                   # drafts are not kept
        e.ask()
    assert len(sent)==3 and sent[2][1]["display_id"]==first["display_id"]
    page = sent[2][0]["text/html"]
    assert "<img src=q" not in page and "do(kind=&lt;img src=q" in page   # a name is text
    assert page.count("image-rendering:pixelated")==3 and page.count('alt="')==3
