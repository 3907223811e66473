"Parts of the recipe that a trained model would not show"
from types import SimpleNamespace
import torch
from torch import nn
import causaldiffae as cd
from causaldiffae.checkpoints import Validate
from causaldiffae.training import finish

GRAPH = cd.CausalGraph.from_edges("a->b")
def new(**kw): return cd.CausalDiffAE(GRAPH,(1,8,8),widths=(32,32),**kw)

def test_a_mechanism_learns_from_rows_whose_whole_family_is_labelled():
    known = torch.tensor([[True,True],[False,True],[True,False]])
    got = new().encoder.mechanisms.family_known(known)
    assert got.tolist()==[[True,True],[False,False],[True,False]]

def test_other_rows_count_a_hundredth():
    v = torch.ones(2,requires_grad=True)
    new()._little(v,torch.tensor([True,False])).sum().backward()
    assert torch.allclose(v.grad,torch.tensor([1.,0.01]))

def test_files_from_before_the_choice_keep_what_they_were():
    config = new().config()
    for k in ("mechanisms","learn"): config["options"].pop(k)
    old = cd.CausalDiffAE.from_config(config)
    assert (old.encoder.mechanisms.kind,old.learn)==("additive","reading")

def test_each_image_gets_its_own_value_in_every_batch():
    asked = [-0.5,0.,0.5,0.25,-0.25]
    x = torch.zeros(5,1,8,8)
    after = new().counterfactual(x,{"a":asked},steps=1,batch_size=2,return_latents=True)[3]
    assert torch.allclose(after[:,0],torch.tensor(asked,dtype=torch.float64),atol=1e-6)

class Level(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))
    def loss(self, x, y, generator=None): return dict(total=self.w*1.)

def test_the_averaged_weights_are_validated_and_left_in_the_model():
    data = cd.CausalDataset(GRAPH,torch.zeros(20,1,8,8),torch.rand(20,2))
    run = SimpleNamespace(model=Level(1.),averaged=SimpleNamespace(module=Level(2.)),data=data,history=[],step=1,
                          spent=0.,since=1,recent={},done=lambda: 1.)
    Validate(1)(run)
    assert run.history[0]["valid_total"]==2.
    finish(run)
    assert run.model.w.item()==2. and not run.model.training
