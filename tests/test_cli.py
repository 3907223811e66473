"The commands: what they refuse and how they say so, what a folder or a file may hold, interruptions, full disks"
import contextlib
import contextvars
import errno
import importlib.util
import io
import json
import os
import runpy
import shlex
import subprocess
import sys
import warnings
import zipfile as Z
from pathlib import Path
from unittest.mock import patch as patched
import numpy as np
import pytest
import torch
from PIL import Image as PIL
from fastcore.test import ExceptionExpected, test_close as close, test_eq as eq, test_fail as fails
from causaldiffae.cli import _check_out, _command, _demonstrate, _denoiser, _write, find_model, read_do, read_images
from causaldiffae.data.circuit import circuit_graph
from causaldiffae.data.pendulum import pendulum
from causaldiffae.images import from_uint8, to_uint8
from causaldiffae.model import Abducted, CausalDiffAE

@pytest.fixture(scope="module")
def data(): return pendulum(n=200,seed=1)

@pytest.fixture(scope="module")
def model(): return CausalDiffAE.from_pretrained("pendulum")

@pytest.fixture(scope="module")
def work(tmp_path_factory, data, model):
    "A folder with images, as an array and as pictures, grey images, and a model"
    work = tmp_path_factory.mktemp("cli")
    images = to_uint8(data.test.images[:16]).numpy()
    np.savez(work/"images.npz",images=images)
    model.save(work/"m.safetensors")
    (work/"folder").mkdir()
    for k in range(3): PIL.fromarray(images[k]).save(work/"folder"/f"{k}.png")
    np.savez(work/"grey.npz",images=np.zeros((2,28,28),dtype=np.uint8))
    return work

@pytest.fixture(scope="module")
def run(work):
    def run(line, **env):
        "A command line as the installed script runs it, in this process: (status, stdout, stderr)"
        args = shlex.split(line.format(w=work))
        script = str(Path(sys.executable).with_name(args[0]))
        out,err,status = io.StringIO(),io.StringIO(),0
        with patched.object(sys,"argv",[script,*args[1:]]), patched.dict(os.environ,env), \
             contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try: contextvars.Context().run(runpy.run_path,script,run_name="__main__")
            except SystemExit as e: status = 0 if e.code is None else e.code if isinstance(e.code,int) else 1
        return status,out.getvalue(),err.getvalue()
    return run

@pytest.fixture(scope="module")
def refused(work, run):
    def refused(line, say, status=1):
        "The command ends with one line that says so, and writes nothing"
        before = sorted(work.rglob("*"))
        got,_,err = run(line)
        assert (got,err.count("\n"))==(status,1),err
        assert err.startswith(line.split()[0]+": ")
        assert say in err,err
        assert sorted(work.rglob("*"))==before
    return refused

def test_faults_are_one_line():
    def failing(e):
        def f(): raise e
        err = io.StringIO()
        with contextlib.redirect_stderr(err), ExceptionExpected(SystemExit): _command(f)()
        return err.getvalue()
    eq(failing(ValueError("a:\n  b")),"f: a: b\n")
    eq(failing(KeyboardInterrupt()),"f: interrupted\n")
    eq(failing(MemoryError()),"f: out of memory\n")
    eq(failing(OSError(errno.ENOSPC,"No space left on device","x.npz")),"f: x.npz: No space left on device\n")
    # a fault of ours is not hidden
    with ExceptionExpected(ZeroDivisionError): _command(lambda: 1/0)()

def test_files_are_whole_or_not_at_all(tmp_path):
    d = str(tmp_path)
    p = Path(d)/"a"
    _write(p,b"old")
    eq(p.read_bytes(),b"old")
    _write(p,b"new")
    eq(p.read_bytes(),b"new")
    with patched("os.fsync",side_effect=OSError(errno.ENOSPC,"full")), ExceptionExpected(OSError): _write(p,b"half")
    # a full disk: the old file stays, nothing is left behind
    eq((p.read_bytes(),os.listdir(d)),(b"new",["a"]))
    eq(_check_out(p),p)
    eq(os.listdir(d),["a"])
    for bad, say in (
        (None, "got nothing"),
        (d, "got the folder"),
        (f"{d}/no/b", "No such file"),
        (f"{p}/b", "Not a directory"),
    ):
        fails(lambda: _check_out(bad), contains=say)

def test_interventions_as_one_says_them():
    eq(read_do("digit=7,light=80",["digit"]),dict(digit="7",light=80.))
    fails(lambda: read_do("digit=7,digit=8",["digit"]),contains="twice")
    eq(read_do("light=80,angle=-10"),dict(light=80.,angle=-10.))
    eq(read_do(" t = 1e1 "),dict(t=10.))
    for bad, say in (
        ("", "got ''"),
        (None, "got None"),
        ("light", "expected variable=number"),
        ("=3", "expected variable=number"),
        ("light=80,", "expected variable=number"),
        ("light=", "a number for light"),
        ("light=eighty", "'eighty'"),
        ("light=80=90", "'80=90'"),
        ("light=nan", "finite"),
        ("light=inf", "finite"),
        ("light=1,light=2", "twice"),
    ):
        fails(lambda: read_do(bad), contains=say)
    fails(lambda: find_model("moon"),contains="no file 'moon'")
    fails(lambda: find_model("moon"),contains="pendulum")
    fails(lambda: find_model("no/such.safetensors"),contains="no file")

RNG = np.random.default_rng(0)
GREY,COLOUR = RNG.integers(0,256,(3,6,8),dtype=np.uint8),RNG.integers(0,256,(3,6,8,3),dtype=np.uint8)

def test_images_in_an_array(tmp_path):
    d,grey,colour = tmp_path,GREY,COLOUR
    def npz(**arrays):
        np.savez(d/"a.npz",**arrays)
        return d/"a.npz"
    eq(read_images(npz(images=grey),(1,6,8)),(grey,None))
    eq(read_images(npz(images=grey[...,None]),(1,6,8))[0],grey[...,None])
    eq(read_images(npz(images=colour),(3,6,8))[0],colour)
    bad = lambda say,**arrays: fails(lambda: read_images(npz(**arrays),(1,6,8)),contains=say)
    bad("no array named images",pictures=grey)
    bad("expected uint8",images=grey/255)
    bad(
        "a.npz: expected images of 6×8×1 (height, width, channels), as the model was trained on, got 6×8×3",
        images=colour,
    )
    bad("expected images of 6×8×1",images=grey[:,:5])
    fails(
        lambda: read_images(npz(images=grey), (3, 6, 8)),
        contains="6×8×3 (height, width, channels), as the model was trained on, got 6×8",
    )
    bad("at least one",images=grey[:0])
    bad("got shape (6, 8)",images=grey[0])
    bad("not an .npz file",images=np.array([{"a":1}],dtype=object))
    for content in (b"",b"hello",npz(images=grey).read_bytes()[:-30],b"PK\x03\x04"+bytes(50)):
        (d/"b.npz").write_bytes(content)
        fails(lambda: read_images(d/"b.npz",(1,6,8)),contains="not an .npz file")
    np.save(d/"c.npy",grey)
    fails(lambda: read_images(d/"c.npy",(1,6,8)),contains="not an .npz file")
    fails(lambda: read_images(d/"none.npz",(1,6,8)),contains="no file or folder")
    broken = bytearray(npz(images=grey).read_bytes())
    broken[broken.index(grey.tobytes()[:16])+5] ^= 255
    (d/"b.npz").write_bytes(broken)
    # one changed bit among the pixels
    fails(lambda: read_images(d/"b.npz",(1,6,8)),contains="CRC")
    good = npz(images=grey).read_bytes()
    (d/"z.npz").unlink(missing_ok=True)
    with Z.ZipFile(d/"z.npz","w") as z: z.writestr("images.npy",b"not an array")
    fails(lambda: read_images(d/"z.npz",(1,6,8)),contains="not an .npz file",exc=ValueError)
    at = good.index(b"PK\x01\x02")
    deflate64 = bytearray(good)
    deflate64[8:10] = deflate64[at+10:at+12] = b"\x09\x00"
    locked = bytearray(good)
    locked[6] |= 1
    locked[at+8] |= 1
    for b in (deflate64,locked):
        (d/"b.npz").write_bytes(b)
        fails(lambda: read_images(d/"b.npz",(1,6,8)),contains="not an .npz file",exc=ValueError)

def test_pictures_in_a_folder(tmp_path):
    d,grey,colour = tmp_path,GREY,COLOUR
    f = d/"folder"
    f.mkdir()
    fails(lambda: read_images(f,(1,6,8)),contains="got none")
    for k in (2,0,1): PIL.fromarray(grey[k]).save(f/f"{k}.png")
    (f/"notes.txt").write_text("not a picture")
    # in the order of the names
    eq(read_images(f,(1,6,8)),(grey,["0.png","1.png","2.png"]))
    def other(file, say, im, shape, **k):
        im.save(f/file,**k)
        fails(lambda: read_images(f,shape),contains=f"{f/file}: expected {shape[2]} by {shape[1]} pixels, {say}")
        (f/file).unlink()
    eq(read_images(f,(3,6,8))[0],np.stack([grey]*3,-1))
    fails(
        lambda: read_images(f, (4, 6, 8)),
        contains="0.png: expected 8 by 6 pixels, RGB and transparency, as the model was trained on, got 8 by 6, grey",
    )
    fails(lambda: read_images(f,(3,8,6)),contains="0.png: expected 6 by 8 pixels, RGB")
    fails(
        lambda: read_images(f, (1, 8, 6)),
        contains="expected 6 by 8 pixels, grey, as the model was trained on, got 8 by 6, grey",
    )
    rgb = PIL.fromarray(colour[0])
    mask = PIL.fromarray(grey[0])
    other("3.JPG","grey, as the model was trained on, got 8 by 6, RGB",rgb,(1,6,8))
    other("3.png","grey, as the model was trained on, got 8 by 6, RGB",rgb.quantize(9),(1,6,8))
    other("3.png","grey, as the model was trained on, got 9 by 6, RGB",rgb.resize((9,6)),(1,6,8))
    other(
        "3.png",
        "grey, as the model was trained on, got 8 by 6, grey and transparency",
        PIL.merge("LA", (mask, mask)),
        (1, 6, 8),
    )
    other("3.png","grey, as the model was trained on, got 8 by 6, grey and transparency",mask,(1,6,8),transparency=7)
    for p in f.glob("*.png"): p.unlink()
    other(
        "0.png",
        "RGB, as the model was trained on, got 8 by 6, RGB and transparency",
        PIL.merge("RGBA", (*rgb.split(), mask)),
        (3, 6, 8),
    )
    other(
        "0.png",
        "RGB, as the model was trained on, got 8 by 6, RGB and transparency",
        rgb.quantize(9),
        (3, 6, 8),
        transparency=0,
    )
    other("0.png","RGB and transparency, as the model was trained on, got 8 by 6, RGB",rgb,(4,6,8))
    # a palette of colours is colour
    few = rgb.quantize(48)
    few.save(f/"0.png")
    rgb.save(f/"1.png")
    eq(read_images(f,(3,6,8))[0],np.stack([np.asarray(few.convert("RGB")),colour[0]]))
    (f/"1.png").unlink()
    PIL.merge("RGBA",(*rgb.split(),mask)).save(f/"0.png")
    eq(read_images(f,(4,6,8))[0][0],np.dstack([colour[0],grey[0]]))
    PIL.fromarray(grey[0]>99).save(f/"0.png")
    eq(read_images(f,(1,6,8))[0][0],(grey[0]>99)*np.uint8(255))
    for k in range(3): PIL.fromarray(grey[k]).save(f/f"{k}.png")
    for content,say in ((b"hello","cannot identify"),((f/"0.png").read_bytes()[:60],"4.png: ")):
        (f/"4.png").write_bytes(content)
        fails(lambda: read_images(f,(1,6,8)),contains=say)
    PIL.fromarray(grey[0].astype("uint16")).save(f/"4.png")
    fails(
        lambda: read_images(f, (1, 6, 8)),
        contains="expected grey or RGB of 8 bits a channel, got pixels of the kind 'I;16'",
    )
    PIL.fromarray(grey[0,:5]).save(f/"4.png")
    fails(lambda: read_images(f,(1,6,8)),contains="got 8 by 5")
    with patched.dict(sys.modules, {"PIL": None, "PIL.Image": None, "PIL.ImageOps": None}), ExceptionExpected(
        ImportError, regex=r"causaldiffae\[data\]"
    ):
        read_images(f, (1, 6, 8))
    for k in range(3): (f/f"{k}.png").unlink()
    for p in f.iterdir():
        if p.suffix!=".txt": p.unlink()
    # turned upright as for training
    turned = PIL.Exif()
    turned[0x0112] = 6
    PIL.fromarray(np.rot90(grey[0]).copy()).save(f/"0.png",exif=turned)
    eq(read_images(f,(1,6,8))[0][0],grey[0])
    np.save(f/"0.npy",grey[0])
    (f/"0.png").unlink()
    eq(read_images(f,(1,6,8))[0][0],grey[0])

@pytest.mark.filterwarnings("ignore:ω=")
def test_a_file_a_folder_and_options(work, run, model):
    x = from_uint8(np.load(work/"images.npz")["images"])
    # a file as the model, a folder as the images, several variables, options
    with warnings.catch_warnings():
        warnings.simplefilter("always")   # whatever another page silenced
        status,out,err = run("causaldiffae_counterfactual {w}/m.safetensors {w}/folder --do 'light=80,angle=-10'"
                             " --out {w}/b.npz --steps 4 --guidance 1.5")
    warnings.filterwarnings("ignore",message="ω=")
    eq((status,err.count("\n")),(0,1))
    assert "warning: ω=1.5 is not what training saw" in err
    assert "3 of 3 images" in out
    assert "(set)" in out
    with np.load(work/"b.npz") as f: saved = dict(f)
    eq(saved["files"].tolist(),["0.png","1.png","2.png"])
    close(saved["labels_after"][:,:2],np.array([[-10.,80.]]*3),eps=1e-3)
    close(
        saved["images"].astype(int),
        to_uint8(model.counterfactual(x[:3], dict(light=80.0, angle=-10.0), steps=4, guidance=1.5)).numpy().astype(int),
        eps=1.01,
    )
    # grey images without an axis for the channel come back without one
    eq(run("causaldiffae_counterfactual digits {w}/grey.npz --do intensity=200 --out {w}/b.npz --steps 2")[0],0)
    eq(np.load(work/"b.npz")["images"].shape,(2,28,28))

def test_outside_of_the_range_is_a_warning(run):
    # outside of the range of training: done, with a warning of one line
    status,_,err = run("causaldiffae_counterfactual pendulum {w}/images.npz --do light=200 --out {w}/b.npz --steps 2")
    eq(status,0)
    assert err.startswith("causaldiffae_counterfactual: warning: do sets light to 200")
    assert all(l.startswith("causaldiffae_counterfactual: warning: ") for l in err.splitlines())
    assert "training saw" in err

def test_questions_that_are_refused(work, run, refused):
    ask = "causaldiffae_counterfactual pendulum {w}/images.npz --out {w}/c.npz "
    refused(ask+"--do moon=1","got 'moon'")
    refused(ask+"--do light","variable=number")
    refused(ask+"--do light=bright","'bright'")
    refused(ask,"--do")
    refused(ask+"--do light=nan","finite")
    refused(ask+"--do light=80 --steps 0","steps")
    refused(ask.replace("--out {w}/c.npz","")+"--do light=80","--out: expected the file")
    refused(ask.replace("pendulum","moon")+"--do light=80","there is no file 'moon'")
    refused(ask.replace("images.npz","none.npz")+"--do light=80","there is no file or folder")
    refused(
        ask.replace("images.npz", "grey.npz") + "--do light=80",
        "expected images of 32×32×3 (height, width, channels), as the model was trained on, got 28×28",
    )
    refused(
        ask.replace("{w}/c.npz", "/proc/c.npz") + "--do light=80",
        "--out: expected a file in a folder that can be written to",
    )
    refused(ask.replace("{w}/c.npz","{w}/folder")+"--do light=80","got the folder")
    (work/"short.safetensors").write_bytes((work/"m.safetensors").read_bytes()[:-1000])
    refused(ask.replace("pendulum","{w}/short.safetensors")+"--do light=80","truncated")
    (work/"other.safetensors").write_bytes(b"not a model")
    refused(ask.replace("pendulum","{w}/other.safetensors")+"--do light=80","not safetensors")
    with patched("os.replace", side_effect=OSError(errno.ENOSPC, "No space left on device", "c.npz")):
        refused(ask + "--do light=80 --steps 1", "No space left")
    if os.geteuid():   # who may do everything cannot be refused
        (work/"shut").mkdir(mode=0o555)
        refused(ask.replace("c.npz","shut/c.npz")+"--do light=80","Permission denied")
        (work/"images.npz").chmod(0)
        refused(ask+"--do light=80","Permission")
        (work/"images.npz").chmod(0o644)
    for c in ("demo","train","counterfactual"):
        status,out,err = run(f"causaldiffae_{c} --help")
        eq((status,err),(0,""))
        assert f"usage: causaldiffae_{c}" in out
        assert "--out" in out
    # not a command line at all: argparse's own message and status
    eq(run("causaldiffae_counterfactual pendulum")[0],2)
    eq(run(ask+"--do light=80 --steps many")[0],2)
    eq(run(ask+"--speed 3")[0],2)
    # and once in a process of its own
    done = subprocess.run(shlex.split(ask.format(w=work))+["--do","moon=1"],capture_output=True,text=True)
    eq((done.returncode,done.stdout,done.stderr.count("\n")),(1,"",1))
    assert "got 'moon'" in done.stderr
    refused(
        "causaldiffae_counterfactual pendulum {w}/images.npz --do light=80 --out {w}/images.npz",
        "another file than those that are read",
    )
    exact = "causaldiffae_counterfactual pendulum {w}/images.npz --do light=80 --steps 2 --solver exact --out {w}/b.npz"
    eq(run(exact)[0],0)

def test_known_labels(work, run):
    # what is known is told: by a table that is named, or by the folder's own; what is not is read
    ask = "causaldiffae_counterfactual pendulum {w}/folder --do light=80 --steps 2 --out {w}/k.npz"
    def before_of(line):
        status,out,err = run(line)
        eq(status,0)
        with np.load(work/"k.npz") as f: return f["labels_before"],out
    read,out = before_of(ask)
    assert "have labels" not in out
    (work/"known.csv").write_text("angle,who,image\n12.5,me,1.png\n,me,2\n-20,me,0\n7,me,9.png\n")
    told,out = before_of(ask+" --labels {w}/known.csv")
    assert "2 of 3 images have labels in" in out
    close(told[:,0],np.array([-20.,12.5,read[2,0]]),eps=1e-3)
    close(told[:,1],read[:,1],eps=1e-3)
    (work/"folder"/"labels.csv").write_text("image,light\n0,100\n")
    own,out = before_of(ask)
    close(own[:,1],np.array([100.,*read[1:,1]]),eps=1e-3)
    close(before_of(ask+" --labels none")[0],read,eps=1e-3)
    (work/"folder"/"labels.csv").unlink()
    (work/"rows.csv").write_text("image,angle\n3,5\n")
    before_of(ask.replace("folder","images.npz")+" --labels {w}/rows.csv")
    with np.load(work/"k.npz") as f: close(f["labels_before"][3,0],5.,eps=1e-3)
    (work/"k.npz").unlink()
    wrong = {"image,angle\n0,high\n":"line 2 (angle): expected a number","angle\n1\n":"expected a column image",
             "image,moon\n0,1\n":"a column of angle, light","image,angle\nnobody,1\n":"labels of the images",
             "image,angle\n0,1\n0,2\n":"stands in line 2 already"}
    for table,say in wrong.items():
        (work/"bad.csv").write_text(table)
        status,_,err = run(ask+" --labels {w}/bad.csv")
        eq(status,1)
        assert say in err,err
    assert "no such file" in run(ask+" --labels {w}/nowhere.csv")[2]

TRAIN = "causaldiffae_train pendulum --n 120 --size 8 --minutes 0.01 --out {w}/t.safetensors"
TRAIN_OWN = ("causaldiffae_train {w}/own --graph 'kind->grey' --categories kind --size 8 --channels 1 --minutes 0.01"
             " --out {w}/own.safetensors")
ROWS = ["image,kind,grey,who"]+[f"{k}.png,{'abc'[k%3]},{40+40*(k%3)},me" for k in range(40)]

def test_trains(work, run, data):
    short = "causaldiffae_train pendulum --n 200 --size 16 --minutes 0.02 --out {w}/tiny.safetensors"
    eq(run(short)[0],0)
    tiny = CausalDiffAE.load(work/"tiny.safetensors")
    eq((tiny.image_shape,tiny.graph),((3,16,16),data.graph))
    assert not (work/"tiny.safetensors.checkpoint").exists()

def test_interrupted_and_resumed(work, run, refused):
    class Stop:
        "A user who presses Ctrl-C at the second step"
        def __init__(self, e): self.n,self.e,self.loss = 0,e,CausalDiffAE.loss
        def __call__(self, model, *args, **kw):
            self.n += 1
            if self.n==2: raise self.e
            return self.loss(model,*args,**kw)
    stop = Stop(KeyboardInterrupt())
    with patched.object(CausalDiffAE,"loss",lambda *a,**k: stop(*a,**k)): status,_,err = run(TRAIN)
    eq(status,130)
    assert "go on with --resume" in err.splitlines()[-1]
    assert "at step 1" in err
    assert (work / "t.safetensors.checkpoint").exists()
    assert not (work / "t.safetensors").exists()
    # what was done is not lost by mistake
    refused(TRAIN,"interrupted run")
    refused(TRAIN+" --resume --seed 1","seed: expected 0")
    eq(run(TRAIN+" --resume --half")[0],0)
    assert (work/"t.safetensors").exists()
    assert not (work/"t.safetensors.checkpoint").exists()
    assert (work / "t.safetensors").stat().st_size < 0.7 * sum(
        p.numel() * 4 for p in CausalDiffAE.load(work / "t.safetensors").parameters()
    )
    (work/"t.safetensors.checkpoint").write_bytes(b"?")
    refused(TRAIN+" --resume","truncated or not safetensors")
    (work/"t.safetensors.checkpoint").unlink()

def test_options_said_twice(refused):
    # what has an option of its own is not said twice
    refused("causaldiffae_train pendulum --data_options n=50 --out {w}/u",
            "--data_options: expected no n, which is said")
    refused("causaldiffae_train pendulum --n 60 --fit_options seed=3 --out {w}/u","--fit_options: expected no seed")
    refused("causaldiffae_evaluate pendulum pendulum --data_options n=50 --out {w}/u.json",
            "--data_options: expected no n")
    refused("causaldiffae_evaluate pendulum pendulum --images 1 --out {w}/u.json",
            "--images: expected a whole number of at")
    refused("causaldiffae_evaluate pendulum pendulum --only , --out {w}/u.json","--only: expected names of measures")
    refused("causaldiffae_evaluate pendulum pendulum --model_options samples=2 --out {w}/u.json","--model_options")
    refused(
        "causaldiffae_train pendulums --out {w}/u",
        "expected one of circuit, morphomnist, pendulum, or a folder of images, got 'pendulums'",
    )

@pytest.fixture(scope="module")
def own(work):
    "A folder of pictures and a table"
    own = work/"own"
    own.mkdir()
    rng = np.random.default_rng(0)
    for k in range(40):
        PIL.fromarray((np.full((10, 12), 40 + 40 * (k % 3)) + rng.integers(0, 9, (10, 12))).astype(np.uint8)).save(
            own / f"{k}.png"
        )
    (own/"labels.csv").write_text("\n".join(ROWS))
    (work/"other.csv").write_text("\n".join(ROWS[:30]))
    return own

def test_a_folder_of_ones_own(work, own, run, refused):
    status,out,err = run(TRAIN_OWN)
    eq(status,0)
    assert "40 images (1, 8, 8)" in out
    assert "columns left alone: who" in out
    mine = CausalDiffAE.load(work/"own.safetensors")
    eq((mine.image_shape,mine.graph.categories),((1,8,8),{"kind":("a","b","c")}))
    status,out,err = run(TRAIN_OWN+" --labels {w}/other.csv --unlabelled --fit_images pad")
    eq(status,0)
    assert "11 of them without a line" in out
    np.savez(work/"own.npz",images=np.zeros((3,8,8),np.uint8))
    status, out, err = run(
        "causaldiffae_counterfactual {w}/own.safetensors {w}/own.npz --do kind=b --out {w}/o.npz --steps 2"
    )
    eq((status,err),(0,""))
    assert " → b " in out
    assert "(set)" in out
    with np.load(work/"o.npz",allow_pickle=False) as f:
        eq(f["labels_after"][:,0].tolist(),[1.]*3)
        eq(f["categories_kind"].tolist(),["a","b","c"])
    refused(
        "causaldiffae_counterfactual {w}/own.safetensors {w}/own.npz --do kind=d --out {w}/u",
        "do['kind']: expected one of a, b, c",
    )
    refused("causaldiffae_train {w}/own --out {w}/u","--graph: expected the arrows")
    refused(TRAIN_OWN+" --n 5","--n: expected it with other data")
    refused(TRAIN_OWN+" --fit_images squeeze","fit: expected")
    refused(TRAIN_OWN.replace("kind->grey","kind->"),"edges: expected text like")
    refused(TRAIN+" --graph 'a->b'","--graph: expected it with a folder of images, got pendulum")

def test_circuits(work, run, refused):
    circuit = "causaldiffae_train circuit --n 60 --size 32 --labelled 0.5 --minutes 0.01 --out {w}/circuit.safetensors"
    eq(run(circuit)[0],0)
    circuits = CausalDiffAE.load(work/"circuit.safetensors")
    eq((circuits.graph,circuits.image_shape,circuits.decoder.net.patch),(circuit_graph,(3,32,32),2))
    # 64 pixels if nothing is said
    status,out,_ = run("causaldiffae_train circuit --n 40 --minutes 0.001 --out {w}/circuit.safetensors")
    eq(status,0)
    assert "40 images (3, 64, 64)" in out
    eq(CausalDiffAE.load(work/"circuit.safetensors").decoder.net.patch,2)
    eq([_denoiser((1,*s)).get("patch",2) for s in ((32,32),(64,64),(130,130),(128,96),(128,256))],[2,2,2,2,4])
    refused(TRAIN.replace("pendulum","circuit")+" --digit","--digit: expected it with data that has it, got circuit")
    refused(
        TRAIN.replace("pendulum", "circuit") + " --graph 'a->b'",
        "--graph: expected it with a folder of images, got circuit",
    )
    refused(TRAIN.replace("pendulum","circuit")+" --root {w}/none","none")
    refused(TRAIN+" --digit","--digit: expected it")
    refused(TRAIN+" --download","--download: expected it with data that has it, got pendulum")

@pytest.mark.skipif(not importlib.util.find_spec("accelerate"),reason="accelerate is not installed")
def test_of_two_processes_one_speaks(work, own):
    p = subprocess.run(
        [
            sys.executable,
            "-m",
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes",
            "2",
            "--main_process_port",
            "0",
            "--no_python",
            *shlex.split(TRAIN_OWN.format(w=work).replace("own.saf", "two.saf")),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    eq(
        (p.returncode, p.stdout.count("written to"), p.stdout.count("columns left alone"), "\nstep " in p.stdout),
        (0, 1, 1, True),
    )
    assert CausalDiffAE.load(work/"two.safetensors").trained
    assert not (work/"two.safetensors.checkpoint").exists()

def test_every_fault_of_a_table(own, run):
    before = (own/"labels.csv").read_text()
    # every fault of a table a line of its own
    (own/"labels.csv").write_text("\n".join(ROWS).replace(",40,",",fourty,",2))
    status,_,err = run(TRAIN_OWN)
    eq((status,err.count("\n")),(1,3))
    assert "2 problems" in err
    assert "line 2, column 3 (grey): expected a number, got 'fourty'" in err
    assert "line 5" in err
    (own/"labels.csv").write_text(before)

def test_trainings_that_are_refused(refused):
    refused("causaldiffae_train pendulum","--out: expected the file")
    refused("causaldiffae_train pendulum --out /proc/u","can be written")
    refused(TRAIN+" --minutes 0","minutes: expected a finite number above 0")
    refused(TRAIN+" --size 3","size: expected")
    refused("causaldiffae_train pendulum --root {w} --out {w}/u","--root: expected it")
    refused("causaldiffae_train morphomnist --root {w}/none --out {w}/u","root: expected a folder")
    refused(TRAIN+" --labelled 2","labelled: expected")
    for bad, say in (
        (" --n 0", "--n: expected"),
        (" --size 0", "--size: expected"),
        (" --steps 3", "minutes, epochs, steps: expected exactly one"),
        (" --model_options sigma=", "--model_options: expected arguments"),
        (" --model_options depth=3", "--model_options: expected one of"),
        (" --fit_options 'lr=open(1)'", "--fit_options: lr: expected a number"),
    ):
        refused(TRAIN + bad, say)

def test_further_options_and_the_same_run(work, run):
    one = (
        "causaldiffae_train pendulum --n 120 --size 8 --steps 4 --fit_options 'batch_size=8, validations=1'"
        " --model_options 'widths=[32,32], sigma=0.03' --data_options 'noise=True'"
        " --log {w}/log.csv --out {w}/one.safetensors"
    )
    eq(run(one)[0],0)
    a = CausalDiffAE.load(work/"one.safetensors")
    eq(run(one)[0],0)
    b = CausalDiffAE.load(work/"one.safetensors")
    eq((a.prior.sigma,a.decoder.net.low[0]),(0.03,32))
    # steps: the same run, to the bit
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    assert (work / "log.csv").read_text().count("\n") == 2
    # a code page without σ
    r = subprocess.run(
        ["causaldiffae_train", *shlex.split(one.format(w=work))[1:]],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )
    eq(r.returncode,0)

def test_a_report(work, run):
    few = "--images 30 --cycles 2 --only 'truth error,composition' --model_options steps=6"
    eq(run(f"causaldiffae_evaluate pendulum pendulum --out {{w}}/report.json {few}")[0],0)
    report = json.loads((work/"report.json").read_text())
    eq(report["about"]["model"],"pendulum")
    eq(report["about"]["command"].split()[:3],["causaldiffae_evaluate","pendulum","pendulum"])
    assert report["about"]["command"].endswith("--model_options steps=6")
    assert "<h3>do(light)" in (work/"report.html").read_text()

def test_reports_that_are_refused(work, refused):
    refused("causaldiffae_evaluate pendulum pendulum --out {w}/report.txt","ends in .json")
    refused("causaldiffae_evaluate pendulum pendulum --out {w}/r.json --model_options stepz=3","stepz")
    refused("causaldiffae_evaluate pendulum circuit --n 20 --images 10 --out {w}/r.json",
            "data: expected the model's graph")
    refused("causaldiffae_evaluate pendulum nothing --out {w}/r.json","DATA: expected one of")
    refused("causaldiffae_evaluate nothing pendulum --out {w}/r.json","MODEL: expected a file")
    refused("causaldiffae_evaluate pendulum pendulum --out {w}/r.json --only beauty","measure: expected one of")
    refused("causaldiffae_evaluate {w} pendulum --out {w}/r.json --images 10","questions.csv in it")
    assert not (work/"r.json").exists()

def test_a_demonstration(work, run, refused, data):
    eq(run("causaldiffae_demo --out {w}/demo")[0],0)
    page = (work/"demo"/"index.html").read_text()
    picture = (work/"demo"/"counterfactuals.png").read_bytes()
    eq(sorted(os.listdir(work/"demo")),["counterfactuals.png","index.html"])
    assert picture[:4]==b"\x89PNG"
    assert len(picture)<200_000
    # self-contained; two rows for pendulum, four for digits
    assert "http" not in page
    assert 'alt="Rows' in page
    assert page.count("<tr>")==7
    refused("causaldiffae_demo --out {w}/images.npz","expected a folder")
    refused("causaldiffae_demo --out /proc/demo","expected a folder that can be made")
    refused("causaldiffae_demo --train -1 --out {w}/d","0 or more")
    split = data.test
    class Oracle:
        "A model that knows the truth, and one that knows nothing"
        def __init__(self, wise): self.wise = wise
        def abduct(self, x): return Abducted(x,x,x,None)
        def predict(self, a, do): return split.truth(do,slice(0,len(a.x_T))).images if self.wise else a.x_T
    images,titles,numbers,_ = _demonstrate(Oracle(True),split,{"light":torch.linspace(70,140,8)},{"light":80.})
    # the truth has no error, the unchanged image has
    eq(titles,["factual","do(light=80)","truth"])
    eq(images[1],images[2])
    eq(numbers[0][2],0.)
    assert numbers[0][3]>1
    numbers = _demonstrate(Oracle(False),split,{"light":torch.linspace(70,140,8)},{"light":80.})[2]
    eq(numbers[0][2],numbers[0][3])
    with patched.dict(
        sys.modules, {"sklearn": None, "sklearn.datasets": None, "skimage": None, "skimage.morphology": None}
    ), patched("causaldiffae.cli._demo_pendulum", return_value=(images, titles, numbers)):
        # without the extra: said, and the rest is done
        status,out,err = run("causaldiffae_demo --out {w}/bare")
    eq((status,err),(0,""))
    assert "digits are left out" in out
    assert "causaldiffae[data]" in out
    assert "digits are left out" in (work / "bare" / "index.html").read_text()
