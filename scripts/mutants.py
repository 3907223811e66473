"""Break the package in many ways, one at a time, and see whether its tests notice: `python scripts/mutants.py`

Each mutant changes one line of a module and the same line of the notebook that exports it, in a copy of the tree, and
runs the tests named for that module until one fails: notebooks by nbdev_test, files of tests/ by pytest. It ends with
the mutants that live, and with status 1 if more than one in twenty does. `--only step` runs those of one module,
`--jobs 4` four at a time."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# module → the tests that should notice, the quickest first
TESTS = {
    "graph": ["nbs/00_graph.ipynb","tests/test_graph.py","tests/test_surroundings.py"],
    "scm": ["nbs/00b_scm.ipynb","tests/test_data.py"],
    "data/core": ["nbs/01_data.ipynb","tests/test_surroundings.py"],
    "schedule": ["nbs/02_schedule.ipynb","nbs/03a_sampling.ipynb"],
    "sampling": ["nbs/03a_sampling.ipynb"],
    "decoder": ["nbs/03b_decoder.ipynb","nbs/06_model.ipynb"],
    "unet": ["nbs/03_unet.ipynb"],
    "encoder": ["nbs/04_encoder.ipynb","tests/test_recipe.py","tests/test_cause.py"],
    "prior": ["nbs/05_prior.ipynb","tests/test_cause.py"],
    "model": ["tests/test_recipe.py","tests/test_style.py","nbs/06_model.ipynb","tests/test_model.py",
              "tests/test_cause.py","tests/test_warnings.py"],
    "step": ["nbs/06a_step.ipynb","nbs/07_training.ipynb","tests/test_training.py"],
    "checkpoints": ["tests/test_recipe.py","tests/test_checkpoints.py","tests/test_training.py",
                    "nbs/07_training.ipynb"],
    "training": ["tests/test_recipe.py","nbs/07_training.ipynb","tests/test_training.py","tests/test_warnings.py"],
    "style": ["tests/test_style.py","nbs/05c_style.ipynb"],
    "files": ["nbs/00d_files.ipynb","tests/test_surroundings.py"],
    "focus": ["nbs/05b_focus.ipynb"],
    "metrics": ["nbs/11_metrics.ipynb"],
    "realism": ["nbs/11c_realism.ipynb"],
    "representation": ["tests/test_representation.py","nbs/11a_representation.ipynb"],
}

# module, what stands there, what the mutant says
MUTANTS = [
    ("graph",'self._ordered(nx.descendants(','self._ordered(nx.ancestors('),
    ("graph",'for p in self._parents[v]]','for p in self._parents[v][:1]]'),
    ("graph",'if arrow in ("->","→") else (b,a)','if arrow in ("->","→") else (a,b)'),
    ("graph",'if not exact.isfinite().all(): raise','if False: raise'),
    ("graph",'nx.lexicographical_topological_sort(self._nx,key=self.names.index)','self.names'),
    ("scm",'if i in acts: v[name] = intervened(v[name],acts[i])','pass'),
    ("scm",'return v+values if action.kind=="shift"','return values if action.kind=="shift"'),
    ("data/core",'return 2*(y-lo).float()/(hi-lo).float()-1','return 2*(y-lo).float()/(hi-lo).float()'),
    ("data/core",'lo[i],hi[i] = 0,k-1','lo[i],hi[i] = 0,k'),
    ("schedule",'return a.sqrt()*x_0 + (1-a).sqrt()*eps','return a.sqrt()*x_0 + (1-a)*eps'),
    ("schedule",'return a.sqrt()*eps - (1-a).sqrt()*x_0','return a.sqrt()*eps + (1-a).sqrt()*x_0'),
    ("schedule",'return torch.where(t<0, 1.,','return torch.where(t<0, 0.9999,'),
    ("schedule",'dtype=torch.float64)*1000/T','dtype=torch.float64)'),
    ("schedule",'return a*x_t-b*out, b*x_t+a*out','return a*x_t-b*out, b*x_t-a*out'),
    ("sampling",'mid = p+(phi[i+1]-phi[i])/(2*(phi[i]-phi[i-1]))*(p-p_last)','mid = p'),
    ("sampling",'x = moved(x_last,(p_last+p)/2,phi[i-1],phi[i])','pass'),
    ("sampling",'return torch.cat([x,below-moved(x,see(x,n),phi[n],phi[n-1])],1)','return torch.cat([x,0*x],1)'),
    ("sampling",'x = a.sqrt()*x_0+(1-a).sqrt()*eps','x = a.sqrt()*x_0+(1-a).sqrt()*x'),
    ("sampling",'last=round(self.start*schedule.T)-1','last=schedule.T-1'),
    ("decoder",'x,generator)*self.schedule.T).long()','x,generator)*self.schedule.T/2).long()'),
    ("decoder",'x,generator)<self.drop','x,generator)<0'),
    ("decoder",'if hidden is not None: null = null|hidden','pass'),
    ("decoder",'return guidance*with_z+(1-guidance)*without','return guidance*with_z-(1-guidance)*without'),
    ("decoder",'return route.up(self.denoiser(z),x,self.schedule)',
     'return route.up(self.denoiser(None),x,self.schedule)'),
    ("unet",'return c if drop is None else torch.where(drop[:,None],self.null.to(c.dtype),c)','return c'),
    ("unet",'return self.gain(e)[:,:,None,None]*x + self.out(','return self.out('),
    ("encoder",'unflatten(1,parents.shape)*mask','unflatten(1,parents.shape)'),
    ("encoder",'z = torch.where(self.number,z.mean(-1,keepdim=True),z)','pass'),
    ("encoder",'for level in self.levels:','for level in [[i for l in self.levels for i in l]]:'),
    ("encoder",'return torch.where(own,top,below)-logits','return torch.where(own,top,g)-logits'),
    ("encoder",'z_level[:,k] = v if acts[i].kind=="set" else z_level[:,k]+v','z_level[:,k] = v'),
    ("encoder",'return known&(known[:,self.parents]|(self.mask[...,0]==0)).all(-1)','return known'),
    ("encoder",'return f,0.05+0.95*F.softplus(','return f,1+0*F.softplus('),
    ("prior",'r = 2*math.log(prior_std)-logvar','r = math.log(prior_std)-logvar'),
    ("prior",'return (kl_normal(z,logvar,mean,self.sigma)*known).flatten(1).sum(1)',
     'return (kl_normal(z,logvar,mean,1.)*known).flatten(1).sum(1)'),
    ("prior",'((z-f)/s,logvar-2*s.log())','((z-f)/s,logvar)'),
    ("prior",'y[...,i] = z[...,i,:k].argmax(-1).to(y)','y[...,i] = z[...,i,:k].argmin(-1).to(y)'),
    ("model",'return torch.where(whole,v,v.detach().lerp(v,0.01))','return v'),
    ("model",'z = z+(logvar/2).exp()*drawn(torch.randn,z.shape,x,generator)','pass'),
    ("model",'if known is not None: z = torch.where(known.isnan(),z,known)','pass'),
    ("model",'follow = {d for v in done for d in graph.descendants(v)}-done','follow = set()'),
    ("model",'simple+kl_weight*self.gamma/x[0].numel()*(kl_u+kl_z)','simple+self.gamma/x[0].numel()*(kl_u+kl_z)'),
    ("model",'kl_weight*self.gamma/x[0].numel()*(kl_u+kl_z)','kl_weight*self.gamma*(kl_u+kl_z)'),
    ("model",'options["gamma"] *= math.prod(config["image_shape"])','pass'),
    ("model",'if self.learn=="labels" and self.hide: z = blanked(z,self._some(z,generator))','pass'),
    ("model",'[(w-1,self._shown(blanked(z,hidden[v]),r))','[(w,self._shown(blanked(z,hidden[v]),r))'),
    ("style",'r,nats = s-g.detach(),','r,nats = s*1.,'),
    ("style",'(self.read(x)-self.said(z.flatten(1)))/self.sd','self.read(x)/self.sd'),
    ("style",'(self.read(x)-self.said(z.flatten(1)))/self.sd','self.read(x)-self.said(z.flatten(1))'),
    ("style",'return F.batch_norm(r,None,None,training=True),','return r,'),
    ("style",'((s.detach()-g)/sd)','((s-g)/sd)'),
    ("model",'if missed: total = total+0.1*missed["style"]','pass'),
    ("model",'return r+self.style.width*noise,','return r,'),
    ("model",'r = None if self.style is None else self.style(x,z)',
     'r = None if self.style is None else 0*self.style(x,z)'),
    ("decoder",'said+sum(w*(said-o) for','said+sum(w*(o-said) for'),
    ("model",'dict(mechanisms="additive",learn="reading",focus=0.,hide=0.,style=0)',
     'dict(mechanisms="gumbel",learn="reading",focus=0.,hide=0.,style=0)'),
    ("model",'pixel_weights(label_maps(data),self.focus)','pixel_weights(label_maps(data),0.)'),
    ("decoder",'return (self.weight*(self.net(x_t,t,z,null)-target)**2).mean()',
     'return ((self.net(x_t,t,z,null)-target)**2).mean()'),
    ("focus",'gains.append(torch.where(gain>by_chance,gain-q,0.))','gains.append(gain)'),
    ("focus",'if j not in group]','if j in group]'),
    ("focus",'for w in (v,*graph.descendants(v))} for v in','for w in (v,)} for v in'),
    ("focus",'return F.max_pool2d(found*(near>2.5),5,1,2)','return found'),
    ("focus",'each = (seen/seen.mean((1,2),keepdim=True))','each = seen'),
    ("focus",'return (w/w.mean()).float()','return w.float()'),
    ("sampling",'steps,times = len(timesteps)-1,closer(timesteps)','steps,times = len(timesteps)-1,timesteps'),
    ("sampling",'**power','**(1/power)'),
    ("sampling",'x_t,said = factual.pop()','x_t,said = factual.pop(0)'),
    ("sampling",'return difference*torch.maximum(power(here,error),power(faint,error/3))','return difference'),
    ("model",'return torch.where(seen,x,factual+shrunk(x-factual,8.))','return x'),
    ("model",'those = [o._replace(values=o.values[own.to(o.values.device)]) for o in acts]',
     'those = [o._replace(values=o.values[:1]) for o in acts]'),
    ("step",'norm = run.procs.clip(list(run.model.parameters()),run.clip)',
     'norm = run.procs.clip(list(run.model.parameters()),1e9)'),
    ("step",'torch._foreach_lerp_(averaged,live,1-min(run.ema,(1+n)/(10+n)))','torch._foreach_lerp_(averaged,live,1.)'),
    ("step",'return lambda step: min(1,(step+1)/(warmup+1))*fall()','return lambda step: fall()'),
    ("step",'fall = lambda: 0.01+0.99*0.5*(1+math.cos(math.pi*min(1.,run.done())))','fall = lambda: 1.'),
    ("step",'run.scaler.scale(part["total"]/run.accumulate).backward()','run.scaler.scale(part["total"]).backward()'),
    ("step",'run.bad = torch.where(good|(run.bad>=0),run.bad,run.step)','pass'),
    ("step",'known = ~labels.isnan().all(1)','known = ~labels.isnan().any(1)'),
    ("checkpoints",'run.opt.load_state_dict(saved)','pass'),
    ("checkpoints",'if was[k]!=v and k!="budget":','if False:'),
    ("checkpoints",'if run.stop==signal.SIGINT: raise KeyboardInterrupt(where)','raise KeyboardInterrupt(where)'),
    ("checkpoints",'valid = validation_loss(run.averaged.module,','valid = validation_loss(run.model,'),
    ("training",'run.averaged.module.parameters()): p.copy_(q)','run.averaged.module.parameters()): pass'),
    ("training",'if found: check_same(state["same"],same)','pass'),
    ("training",'if hasattr(model,"prepare"): model.prepare(data)','pass'),
    ("files",'os.replace(part,path)','shutil.copy(part,path)'),
    ("files",'if not same:','if False:'),
    ("files",'if k not in self.unknown_allowed and not v.isfinite().all():','if False:'),
    ("metrics",'return Estimate(v.mean().item(),*_interval','return Estimate(v.median().item(),*_interval'),
    ("metrics",'torch.tensor([0.025,0.975]','torch.tensor([0.05,0.95]'),
    ("metrics",'return means.gather(1,runs).mean(1)','return means.mean(1)'),
    ("metrics",'(v.mean()/b.mean()).item()','(v/b).mean().item()'),
    ("metrics",'pixel_error(answer,true),','pixel_error(answer,factual),'),
    ("metrics",'.abs()*127.5>least).any(1','.abs()*127.5>least).all(1'),
    ("metrics",'(off*mask).flatten(1).sum(1)/mask.flatten(1).sum(1)','(off*mask).flatten(1).mean(1)'),
    ("metrics",'off = (a-b).abs().mean(1,keepdim=True)*127.5','off = (a-b).abs().sum(1,keepdim=True)*127.5'),
    ("metrics",'(error[:,i]>0.5).double()','error[:,i]'),
    ("metrics",'error = (y-true).abs()','error = y-true'),
    ("metrics",'for d in (v,*graph.descendants(v))}','for d in (v,*graph.parents(v))}'),
    ("metrics",'return pixel_error(again,x)','return pixel_error(x,x)'),
    ("metrics",'return pixel_error(back,x)','return pixel_error(back,back)'),
    ("metrics",'return x-around','return x'),
    ("metrics",'stays = (~mask).expand_as(answer)','stays = mask.expand_as(answer)'),
    ("metrics",'return (t-mean[:,None,None,None])*stays','return t*stays'),
    ("metrics",'tail = (1-check_number("level",level,0,1))/2','tail = 1-check_number("level",level,0,1)'),
    ("metrics",'held = ((lo<=true)&(true<=hi))','held = ((lo<=true)|(true<=hi))'),
    ("metrics",'(mean1-mean2)**2)/logvar2.exp()','(mean1-mean2)**2)*logvar2.exp()'),
    ("metrics",'return ((logvar2-logvar1+spread-1)/2).sum(-1)','return ((logvar1-logvar2+spread-1)/2).sum(-1)'),
    ("metrics",'nearer = share(to_asked<=div','nearer = share(to_asked<div'),
    ("metrics",'farther = share(to_own>=div','farther = share(to_own>div'),
    ("metrics",'return (nearer.exp()+farther.exp()).log()','return (nearer.exp()-farther.exp()).abs().log()'),
    ("metrics",'(~of.isnan()).double().sum(1)','of.shape[1]'),
    ("realism",'mixed = torch.linalg.eigvalsh(root@d@root)','mixed = torch.linalg.eigvalsh((root*root)@d)'),
    ("realism",'-2*mixed).item()','-mixed).item()'),
    ("realism",'kernel = lambda a,b: (a@b.T/a.shape[1]+1)**3','kernel = lambda a,b: (a@b.T+1)**3'),
    ("realism",'return (k.sum()-k.trace())/(len(a)*(len(a)-1))','return k.mean()'),
    ("representation",'per_code = 1+(P','per_code = 1-(P'),
    ("representation",'np.log(R.shape[1])','np.log(R.shape[0])'),
    ("representation",'disentanglement(R),disentanglement(R.T)','disentanglement(R.T),disentanglement(R)'),
    ("representation",'best = np.sort(matrix,axis=0)','best = np.sort(matrix,axis=1)'),
    ("representation",'nats/discrete_information(target,target)','nats'),
    ("representation",'(largest.mean()-1/m)/(1-1/m)','largest.mean()'),
    ("representation",'compact = concentration(nmi[on].T)','compact = concentration(nmi[on])'),
    ("representation",'correlation(block,f[:,[j]])**2','correlation(block,f[:,[j]])'),
    ("representation",'return float(R[i,j].sum()/f.shape[1])','return float(R[i,j].sum())'),
    ("representation",'maximize=True','maximize=False'),
    ("representation",'weights=widest[used]','weights=None'),
    ("representation",'joint.sum(1,keepdims=True)*joint.sum(0,keepdims=True)','joint.sum(1,keepdims=True)'),
    ("representation",'mean+np.exp(logvar/2)*eps','mean+np.exp(-logvar/2)*eps'),
    ("representation",'mean.var(0)>','mean.var(0)<'),
    ("representation",'1-loss/discrete_information(at,at)','1-loss'),
]

def notebook_of(module):
    "The notebook that exports a module"
    for line in (ROOT/"causaldiffae"/f"{module}.py").read_text(encoding="utf-8").split("\n"):
        if line.startswith("# %% ../"): return "nbs/"+line.split("nbs/")[1].split()[0]

def replaced_once(path, before, after):
    "Change the one place where `before` stands"
    text = path.read_text(encoding="utf-8")
    if text.count(before)!=1: raise SystemExit(f"{path.name}: {text.count(before)} places hold {before!r}, not one")
    path.write_text(text.replace(before,after),encoding="utf-8")

def lives(mutant):
    "Name of the test that noticed, or None"
    module,before,after = mutant
    quoted = [json.dumps(v,ensure_ascii=False)[1:-1] for v in (before,after)]
    with tempfile.TemporaryDirectory() as home:
        tree = Path(home)/"tree"
        kept = shutil.ignore_patterns(".git","__pycache__","_docs","_proc",".ipynb_checkpoints")
        shutil.copytree(ROOT,tree,ignore=kept)
        replaced_once(tree/"causaldiffae"/f"{module}.py",before,after)
        replaced_once(tree/notebook_of(module),*quoted)
        env = {**os.environ,"PYTHONPATH":str(tree),"OMP_NUM_THREADS":"1","PYTHONDONTWRITEBYTECODE":"1"}
        for test in TESTS[module]:
            run = ["nbdev_test","--path",test,"--n_workers","0"] if test.endswith("ipynb") else ["pytest","-xq",test]
            if subprocess.run(run,cwd=tree,env=env,capture_output=True).returncode: return test
    return None

def main():
    p = argparse.ArgumentParser(description=__doc__,formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only",choices=TESTS)
    p.add_argument("--jobs",type=int,default=2)
    a = p.parse_args()
    chosen,alive = [m for m in MUTANTS if a.only in (None,m[0])],[]
    with ThreadPoolExecutor(a.jobs) as pool:
        start = time.perf_counter()
        for m,found in zip(chosen,pool.map(lives,chosen)):
            print(f"{time.perf_counter()-start:6.0f} s  {found or 'LIVES':32}  {m[0]}: {m[1]}  →  {m[2]}",flush=True)
            if not found: alive.append(m)
    print(f"{len(chosen)-len(alive)} of {len(chosen)} mutants noticed")
    sys.exit(len(alive)*20>len(chosen))

if __name__=="__main__": main()
