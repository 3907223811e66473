"What tests share: small data and models, and a fresh process"
import os
import subprocess
import sys
from pathlib import Path
import matplotlib
import pytest
import torch
matplotlib.use("agg")
from causaldiffae.data.core import CausalDataset  # noqa: E402
from causaldiffae.graph import CausalGraph  # noqa: E402
from causaldiffae.model import CausalDiffAE  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
GRAPH = CausalGraph.from_edges("a->b")
QUICK = dict(steps=2,batch_size=8,warmup=1,progress=False,precision="fp32",validations=0)

def small(graph=GRAPH, shape=(1,16,16), **options):
    "A tiny model, always with the same weights"
    torch.manual_seed(0)
    return CausalDiffAE(graph,shape,widths=(32,32),**options)

@pytest.fixture
def pictures():
    "Forty images of noise and two labels each"
    g = torch.Generator().manual_seed(0)
    return torch.rand(40,1,16,16,generator=g)*2-1,torch.rand(40,2,generator=g)

@pytest.fixture
def toy(pictures): return CausalDataset(GRAPH,*pictures)

def python(code, **env):
    "What a program prints in a process of its own; its errors where it fails"
    r = subprocess.run([sys.executable,"-c",code],capture_output=True,text=True,env={**os.environ,**env},timeout=300)
    assert r.returncode==0,r.stderr
    return r.stdout.strip()

def shared(name):
    "A folder of real data beside the project, or in $CAUSALDIFFAE_DATA; the test is skipped, in words, where it is not"
    folder = Path(os.environ.get("CAUSALDIFFAE_DATA",ROOT.parent/"shared"/"data"))/name
    if not folder.exists(): pytest.skip(f"there is no {folder}")
    return folder
