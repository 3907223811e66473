"""The style code: read off the image, free of what the labels say, untouched by interventions"""
import warnings

import pytest
import torch
from torch import nn

import causaldiffae as cd
from causaldiffae.model import joined
from causaldiffae.style import StyleEncoder

graph = cd.CausalGraph.from_edges("light->shadow")
scale = cd.LabelScale([0.,0.],[100.,10.])

def g(): return torch.Generator().manual_seed(3)

@pytest.fixture
def model():
    torch.manual_seed(0)
    m = cd.CausalDiffAE(graph,(1,16,16),widths=(32,32),scale=scale)
    nn.init.normal_(m.decoder.net.leave.weight,std=0.05,generator=g())
    return m.eval()

@pytest.fixture
def x(): return torch.rand(9,1,16,16,generator=g())*2-1

def ask(*args, **kw):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # asked beyond what an untrained model has seen
        return args[0](*args[1:],**kw)

def test_it_goes_with_the_image_and_no_intervention_moves_it(model, x):
    a = model.abduct(x,3)
    assert a.style.shape==(9,8) and model.config()["options"]["style"]==8
    assert torch.equal(a.style,model.style(x,a.z).detach())
    as_it_is = ask(model.predict,a,{"light":80.})
    other = ask(model.predict,a._replace(style=a.style+1),{"light":80.})
    assert (other-as_it_is).abs().max()>1e-4
    assert torch.equal(ask(model.counterfactual,x,{"light":80.},steps=3),as_it_is)
    assert torch.equal(joined([model.abduct(x[:4],2),model.abduct(x[4:],2)]).style,a.style)

def test_sample_takes_it_and_else_what_is_usual(model):
    x_T,z = torch.randn(4,1,16,16,generator=g()),torch.rand(4,2,4,generator=g())
    usual = model.sample(x_T,z,3)
    assert torch.equal(usual,model.sample(x_T,z,3,style=torch.zeros(4,8)))
    assert (usual-model.sample(x_T,z,3,style=torch.ones(4,8))).abs().max()>1e-4
    with pytest.raises(ValueError,match="style: expected"): model.sample(x_T,z,3,style=torch.zeros(4,3))

def test_the_denoiser_teaches_s_and_a_regression_takes_the_labels_out(model, x):
    model.train()
    y = scale.to_raw(torch.rand(9,2,generator=g())*2-1)
    terms = model.loss(x,y,generator=g())
    assert torch.allclose(terms["total"],terms["simple"]+model.gamma/256*(terms["kl_u"]+terms["kl_z"])
                          +0.1*terms["style"])
    terms["simple"].backward()
    assert model.style.read[-1].weight.grad.abs().max()>0
    assert model.style.said[-1].weight.grad is None
    model.zero_grad()
    model.loss(x,y,generator=g())["style"].backward()
    assert model.style.said[-1].weight.grad.abs().max()>0
    assert model.encoder.read[-1].weight.grad is None

def test_none_of_it(model, x):
    torch.manual_seed(0)
    plain = cd.CausalDiffAE(graph,(1,16,16),widths=(32,32),scale=scale,style=0)
    assert plain.style is None and plain.abduct(x,2).style is None
    assert "style" not in plain.loss(x,scale.to_raw(torch.zeros(9,2)),generator=g())
    config = plain.config()
    del config["options"]["style"]   # as files from before have it
    assert cd.CausalDiffAE.from_config(config).style is None
    with pytest.raises(ValueError,match="style: expected"): cd.CausalDiffAE(graph,(1,16,16),style=-1)

def test_what_the_label_says_leaves_it():
    """Bars whose height is labelled and whose place is not: r tells the place, and hardly the height"""
    torch.manual_seed(0)
    def bars(n, generator):
        height,place = torch.rand(2,n,generator=generator)*2-1
        at = torch.linspace(-1,1,16)
        across = (at-0.5*place[:,None]).abs()<0.3
        high = at.abs()<(0.5+0.3*height)[:,None]
        return (high[:,:,None]&across[:,None]).float()[:,None]*2-1,height,place
    style,generator = StyleEncoder((1,16,16),z_dim=1,k=2,patch=2),g()
    painter = nn.Sequential(nn.Linear(2,128),nn.SiLU(),nn.Linear(128,256))
    opt = torch.optim.Adam([*style.parameters(),*painter.parameters()],2e-3)
    for _ in range(400):
        x,height,place = bars(64,generator)
        r,missed = style.learn(x,height[:,None])
        r = r+style.width*torch.randn(r.shape,generator=generator)
        drawn = painter(r)   # which would like to know the height
        opt.zero_grad()
        (((drawn-x.flatten(1))**2).mean()+missed).backward()
        opt.step()
    x,height,place = bars(1000,generator)
    with torch.no_grad(): r = style.eval()(x,height[:,None])
    def told(code, what):
        a = torch.cat([code,torch.ones(len(code),1)],1)
        return 1-((what-a@torch.linalg.lstsq(a,what[:,None]).solution[:,0]).var()/what.var()).item()
    assert told(r,place)>0.8 and told(r,height)<0.1, (told(r,place),told(r,height))
    assert 0.7<r.std(0).min() and r.std(0).max()<1.4   # its size needs no batch
