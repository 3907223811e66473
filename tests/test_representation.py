"The scores of a representation against the papers' formulas, written out once more with loops and nothing shared"
import math
import numpy as np
import pytest
import torch
from causaldiffae.representation import (
    active_units, binned, concentration, dci, discrete_information, disentanglement, infomec, information, irs, mcc,
    mig, representation_scores, sampled, sap,
)

def entropy_of_shares(numbers, base):
    "Entropy of numbers divided by their sum, to a base"
    total,h = sum(numbers),0.
    for n in numbers:
        if n>0: h -= n/total*math.log(n/total,base)
    return h

def dci_by_hand(R):
    "D and C of Eastwood & Williams 2018, section 2, from the importance R[code][factor]"
    k,m = len(R),len(R[0])
    everything = sum(R[i][j] for i in range(k) for j in range(m))
    D = C = 0.
    for i in range(k):
        row = [R[i][j] for j in range(m)]
        if sum(row)>0: D += sum(row)/everything*(1-entropy_of_shares(row,m))
    for j in range(m):
        column = [R[i][j] for i in range(k)]
        if sum(column)>0: C += sum(column)/everything*(1-entropy_of_shares(column,k))
    return D,C

def counted_information(a, b):
    "Mutual information of two lists of symbols, in nats"
    pairs,n = list(zip(a,b)),len(a)
    found = 0.
    for x,y in set(pairs):
        together = pairs.count((x,y))/n
        found += together*math.log(together/((a.count(x)/n)*(b.count(y)/n)))
    return found

def infomec_by_hand(nmi):
    "InfoM and InfoC of Hsu et al. 2023 from nmi[code][factor]; a code of none counts like one of all"
    k,m = len(nmi),len(nmi[0])
    rows = [max(r)/sum(r) if sum(r)>0 else 1/m for r in nmi]
    columns = [[nmi[i][j] for i in range(k)] for j in range(m)]
    columns = [max(c)/sum(c) if sum(c)>0 else 1/k for c in columns]
    return (sum(rows)/k-1/m)/(1-1/m),(sum(columns)/m-1/k)/(1-1/k)

@pytest.fixture(params=range(2))
def world(request):
    "Two hundred rows of three factors, five codes that mix them"
    return mixture(request.param)

def mixture(seed):
    "Factors and codes of one such world"
    rng = np.random.default_rng(seed)
    factors = rng.integers(0,4,(200,3))*[1.,10.,-3.]
    mixing = rng.normal(size=(3,5))*(rng.random((3,5))<0.6)
    return factors,np.round(factors/[1.,10.,-3.]@mixing+0.3*rng.normal(size=(200,5)),2)

@pytest.mark.parametrize("regressor",["trees","forest","lasso"])
def test_dci_is_the_papers(world, regressor):
    factors,codes = world
    r = dci(codes,factors,regressor=regressor)
    assert r[:2]==pytest.approx(dci_by_hand(r.importance.tolist()),abs=1e-6)

@pytest.mark.parametrize("shape",[(2,2),(3,7),(7,3),(40,5)])
def test_any_matrix(shape):
    R = np.random.default_rng(0).random(shape)**4
    R[0] = 0
    D,C = dci_by_hand(R.tolist())
    assert disentanglement(R)==pytest.approx(D,abs=1e-9)
    assert disentanglement(R.T)==pytest.approx(C,abs=1e-9)
    assert abs(D-C)>1e-3

def test_mig_is_the_papers(world):
    factors,codes = world
    cut = np.stack([binned(c,6) for c in codes.T],1)
    gaps = []
    for j in range(3):
        f = factors[:,j].tolist()
        found = sorted(counted_information(cut[:,i].tolist(),f) for i in range(5))
        gaps.append((found[-1]-found[-2])/counted_information(f,f))
    assert mig(codes,factors,bins=6)==pytest.approx(sum(gaps)/3,abs=1e-6)

def test_information_by_counting(world):
    factors,_ = world
    a,b = (binned(f,20) for f in factors.T[:2])
    assert discrete_information(a,b)==pytest.approx(counted_information(a.tolist(),b.tolist()),abs=1e-9)

def test_infomec_is_the_papers(world):
    factors,codes = world
    r = infomec(codes,factors)
    on = np.ptp(codes,axis=0)>np.ptp(codes,axis=0).max()/20
    modular,compact = infomec_by_hand(r.nmi[on].tolist())
    assert r.modularity==pytest.approx(modular,abs=1e-6)
    assert r.compactness==pytest.approx(compact,abs=1e-6)
    x = np.column_stack([codes,np.ones(len(codes))])
    share = [1-((x@np.linalg.lstsq(x,f,rcond=None)[0]-f)**2).sum()/((f-f.mean())**2).sum() for f in factors.T]
    assert r.explicitness==pytest.approx(np.mean(share),abs=1e-6)

def test_explicitness_of_a_category(world):
    "The loss of the best softmax of a linear map, found by another optimiser, over the entropy"
    from scipy.optimize import minimize
    factors,codes = world
    x = np.column_stack([(codes-codes.mean(0))/np.where(codes.std(0)>0,codes.std(0),1),np.ones(len(codes))])
    share = []
    for f in factors.T:
        at = np.unique(f,return_inverse=True)[1]
        def loss(w, at=at):
            logits = x@w.reshape(x.shape[1],-1)
            logits -= logits.max(1,keepdims=True)
            p = np.exp(logits)/np.exp(logits).sum(1,keepdims=True)
            slope = p.copy()
            slope[np.arange(len(at)),at] -= 1
            return -np.log(p[np.arange(len(at)),at]).mean(),(x.T@slope/len(at)).ravel()
        best = minimize(loss,np.zeros(x.shape[1]*4),jac=True,method="BFGS",options=dict(maxiter=2000,gtol=1e-7)).fun
        share.append(1-best/counted_information(at.tolist(),at.tolist()))
    assert infomec(codes,factors,(0,1,2)).explicitness==pytest.approx(np.mean(share),abs=1e-6)

def test_infomec_measures_as_its_authors(world):
    "Ten neighbours of a standardised code, over the entropy of the factor"
    from sklearn.feature_selection import mutual_info_classif
    factors,codes = world
    nmi = infomec(codes,factors).nmi
    for j in range(3):
        f = np.unique(factors[:,j],return_inverse=True)[1]
        h = counted_information(f.tolist(),f.tolist())
        for i in range(5):
            if len(np.unique(codes[:,i]))<=20: continue
            x = (codes[:,[i]]-codes[:,i].mean())/codes[:,i].std()
            theirs = mutual_info_classif(x,f,discrete_features=False,n_neighbors=10,random_state=0)[0]/h
            assert nmi[i,j]==pytest.approx(theirs,abs=1e-6)

def test_sap_and_mcc_are_the_papers(world):
    from itertools import permutations
    factors,codes = world
    codes = codes[:,codes.std(0)>0]
    k = codes.shape[1]
    r = np.array([[np.corrcoef(codes[:,i],factors[:,j])[0,1] for j in range(3)] for i in range(k)])
    gaps = [np.diff(sorted(r[:,j]**2)[-2:])[0] for j in range(3)]
    assert sap(codes,factors)==pytest.approx(np.mean(gaps),abs=1e-9)
    best = max(sum(abs(r[p[j],j]) for j in range(3))/3 for p in permutations(range(k),3))
    assert mcc(codes,factors)==pytest.approx(best,abs=1e-9)

def test_irs_is_the_papers(world):
    factors,codes = world
    widest = [max(abs(c-c.mean())) for c in codes.T]
    total = 0.
    for i in range(5):
        scores = []
        for j in range(3):
            groups = [codes[factors[:,j]==v,i] for v in sorted(set(factors[:,j]))]
            scores.append(1-np.mean([max(abs(g-g.mean())) for g in groups])/widest[i])
        total += widest[i]*max(scores)
    assert irs(codes,factors,quantile=1)==pytest.approx(total/sum(widest),abs=1e-9)

def test_tensors_blocks_and_unknown_labels(world):
    factors,codes = world
    some = factors.copy()
    some[5:9,2] = np.nan
    known = ~np.isnan(some).any(1)
    assert mig(torch.tensor(codes),torch.tensor(some))==pytest.approx(mig(codes[known],factors[known]),abs=1e-12)
    for score in (mig,sap,mcc,irs): assert score(codes[:,:,None],factors)==pytest.approx(score(codes,factors),abs=1e-9)
    assert information(codes[:,:,None],factors)==pytest.approx(information(codes,factors),abs=1e-9)
    assert dci(codes[:,:4].reshape(200,2,2),factors).importance.shape==(2,3)

def test_the_same_seed_the_same_scores():
    factors,codes = mixture(0)
    once,again = (representation_scores(codes,factors,(2,),seed=3) for _ in range(2))
    assert once==again
    assert all(0<=v<=1+1e-9 for v in once.values())

def test_units():
    mean = np.random.default_rng(0).normal(size=(500,2,3))*[1.,0.2,0.05]
    assert active_units(mean).tolist()==[[True,True,False]]*2
    assert active_units(torch.tensor(mean),threshold=0.1).sum()==2
    assert sampled(mean,np.full(mean.shape,-60.))==pytest.approx(mean,abs=1e-9)

def test_shares():
    nmi = np.random.default_rng(0).random((4,3))
    assert (concentration(nmi),concentration(nmi.T))==pytest.approx(infomec_by_hand(nmi.tolist()),abs=1e-12)
