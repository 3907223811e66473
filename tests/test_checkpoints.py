"Checkpoints: what makes two runs the same, where one can be written, and how signals are heard"
import signal
import pytest
import torch
from causaldiffae.checkpoints import check_place, check_same, data_digests, leave, signals
from causaldiffae.data.core import CausalDataset
from causaldiffae.data.pendulum import pendulum
from causaldiffae.model import CausalDiffAE
from causaldiffae.training import fit

def test_other_pictures_under_the_same_labels_are_noticed():
    data = pendulum(n=40,size=8,seed=0)
    d0 = data_digests(data.train)
    assert d0==data_digests(pendulum(n=40,size=8,seed=0).train)
    swap = data.images.clone()
    i,j = data.train.index[:2]
    swap[[i,j]] = swap[[j,i]]
    d1 = data_digests(CausalDataset(data.graph,swap,data.labels,splits=data.index).train)
    assert d1["labels"]==d0["labels"]
    assert d1["images"]!=d0["images"]

SAME = dict(lr=1e-3,budget=["steps",10])

@pytest.mark.parametrize("now,said",[
    (dict(SAME,lr=1.),"lr: expected 0.001 as in the run to resume, got 1.0"),
    (dict(SAME,budget=["steps",5]),"steps: expected at least 10 steps"),
    (dict(SAME,budget=["minutes",99]),"minutes: expected"),
    (dict(SAME,sigma=1),"sigma: expected"),
])
def test_another_run_is_named(now, said):
    check_same(SAME,SAME)
    check_same(SAME,dict(SAME,budget=["steps",20]))
    with pytest.raises(ValueError) as e: check_same(SAME,now)
    assert said in str(e.value)

def test_a_place_is_looked_at_before_the_work(tmp_path):
    check_place(tmp_path/"new",False)
    assert list(tmp_path.iterdir())==[]
    (tmp_path/"old").touch()
    check_place(tmp_path/"old",True)
    with pytest.raises(ValueError,match="resume=True"): check_place(tmp_path/"old",False)
    with pytest.raises(ValueError,match="existing folder"): check_place(tmp_path,False)
    with pytest.raises(ValueError,match="resume: expected"): check_place(None,True)

def test_signals_are_heard_and_given_back():
    class Stub: stop = 0
    before = signal.getsignal(signal.SIGTERM)
    with signals(Stub):
        signal.raise_signal(signal.SIGTERM)
        assert Stub.stop==signal.SIGTERM
        with pytest.raises(KeyboardInterrupt): signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM)==before
    with pytest.raises(SystemExit): leave(Stub,"kept")

def test_a_callable_ends_a_run():
    "As the page's answer says: a budget that is used up"
    data = pendulum(n=40,size=8,seed=0)
    torch.manual_seed(0)
    model = CausalDiffAE(data.graph,data.image_shape,latent_dim=2,widths=(32,32))
    def enough(run):
        if run.step==7: run.budget = {"steps":run.step}
    history = fit(model,data,steps=40,batch_size=8,validations=4,progress=False,callbacks=[enough])
    assert [h["step"] for h in history]==[]
    assert not model.training
