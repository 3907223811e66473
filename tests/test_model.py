"The model: what it refuses, what it warns of, and that files, pickles, batches and other default types change nothing"
import math
import pickle
import warnings
import pytest
import torch
from torch import nn
from causaldiffae.data.core import CausalDataset, LabelScale
from causaldiffae.decoder import blanked
from causaldiffae.files import read_tensors, write_tensors
from causaldiffae.graph import CausalGraph
from causaldiffae.model import CausalDiffAE, check_guidance, joined, warn_outside
from causaldiffae.sampling import Route

GRAPH = CausalGraph.from_edges(
    "angle->shadow_length, angle->shadow_position, light->shadow_length, light->shadow_position",
    ["angle","light","shadow_length","shadow_position"])
SCALE = LabelScale([-40.,60.,3.,-5.],[44.,148.,15.,25.])
SEEN = [[-40.,60.,3.,-5.],[44.,148.,15.,25.]]
SHAPE = "image_shape: expected three positive whole numbers"

@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    m = CausalDiffAE(GRAPH,(3,32,32),scale=SCALE)
    nn.init.normal_(m.encoder.mechanisms.w3)
    m.trained = SEEN
    return m.eval()

@pytest.fixture(scope="module")
def x():
    torch.manual_seed(1)
    return torch.rand(6,3,32,32)*2-1

@pytest.fixture(scope="module")
def y():
    torch.manual_seed(2)
    return SCALE.to_raw(torch.rand(6,4)*2-1)

def refused(f, said):
    with pytest.raises(ValueError) as e: f()
    assert said in str(e.value),str(e.value)

def warned(f):
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        f()
    return [str(o.message) for o in w]

# What is refused

def test_images_that_cannot_be(model, x):
    for bad in (x[:,:1],x*2,x[:0],x*float("nan"),x.long()): refused(lambda: model.encode(bad),"x: expected")

def test_questions_that_cannot_be(model, x):
    u = model.encode(x)
    refused(lambda: model.solve(u,do={"moon":1.}),"moon")
    refused(lambda: model.solve(u,do={"light":torch.zeros(3)}),"light")
    refused(lambda: model.solve(u,{"light":1e38}),"ten thousand times")
    refused(lambda: model.solve(u[:,:2]),"u: expected")
    refused(lambda: model.solve(u.double()),"u: expected")
    refused(lambda: model.labels(u[...,:1]),"z: expected")
    refused(lambda: model.labels(None),"z: expected")
    for bad in (dict(steps=0),dict(solver="euler"),dict(guidance=math.nan),dict(start=2.),dict(batch_size=0)):
        refused(lambda: model.counterfactual(x,{"light":80.},**bad),f"{next(iter(bad))}: expected")

def test_batches_that_cannot_be(model, x, y):
    for a,b in ((x,y[:1]),(x,y[:,:2]),(x,None),(x.double(),y),(x[:0],y[:0]),(x[:,:1],y),(x,y.long())):
        refused(lambda: model.loss(a,b),": expected")

@pytest.mark.parametrize("shape",[32,(1,28),(1.,28,28),("1",28,28),(True,28,28),(1,0,28),(1,math.nan,28)])
def test_shapes_that_cannot_be(shape): refused(lambda: CausalDiffAE(GRAPH,shape),SHAPE)

@pytest.mark.parametrize("bad",[
    dict(latent_dim=0),dict(drop=2),dict(gamma=math.nan),dict(hide=2.),dict(latent_dim=True),dict(sigma="a"),
    dict(drop="x"),dict(patch=0),dict(widths=3),dict(encoder=dict(depth=3)),dict(encoder=5),dict(scale=3),
    dict(scale=LabelScale([0.],[1.])),dict(schedule=[]),dict(focus=-1)])
def test_options_that_cannot_be(bad):
    refused(lambda: CausalDiffAE(GRAPH,(1,28,28),**bad),f"{next(iter(bad))}: expected")

def test_a_graph_that_is_none(): refused(lambda: CausalDiffAE("a->b",(1,28,28)),"graph: expected")

# Files

def test_saved_and_loaded_it_is_the_same(model, x, tmp_path):
    file = tmp_path/"pendulum.safetensors"
    model.save(file)
    again = CausalDiffAE.load(file)
    assert torch.equal(again.encode(x),model.encode(x))
    assert again.config()==model.config()
    assert again.trained==model.trained
    model.save(file,half=True)
    assert (CausalDiffAE.load(file).encode(x)-model.encode(x)).abs().max()<0.02
    refused(lambda: CausalDiffAE.from_pretrained("moon"),"name: expected one of")

def test_altered_files_are_refused(model, tmp_path):
    file = tmp_path/"m"
    model.save(file)
    tensors,config = read_tensors(file)
    null = tensors["decoder.net.null"]
    for t,c,said in (
        ({k: v for k,v in tensors.items() if k!="decoder.net.null"},config,"weights that fit"),
        (tensors,{**config,"graph":{"names":["a"],"edges":[]}},"path: expected"),
        (tensors,{**config,"image_shape":[3,33,32]},"path: expected"),
        (tensors,{**config,"options":{"widths":[3200000000,64]}},"path: expected"),
        (tensors,{**config,"options":{"evil":1}},"path: expected"),
        (tensors,{**config,"options":{"patch":0}},"path: expected"),
        (tensors,{**config,"options":{"T":10**7}},"path: expected"),
        ({**tensors,"decoder.net.null":null*float("nan")},config,"all finite"),
        (tensors,[1],"expected a saved CausalDiffAE"),
        (tensors,{**config,"kind":"Other"},"expected a saved CausalDiffAE"),
    ):
        write_tensors(file,t,c)
        refused(lambda: CausalDiffAE.load(file),said)

def test_what_is_saved_can_be_loaded(pictures, tmp_path):
    x16,y16 = pictures
    graph,flat = CausalGraph.from_edges("a->b"),y16.clone()
    flat[:,0] = 1.
    fixed = CausalDiffAE(graph,(1,16,16),widths=(32,32))
    fixed.prepare(CausalDataset(graph,x16,flat,scale=LabelScale([0,0],[2,1])))
    fixed.save(tmp_path/"m")
    assert CausalDiffAE.load(tmp_path/"m").trained[0][0]==1.
    fixed.trained = [[math.nan,0.],[math.nan,1.]]
    fixed.save(tmp_path/"m")
    assert math.isnan(CausalDiffAE.load(tmp_path/"m").trained[0][0])
    t,c = read_tensors(tmp_path/"m")
    write_tensors(tmp_path/"m",{**t,"decoder.net.leave.weight":t["decoder.net.leave.weight"]*0+3e38},c)
    refused(lambda: CausalDiffAE.load(tmp_path/"m"),"finite numbers")

def test_files_from_before(model):
    "Before γ had one meaning it weighed against the mean over an image's numbers"
    old = model.config()
    assert CausalDiffAE.from_config(old).gamma==1.
    del old["gamma_of"]
    assert CausalDiffAE.from_config(old).gamma==3072.

# The same answer in every way

def test_pickled_it_keeps_all_it_can_do(model, x):
    one = pickle.loads(pickle.dumps(model))
    a,b = (m.counterfactual(x[:1],{"light":80.},steps=2) for m in (one,model))
    assert torch.equal(a,b)

def test_units_are_part_of_the_weights(model):
    bare = CausalDiffAE(GRAPH,(3,32,32))
    bare.load_state_dict(model.state_dict())
    assert (bare.scale,bare.trained)==(model.scale,model.trained)
    half = pickle.loads(pickle.dumps(model))
    assert half.half().prior.lo.dtype==torch.float64   # whatever the model is
    assert half.float() is half

def test_in_batches_it_is_the_same_answer(model, x):
    several = model.counterfactual(x,{"light":80.},steps=2,batch_size=4)
    assert (several-model.counterfactual(x,{"light":80.},steps=2)).abs().max()<1e-4
    a = model.abduct(x,3,"exact",0.5)
    assert a.route==Route(3,"exact",0.5)
    assert (model.predict(a)-x).abs().max()<1e-3
    assert joined([model.abduct(x[:2],2),model.abduct(x[2:],2)]).u.shape==a.u.shape

def test_under_any_default_type(x):
    torch.set_default_dtype(torch.float64)
    try:
        other = CausalDiffAE(GRAPH,(3,32,32),scale=SCALE)
        assert other.counterfactual(x[:1],{"light":80.},steps=2).dtype==torch.float32
        assert other.loss(x,SCALE.to_raw(torch.zeros(6,4)))["total"].dtype==torch.float32
    finally: torch.set_default_dtype(torch.float32)

def test_in_inference_mode(model, x):
    with torch.inference_mode(): model.counterfactual(x[:1],{"light":80.},steps=2)

# What is warned of

def test_outside_of_what_training_saw(model):
    seen = torch.tensor([[0.]*4,[10.]*4])
    values = lambda **k: torch.tensor([[k.get(n,5.) for n in GRAPH.names]]*2)
    light = model.actions({"light":1.},2)
    for y4,said in (
        (values(light=9.9),None),
        (values(light=10.09),None),
        (values(light=10.2),"do sets light to 10.2"),
        (values(light=-0.2),"do sets light to -0.2"),
        (values(shadow_length=11.),"shadow_length follows to 11"),
        (values(shadow_length=-1.),"shadow_length follows"),
        (values(angle=99.),None),
        (values(shadow_length=10.15),None),
    ):
        w = warned(lambda: warn_outside(GRAPH,seen,y4,light))
        assert len(w)==(said is not None)
        assert said is None or said in w[0] and "training saw 0 … 10" in w[0]
    # nothing seen, nothing to say
    assert warned(lambda: warn_outside(GRAPH,seen*math.nan,values(light=99.),light))==[]

def test_guidance():
    assert "ω=1.5 is not what training saw" in warned(lambda: check_guidance(1.5,GRAPH))[0]
    assert "follow the variables less" in warned(lambda: check_guidance(0.5,GRAPH))[0]
    assert "ω=2 for light is" in warned(lambda: check_guidance({"light":2,"angle":1},GRAPH))[0]
    assert warned(lambda: check_guidance(1,GRAPH))==[]

@pytest.mark.filterwarnings("ignore:ω=")
def test_the_guidance_of_one_variable(x):
    "It moves away from the picture in which that variable alone is hidden"
    torch.manual_seed(0)
    model = CausalDiffAE(GRAPH,(3,32,32),scale=SCALE,hide=0.1).eval()
    nn.init.normal_(model.decoder.net.leave.weight,std=0.05)
    nn.init.normal_(model.encoder.mechanisms.w3)
    a,told = model.abduct(x,3,"adams"),{"angle":1.5,"light":1.}
    z = model.solve(a.u,{"light":80.})
    none_of = model._shown(blanked(z,torch.tensor([[True,False,False,False]]*6)),a.style)
    got = model.predict(a,{"light":80.},told)
    assert torch.equal(got,model.decoder.draw(a.x_T,model._shown(z,a.style),a.route,away=[(0.5,none_of)]))
    again = model.counterfactual(x,{"light":80.},steps=3,solver="adams",guidance=told)
    assert (again-got).abs().max()<1e-5
    plain = model.predict(a,{"light":80.})
    assert (got-plain).abs().max()>1e-3,(got-plain).abs().max()
    assert torch.equal(model.predict(a,{"light":80.},{}),plain)
    for bad in ({"moon":2.},{"light":"x"},{"light":math.nan},{1:2.},[1.]):
        refused(lambda: model.predict(a,{"light":80.},bad),"guidance")
    model.hide = 0.
    refused(lambda: model.predict(a,{},{"light":2.}),"guidance: expected one ω")

def test_other_units_are_noticed_not_taken(pictures):
    x16,y16 = pictures
    graph = CausalGraph.from_edges("a->b")
    tiny = CausalDiffAE(graph,(1,16,16),widths=(32,32))
    assert warned(lambda: tiny.prepare(CausalDataset(graph,x16,y16)))==[]
    before = tiny.scale
    assert before==CausalDataset(graph,x16,y16).scale
    assert "a lie from" in warned(lambda: tiny.prepare(CausalDataset(graph,x16,y16*1000+500)))[0]
    assert tiny.scale==before
    assert warned(lambda: tiny.prepare(CausalDataset(graph,x16,y16)))==[]

def test_rows_that_all_lack_a_label(pictures):
    "All labels are learned, but not how one follows from the other; as published, the denoiser is shown nothing"
    x16,holes = pictures[0],pictures[1].clone()
    holes[::2,0] = math.nan
    holes[1::2,1] = math.nan
    graph = CausalGraph.from_edges("a->b")
    data,options = CausalDataset(graph,x16,holes),dict(widths=(32,32))
    said = warned(lambda: CausalDiffAE(graph,(1,16,16),**options).prepare(data))
    assert [w.split(":")[0] for w in said]==["no image to train on has the labels of b and of all its causes (a)"]
    old = CausalDiffAE(graph,(1,16,16),learn="reading",**options)
    assert "no image" in warned(lambda: old.prepare(data))[0]
