"Evaluation: what must come out at both ends of the scale, from files as from arrays, for whoever answers"
import json
import math
import pytest
import torch
from causaldiffae.baselines.diffscm import DiffSCM
from causaldiffae.data.core import CausalDataset, Split
from causaldiffae.data.morphomnist import morphomnist
from causaldiffae.data.pendulum import pendulum
from causaldiffae.evaluation import Figure, _alike, evaluate, measures
from causaldiffae.graph import CausalGraph
from causaldiffae.images import from_uint8, to_uint8
from causaldiffae.judges import Judges, train_judges
from causaldiffae.model import CausalDiffAE
from causaldiffae.questions import read_answers, write_questions, _pictures

@pytest.fixture(scope="module")
def data(): return pendulum(n=300,size=16,noise=True,seed=1)
@pytest.fixture(scope="module")
def judge(data): return train_judges(data,steps=60)

class Copies:
    def counterfactual(self, x, do): return x
class Knows:
    "The simulator, which finds out which of its images it was given"
    def __init__(self, data):
        self.data = data
        self.rows = {x.numpy().tobytes(): k for k,x in enumerate(data.images[torch.arange(len(data))])}
    def counterfactual(self, x, do):
        index = torch.tensor([self.rows[o.numpy().tobytes()] for o in x])
        return Split(self.data,index).truth(do).images if do else x

def asked(model, data, judge, **options):
    return evaluate(model,data,n=30,judges=judge,progress=False,**{"cycles":3,**options})

def test_the_simulator_has_no_error(data, judge):
    report = asked(Knows(data),data,judge,cycles=0)
    read = {r["of"]: r for r in report.rows if r["measure"]=="effectiveness" and r["do"]=="light"}
    for r in report.rows:
        if r["measure"]=="truth error": assert r["value"]==0
        if r["measure"]=="style kept": assert r["value"]==pytest.approx(1,abs=1e-4)
    assert read["light"]["value"]<1.6*read["light"]["floor"]
    assert read["light"]["unchanged"]>3*read["light"]["value"]
    assert ["composition","nobody was asked with nothing done, or answered"] in report.missing

def test_a_folder_scores_as_the_arrays_it_came_from(tmp_path, data, judge):
    class Draws(Knows):   # pictures of eight bits, a little wrong
        def counterfactual(self, x, do): return from_uint8(to_uint8(super().counterfactual(x,do)*0.9))
    model = Draws(data)
    questions = write_questions(data,tmp_path/"peer",n=30)
    for q in questions:
        _pictures(tmp_path/"peer"/(q.name or "nothing"),q.rows,model.counterfactual(data.images[q.rows],q.do))
    file,array = asked(tmp_path/"peer",data,judge),asked(model,data,judge,cycles=0)
    for r in array.rows: assert file.find(r["measure"],r["do"],r["of"])==r
    assert file.find("composition, 1×")["value"]>0
    assert (file.about["images"],file.about["again"],array.about["again"])==(30,30,0)
    assert read_answers(tmp_path/"peer",data)[0].question.name==""

def test_a_folder_without_answers_is_refused(tmp_path, data, judge):
    write_questions(data,tmp_path/"peer",n=3)
    with pytest.raises(ValueError,match="No such file") as e:
        asked(tmp_path/"peer",data,judge)
    assert "questions.csv, line 2" in str(e.value)
    lines = (tmp_path/"peer"/"questions.csv").read_text().splitlines()[:4]
    (tmp_path/"peer"/"questions.csv").write_text("\n".join(lines))
    _pictures(tmp_path/"peer"/"nothing",data.test.index[:3],data.test.images[:3])
    with pytest.raises(ValueError,match="folder: expected answers to an intervention"):
        asked(tmp_path/"peer",data,judge)

def test_same_seed_same_report(data, judge):
    torch.manual_seed(0)
    model = CausalDiffAE(data.graph,data.image_shape,widths=(32,32))
    once = asked(model,data,judge,options=dict(steps=2))
    torch.rand(3)
    again = asked(model,data,judge,options=dict(steps=2))
    assert json.dumps(once.to_dict())==json.dumps(again.to_dict())
    other = asked(model,data,judge,options=dict(steps=2),seed=1)
    assert once.find("truth error","light")!=other.find("truth error","light")

def test_diffscm_is_asked_by_the_same_call(data, judge):
    torch.manual_seed(0)
    model = DiffSCM(data.graph,data.image_shape,widths=(32,32))
    with pytest.warns(UserWarning,match="nothing done"):
        report = asked(model,data,judge,cycles=2,options=dict(steps=2))
    assert report.find("truth error","angle")["value"]>0
    assert report.find("reversibility, 1×","angle")["value"]>0
    assert "composition" in dict(report.missing)

def test_several_runs_are_one_report(data, judge):
    class Off:
        def __init__(self, by): self.by = by
        def counterfactual(self, x, do): return (x*(1-self.by)).clamp(-1,1)
    each = [asked(Off(b),data,judge).find("composition, 1×")["value"] for b in (0.1,0.3)]
    both = asked([Off(0.1),Off(0.3)],data,judge).find("composition, 1×")
    assert both["value"]==pytest.approx(sum(each)/2,rel=1e-4)
    assert both["lo"]<1.1*each[0] and both["hi"]>0.9*each[1]   # the runs differ more than the images do

def test_a_category_is_wrong_or_right():
    data = morphomnist(n=120,digit=True)
    judge = train_judges(data,steps=40)
    report = evaluate(Copies(),data,n=12,cycles=2,judges=judge,progress=False)
    row = report.find("effectiveness","digit","digit")
    assert row["unit"]=="% wrong" and 0<=row["value"]<=100
    assert report.find("bystander shift","digit","thickness")["value"]==0

def test_images_without_labels_are_asked_what_they_can_be(data, judge):
    y = data.labels.clone()
    y[:,0] = math.nan
    y[:200,0] = data.labels[:200,0]
    y[data.test.index,1] = math.nan
    few = CausalDataset(data.graph,data.images,y,splits=data.index)
    report = evaluate(Copies(),few,n=30,cycles=3,judges=judge,progress=False)
    assert report.find("effectiveness","light","light")["value"]>0
    assert not any(r["measure"].startswith("reversibility") and r["do"]=="light" for r in report.rows)

def test_a_measure_of_ones_own(data, judge):
    def mine(e): yield Figure("mine","","picture","",torch.ones(len(e.answers)))
    measures["mine"] = mine
    try: assert asked(Copies(),data,judge,only=["mine"]).find("mine")["value"]==1
    finally: del measures["mine"]

def test_a_folder_about_training_images_is_refused(tmp_path, data, judge):
    swapped = dict(train=data.index["test"],valid=data.index["valid"],test=data.index["train"])
    seen = CausalDataset(data.graph,data.images,data.labels,splits=swapped)
    for q in write_questions(seen,tmp_path/"peer",n=5):
        _pictures(tmp_path/"peer"/(q.name or "nothing"),q.rows,data.images[q.rows])
    with pytest.raises(ValueError,match="folder: expected answers about test images"):
        asked(tmp_path/"peer",data,judge)

def test_runs_of_which_one_refuses_share_what_they_have(data, judge):
    class Never(Copies):
        def counterfactual(self, x, do):
            if not do: raise ValueError("do: expected an intervention")
            return x
    with pytest.warns(UserWarning,match="nothing done"):
        report = asked([Copies(),Never()],data,judge)
    assert report.find("truth error","angle")["n"]==30
    assert ["composition, 1×","picture: only of 1 of 2 runs"] in report.missing

def test_runs_about_other_images_are_refused(tmp_path, data, judge):
    for q in write_questions(data,tmp_path/"peer",n=7):
        _pictures(tmp_path/"peer"/(q.name or "nothing"),q.rows,data.images[q.rows])
    with pytest.raises(ValueError,match="model: expected runs asked about the same images"):
        asked([Copies(),tmp_path/"peer"],data,judge)

def test_few_images_are_said_to_be_few(data, judge):
    report = evaluate(Copies(),data,n=3,cycles=0,judges=judge,only=["realism","minimality"],progress=False)
    assert not report.rows
    assert ["realism","fewer than four images for do(angle)"] in report.missing
    assert ["CLD","fewer than 20 images for do(light)"] in report.missing

def test_a_tensor_among_the_options_does_not_cost_the_report(tmp_path, data, judge):
    class Draws(Copies):
        def counterfactual(self, x, do, by=None): return x*by
    report = asked(Draws(),data,judge,only="truth error",options=dict(by=torch.ones(1)))
    report.save(tmp_path/"r.json")
    assert json.loads((tmp_path/"r.json").read_text())["about"]["options"]=={"by":"float32 (1,)"}

def test_alike_with_few_labels():
    own = torch.tensor([1.,2,3,4]+[math.nan]*96,dtype=torch.float64)
    assert _alike(own[:1],own,False).sum()==1

def test_the_parts_are_of_the_error_beside_them(data, judge):
    torch.manual_seed(0)
    model = CausalDiffAE(data.graph,data.image_shape,widths=(32,32))
    torch.nn.init.normal_(model.decoder.net.leave.weight,std=0.05)
    only = dict(only=["causes"],cycles=0)
    drawing = lambda **k: asked(model,data,judge,**only,options=k).find("drawing","light")["value"]
    assert drawing(steps=2)==drawing(steps=2)!=drawing(steps=3)

def test_realism_compares_with_the_images_that_were_asked(tmp_path, data, judge):
    write_questions(data,tmp_path,n=30)
    lines = (tmp_path/"questions.csv").read_text().splitlines()
    angle = [k for k,line in enumerate(lines) if line.startswith("angle/")]
    for k in reversed(angle[3:]): del lines[k]   # of one variable hardly an image was asked
    (tmp_path/"questions.csv").write_text("\n".join(lines))
    for line in lines[1:]:
        name = line.split(",")[0]
        row = torch.tensor([int(name[-9:-4])])
        _pictures(tmp_path/name.split("/")[0],row,data.images[row])
    report = asked(tmp_path,data,judge,only=["realism"])
    row = report.find("Fréchet distance","light")
    assert row["value"]==pytest.approx(row["unchanged"],rel=1e-3)
    assert ["realism","fewer than four images for do(angle)"] in report.missing

def test_a_missing_library_is_said(data, judge):
    def wants(e): raise ImportError("wants needs a library")
    measures["wants"] = wants
    try: report = asked(Copies(),data,judge,only=["composition","wants"])
    finally: del measures["wants"]
    assert report.find("composition, 1×")["value"]==0 and ["wants","wants needs a library"] in report.missing

def test_what_nobody_knows_is_said():
    graph = CausalGraph.from_edges("a->k",categories={"k":["x","y"]})
    g = torch.Generator().manual_seed(0)
    a = torch.rand(120,generator=g)
    y = torch.stack([a.double(),torch.full((120,),math.nan).double()],1)
    images = (a[:,None,None,None]*2-1).expand(-1,1,8,8).clone()
    data = CausalDataset(graph,images,y)
    report = evaluate(Copies(),data,n=10,cycles=2,progress=False,only=["effectiveness","coverage","reversibility"])
    said = dict(report.missing)
    assert said["all of do(k)"]=="fewer than two values of k are known"
    assert report.find("effectiveness","a","a")["floor"] is not None
    torch.manual_seed(0)
    model = CausalDiffAE(graph,(1,8,8),widths=(32,32))
    said = dict(evaluate(model,data,n=10,cycles=2,judges=Judges(),progress=False,options=dict(steps=2)).missing)
    for what in ("coverage","mechanism, drawing","reading","effectiveness","CLD","realism"): assert what in said

def test_own_values_are_asked_for(data, judge):
    class Shifts(Copies):
        def counterfactual(self, x, do): return x*0.5 if do else x
    report = asked(Shifts(),data,judge)
    assert report.find("composition, 1×")["value"]==0 and report.find("composition, own value","light")["value"]>1

def test_labels_as_a_code_are_the_best_code():
    from causaldiffae.evaluation import as_code
    from causaldiffae.representation import representation_scores
    g = torch.Generator().manual_seed(0)
    y = torch.stack([torch.rand(400,generator=g).double()*4,torch.rand(400,generator=g).double()*200,
                     torch.randint(5,(400,),generator=g).double()],1)
    z = as_code(y,{2:5})
    assert z.shape==(400,3,5) and z[:,2].sum(1).eq(1).all() and z[:,1,1:].eq(0).all()
    got = representation_scores(z,y,(2,))
    least = {"DCI D, trees":0.99,"DCI I, lasso":0.95,"InfoC":0.8,"InfoM":0.8,"MCC":0.999,"SAP":0.7}
    for name,low in least.items(): assert got[name]>low,(name,got[name])
