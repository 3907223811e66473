"Training where something goes wrong: bad arguments, interruptions, signals, a loss of nan, files that vanish"
import math
import os
import signal
import time
from unittest.mock import patch as patched
import pytest
import torch
from causaldiffae.checkpoints import validation_loss
from causaldiffae.data.core import CausalDataset
from causaldiffae.data.pendulum import pendulum
from causaldiffae.files import read_tensors
from causaldiffae.images import StoredImages, to_uint8
from causaldiffae.model import CausalDiffAE
from causaldiffae.training import fit

QUIET = dict(batch_size=16,progress=False)
RUN = dict(steps=40,validations=2,warmup=5,**QUIET)

@pytest.fixture(scope="module")
def data(): return pendulum(n=400,size=8,seed=0)

@pytest.fixture
def small(data):
    def make(seed=0):
        torch.manual_seed(seed)
        return CausalDiffAE(data.graph,data.image_shape,latent_dim=2,widths=(32,32))
    return make

def weights(m): return torch.cat([p.detach().flatten() for p in m.parameters()])

class Wrapped(torch.nn.Module):
    "Passes the loss through, and counts its calls"
    def __init__(self, model, at=10**9):
        super().__init__()
        self.model,self.at,self.n = model,at,0
    def prepare(self, data): self.model.prepare(data)
    def loss(self, *args, **kw):
        self.n += 1
        return self.act(self.model.loss(*args,**kw))
    def act(self, terms): return terms

class Interrupting(Wrapped):
    def act(self, terms):
        if self.n==self.at: raise KeyboardInterrupt
        return terms

class Breaking(Wrapped):
    "A loss that is no number"
    def act(self, terms): return {k: v*float("nan") for k,v in terms.items()} if self.n==self.at else terms

class Steep(Wrapped):
    "A finite loss with a gradient that is not"
    def act(self, terms):
        bend = sum((p*0).sum() for p in self.parameters())
        return {**terms,"total":terms["total"]+bend.clamp(min=0).sqrt()} if self.n==self.at else terms

class Looking(Wrapped):
    "Interrupted while it looks at the validation images"
    def loss(self, *args, **kw):
        if not self.training and not hasattr(self,"done"): raise KeyboardInterrupt
        return self.model.loss(*args,**kw)

def test_another_run_is_not_resumed(small, data, tmp_path):
    ck = tmp_path/"run.safetensors"
    with pytest.raises(KeyboardInterrupt): fit(Interrupting(small(),24),data,checkpoint=ck,**RUN)
    again = dict(checkpoint=ck,resume=True,**RUN)
    for model,other,options,said in (
        (Interrupting(small(),9),data,{**again,"batch_size":8},"batch_size: expected 16"),
        (small(),data,again,"model: expected"),
        (Interrupting(small(),9),pendulum(n=400,size=8,seed=1),again,"data's labels: expected"),
        (Interrupting(small(),9),data.with_labels(0.5),again,"expected"),
    ):
        with pytest.raises(ValueError) as e: fit(model,other,**options)
        assert said in str(e.value)
    ck.write_bytes(ck.read_bytes()[:1000])
    with pytest.raises(ValueError,match="truncated"): fit(Interrupting(small()),data,**again)

def test_a_finished_run_goes_on_with_a_larger_budget(small, data, tmp_path):
    ck = tmp_path/"run.safetensors"
    fit(Wrapped(small()),data,checkpoint=ck,**RUN)
    with pytest.raises(ValueError,match="resume=True"): fit(Wrapped(small()),data,checkpoint=ck,**RUN)
    more = fit(Wrapped(small()),data,checkpoint=ck,resume=True,log=tmp_path/"log.csv",**{**RUN,"steps":60})
    assert [h["step"] for h in more]==[20,40,60]
    assert len((tmp_path/"log.csv").read_text().splitlines())==4
    with pytest.raises(ValueError,match="steps: expected at least 60"):
        fit(Wrapped(small()),data,checkpoint=ck,resume=True,**RUN)

def test_no_number_stops_before_the_weights(small, data, tmp_path):
    ck = tmp_path/"run.safetensors"
    broken = Breaking(small(),12)
    with pytest.raises(FloatingPointError,match="loss is nan at step 11"):
        fit(broken,data,checkpoint=ck,checkpoint_minutes=1e-9,**RUN)
    tensors,state = read_tensors(ck)
    assert state["step"]==11
    assert all(v.isfinite().all() for k,v in tensors.items() if not k.endswith("seen"))
    assert all(p.isfinite().all() for p in broken.parameters())
    with pytest.raises(FloatingPointError,match="the gradient is nan at step 11"):
        fit(Steep(small(),12),data,checkpoint=tmp_path/"steep",checkpoint_minutes=1e-9,**RUN)
    assert all(v.isfinite().all() for v in read_tensors(tmp_path/"steep")[0].values())

def test_interrupted_while_it_looks(small, data, tmp_path):
    whole = Wrapped(small())
    history = fit(whole,data,**RUN)
    look = tmp_path/"look.safetensors"
    with pytest.raises(KeyboardInterrupt): fit(Looking(small()),data,checkpoint=look,**RUN)
    rest = Looking(small())
    rest.done = True
    again = fit(rest,data,checkpoint=look,resume=True,**RUN)
    # still the same run, to the bit, and no look at the validation images is lost
    assert all(torch.equal(a,b) for a,b in zip(whole.state_dict().values(),rest.state_dict().values()))
    assert [h["valid_total"] for h in again]==[h["valid_total"] for h in history]

def test_the_seed_decides_and_nothing_else(small, data):
    a,b,c = small(),small(),small()
    for m,s in ((a,3),(b,3),(c,4)): fit(m,data,steps=5,seed=s,**QUIET)
    assert torch.equal(weights(a),weights(b))
    assert not torch.equal(weights(a),weights(c))
    # the same noise each time
    assert validation_loss(a,data.valid)==validation_loss(a,data.valid)

def test_budgets(small, data):
    start = time.perf_counter()
    h = fit(small(),data,minutes=0.02,validations=1,**QUIET)
    assert time.perf_counter()-start>0.9*1.2
    assert h[-1]["minutes"]>=0.02
    h = fit(small(),data,epochs=2,validations=1,**QUIET)
    assert h[-1]["step"]==2*(320//16)
    assert fit(small(),data,steps=3,warmup=0,validations=0,**QUIET)==[]

def test_missing_labels_make_no_nan(small, data):
    h = fit(small(),data.with_labels(0.2),steps=10,validations=1,**QUIET)
    assert all(v==v for v in h[-1].values())

def test_precisions(small, data):
    m = small()
    fit(m,data,steps=10,precision="bf16",**QUIET)
    assert weights(m).isfinite().all()
    # what a GPU would do in fp16, here on the CPU
    with patched("causaldiffae.training.pick_precision",return_value="fp16"):
        m = small()
        h16 = fit(m,data,steps=10,validations=1,**QUIET)
        assert weights(m).isfinite().all()
    h32 = fit(small(),data,steps=10,validations=1,precision="fp32",**QUIET)
    assert abs(h16[0]["total"]-h32[0]["total"])<1e-2*h32[0]["total"]

def test_the_warm_up_starts_at_0(small, data):
    h = fit(small(),data,steps=1,kl_warmup=10,validations=1,**QUIET)[-1]
    assert abs(h["total"]-0.1*h["style"]-h["simple"])<1e-5

@pytest.mark.parametrize("bad,said",[
    (dict(),"expected exactly one"),
    (dict(steps=5,minutes=1),"expected exactly one"),
    (dict(steps=0),"steps: expected"),
    (dict(minutes=math.nan),"minutes: expected"),
    (dict(steps=5,lr=-1),"lr: expected"),
    (dict(steps=5,batch_size=0),"batch_size: expected"),
    (dict(steps=5,resume=True),"resume: expected"),
    (dict(steps=5,checkpoint="/no/such/folder/x"),"existing folder"),
    (dict(steps=5,precision="fp8"),"precision: expected"),
    (dict(steps=5,precision="fp16"),"which needs 'cuda'"),
    (dict(steps=5,accumulate=0),"accumulate: expected"),
    (dict(steps=5,accumulate=1.5),"accumulate: expected"),
    (dict(steps=5,accumulate=321),"expected at most 320"),
    (dict(steps=5,ema=1.),"ema: expected"),
    (dict(steps=2.5),"steps: expected a whole number"),
    (dict(steps=5,batch_size=2.5),"batch_size: expected"),
    (dict(steps=5,warmup=-1),"warmup: expected"),
    (dict(steps=5,validations=-1),"validations: expected"),
    (dict(steps=5,seed="a"),"seed: expected"),
    (dict(steps=5,lr="x"),"lr: expected"),
    (dict(steps=5,checkpoint="/tmp"),"existing folder"),
    (dict(steps=5,checkpoint_minutes=math.nan),"checkpoint_minutes: expected"),
])
def test_refused(small, data, bad, said):
    with pytest.raises(ValueError) as e: fit(small(),data,**bad)
    assert said in str(e.value)

def test_other_images_are_refused(small):
    with pytest.raises(ValueError,match="data: expected images"): fit(small(),pendulum(n=40,size=32),steps=1)

class Signalled(Wrapped):
    "A signal comes at the seventh step"
    def loss(self, *args, **kw):
        self.n += self.training
        if self.n==7: signal.raise_signal(self.signal)
        return self.model.loss(*args,**kw)

@pytest.mark.parametrize("name,error,status",[
    ("SIGINT",KeyboardInterrupt,None),("SIGTERM",SystemExit,143),("SIGHUP",SystemExit,129)])
def test_a_signal_ends_between_two_steps(small, data, tmp_path, name, error, status):
    if not hasattr(signal,name): pytest.skip(f"no {name} here")
    m = Signalled(small())
    m.signal = getattr(signal,name)
    with pytest.raises(error) as e: fit(m,data,steps=20,checkpoint=tmp_path/"ck",**QUIET)
    assert name!="SIGINT" or "at step 7" in str(e.value)
    assert getattr(e.value,"code",None)==status
    assert read_tensors(tmp_path/"ck")[1]["step"]==7
    assert [p.name for p in tmp_path.iterdir()]==["ck"]
    assert not m.training
    other,plain = Wrapped(small()),Wrapped(small())
    fit(plain,data,steps=20,**QUIET)
    Other = type("Signalled",(Wrapped,),{})   # a run is resumed by a model of the same class
    other = Other(small())
    fit(other,data,steps=20,checkpoint=tmp_path/"ck",resume=True,**QUIET)
    assert torch.equal(weights(other),weights(plain))

def test_two_runs_on_one_file(small, data, tmp_path):
    ck = tmp_path/"ck"
    def thief(run):
        if run.step==3:
            fit(small(1),data,steps=1,checkpoint=tmp_path/"other",**QUIET)
            os.replace(tmp_path/"other",ck)
    with pytest.raises(OSError,match="another run writes"):
        fit(small(),data,steps=9,checkpoint=ck,checkpoint_minutes=1e-9,callbacks=[thief],**QUIET)

def test_a_folder_that_goes_away(small, data, tmp_path):
    ck = tmp_path/"sub"/"ck"
    ck.parent.mkdir()
    def gone(run):
        if run.step==3:
            ck.unlink(missing_ok=True)
            ck.parent.rmdir()
        if run.step==6: ck.parent.mkdir()
    with pytest.warns(UserWarning,match="no checkpoint at step"):
        fit(small(),data,steps=9,checkpoint=ck,checkpoint_minutes=1e-9,callbacks=[gone],**QUIET)
    assert read_tensors(ck)[1]["step"]==9

def test_images_in_a_file_train_as_images_in_memory(small, data):
    byte = to_uint8(data.images)
    kept = [small(),small()]
    for m,images in zip(kept,(byte,StoredImages(byte.numpy()))):
        fit(m,CausalDataset(data.graph,images,data.labels,splits=data.index),steps=5,**QUIET)
    assert torch.equal(*map(weights,kept))
