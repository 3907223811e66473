"The page on which a model runs in the reader's browser: ONNX against PyTorch, and the page's own sliders in Chromium"
import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import statistics
import subprocess
import tarfile
import threading
from types import SimpleNamespace
import numpy as np
import pytest
import torch
from conftest import ROOT
from causaldiffae.images import from_uint8, to_uint8

spec = importlib.util.spec_from_file_location("make_onnx",ROOT/"scripts"/"make_onnx.py")
make_onnx = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_onnx)
NAMES = list(make_onnx.MODELS)

def absent(what):
    "Skip, in words; on GitHub, where all of it is, fail"
    (pytest.fail if os.environ.get("GITHUB_ACTIONS") else pytest.skip)(f"there is no {what}")

def package(name):
    try: return importlib.import_module(name)
    except ImportError: absent(f"Python package {name}")

@pytest.fixture(scope="module")
def asked():
    "Each model of the page, its images, and a way to ask it"
    def one(n):
        x,y = make_onnx.MODELS[n]["images"]()
        return SimpleNamespace(model=make_onnx.load(n),x=x,y=y)
    return {n: one(n) for n in NAMES}

@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A site with nothing but this page and its files, as the build makes them"
    package("onnx")
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT/"nbs"/"live",site/"live")
    for n in NAMES: make_onnx.make_model(n,site/"live")
    cells = json.loads((ROOT/"nbs"/"live.ipynb").read_text())["cells"]
    [body] = re.findall(r"```\{=html\}\n(.*?)```","\n".join("".join(c["source"]) for c in cells),re.S)
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Live</title><link rel="icon" href="data:,">'
    (site/"live.html").write_text(f"{head}<main><h1>Live</h1>{body}</main></html>")
    return site

def inputs(model, part, seed):
    "What a part may be asked: the example's shapes, other numbers"
    g = torch.Generator().manual_seed(seed)
    example = make_onnx.examples(model)[part]
    if part=="solve":
        u,held,_ = example
        low,high = torch.tensor(model.trained)
        y = low+(high-low)*torch.rand(low.shape,generator=g,dtype=low.dtype)
        return torch.randn(u.shape,generator=g),(torch.rand(held.shape,generator=g)<0.5).float(),y.round()[None].float()
    drawn = [torch.randn(v.shape,generator=g) for v in example]
    if part=="denoise": drawn[1] = torch.randint(0,1000,(1,),generator=g).float()
    if part=="read": drawn = [drawn[0].clamp(-1,1)]
    if part=="finish": drawn = [drawn[0].clamp(-1,1),drawn[1]/10,(drawn[2]>0).float()]
    return tuple(drawn)

@pytest.mark.parametrize("part",make_onnx.PARTS)
@pytest.mark.parametrize("name",NAMES)
def test_onnx_agrees_with_pytorch(made, asked, name, part):
    ort = package("onnxruntime")
    session = ort.InferenceSession(made/"live"/"models"/name/f"{part}.onnx")
    module,worst = make_onnx.PARTS[part](asked[name].model),0.
    for seed in range(8):
        x = inputs(asked[name].model,part,seed)
        if part=="read" and seed<4: x = (asked[name].x[seed:seed+1],)
        with torch.no_grad(): want = module(*x)
        found = session.run(None,{i.name: v.numpy() for i,v in zip(session.get_inputs(),x)})
        for a,b in zip(found,want if isinstance(want,tuple) else (want,)):
            worst = max(worst,np.abs(a-b.numpy()).max())
    assert worst<1e-3

def test_what_is_stored_is_what_python_abducts(made, asked):
    for name,of in asked.items():
        about = json.loads((made/"live"/"models"/name/"about.json").read_text())
        a = of.model.abduct(of.x,about["usual"],labels=of.y)
        stored = (made/"live"/"models"/name/"3.bin").read_bytes()
        told = make_onnx.joined(of.model,a.u,a.style)[3]
        u = np.frombuffer(stored[:told.numel()*4],"<f4").reshape(told.shape)
        way = np.frombuffer(stored[u.nbytes:],"<i2")*about["unit"]
        assert np.array_equal(u,told.numpy())
        assert np.abs(way-a.x_T[3,of.x.shape[1]:].flatten().numpy()).max()<=0.51*about["unit"]<1e-3

# ---- in a browser

def npm_file(package, path, tmp):
    "One file of a package"
    try: make_onnx.npm(package,tmp)
    except (subprocess.CalledProcessError,subprocess.TimeoutExpired): absent(f"{package} that npm can fetch")
    return tmp/"package"/path

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass

@pytest.fixture(scope="module")
def served(made):
    "The address of the site on a plain static server"
    if not shutil.which("npm"): absent("npm")
    try: make_onnx.vendor(made/"live")
    except (subprocess.CalledProcessError,subprocess.TimeoutExpired): absent("ONNX Runtime that npm can fetch")
    server = http.server.ThreadingHTTPServer(("127.0.0.1",0),functools.partial(Quiet,directory=made))
    threading.Thread(target=server.serve_forever,daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()

@pytest.fixture(scope="module")
def chromium():
    sync_api = package("playwright.sync_api")
    names = (os.environ.get("CHROMIUM","chromium"),"chromium-browser","google-chrome")
    path = next(filter(None,map(shutil.which,names)),None)
    if path is None: absent("Chromium")
    with sync_api.sync_playwright() as p:
        args = ["--no-sandbox","--disable-gpu","--disable-background-networking"]
        browser = p.chromium.launch(executable_path=path,args=args)
        yield browser
        browser.close()

class Driven:
    "The page as a reader has it before them"
    def __init__(self, browser, address):
        self.page = browser.new_page(viewport=dict(width=1280,height=900))
        self.page.set_default_timeout(120_000)   # machines may be busy
        self.errors,self.requests = [],[]
        self.page.on("console",lambda m: self.errors.append(m.text) if m.type in ("error","warning") else None)
        self.page.on("pageerror",lambda e: self.errors.append(str(e)))
        self.page.on("request",lambda r: self.requests.append(r.url))
        self.page.goto(f"{address}/live.html")
        self.page.wait_for_selector("#live button:enabled")

    def choose(self, name):
        if name==NAMES[0]: self.page.get_by_role("button",name="Start").click()
        else: self.page.get_by_label(name.title(),exact=True).check()
        self.page.wait_for_function(f"document.querySelector('#live').dataset.model=='{name}'")
        self.rest()

    def rest(self): self.page.wait_for_function("document.querySelector('#live').dataset.busy=='false'")
    def slider(self, v): return self.page.get_by_label(v.replace("_"," "),exact=True)
    def press(self, v, *keys):
        "Move a slider by keys; its value"
        for k in keys: self.slider(v).press(k)
        self.rest()
        return float(self.slider(v).input_value())

    def picture(self, k):
        "The k-th picture: 0 as it is, 1 as it would have been, uint8 (H, W, 3)"
        code = "c => [c.height, c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        H,W,*data = self.page.locator(".live-picture canvas").nth(k).evaluate(code)
        return np.array(data,"uint8").reshape(H,W,4)[...,:3]

    def shown(self, x):
        "Wait until the image as it is is this one"
        want = to_uint8(x)[0].numpy()
        for _ in range(600):
            if np.array_equal(self.picture(0),np.broadcast_to(want,(*want.shape[:2],3))): return self.rest()
            self.page.wait_for_timeout(100)
        pytest.fail("the image is not shown")

    def values(self): return self.page.locator(".live-graph .live-value").all_text_contents()
    def milliseconds(self, calls, v):
        "Median time of eight moves of a slider, from key to painted picture; the first abducts and does not count"
        self.page.get_by_label("calls of the network").select_option(str(calls))
        self.rest()
        times = []
        for k in range(9):
            self.press(v,"ArrowLeft" if k%2 else "ArrowRight")
            times.append(float(self.page.locator("#live").get_attribute("data-ms")))
        return statistics.median(times[1:])

    def timed(self, v, apart, capsys):
        "Print how far the pictures are from Python's and how long a move takes; 300 ms unless others use the machine"
        ms = {n: self.milliseconds(n,v) for n in (3,7,10)}
        load = os.getloadavg()[0]
        with capsys.disabled():
            print(f"\n{max(apart)} of 255 apart; a move of {v} takes, by calls, {ms} ms (load {load:.1f})",end=" ")
        assert ms[10]<300 or load>os.cpu_count()

@pytest.fixture
def live(chromium, served):
    driven = Driven(chromium,served)
    yield driven
    driven.page.close()
    assert not driven.errors
    assert {r.split("/")[2] for r in driven.requests if not r.startswith(("data:","blob:"))}=={served.split("/")[2]}

def python(of, x, do, steps, y):
    "The model's answer as the page should show it, uint8 (H, W, 3), and the labels"
    a = of.model.abduct(x,steps,labels=y)
    shown = to_uint8(of.model.predict(a,do))[0].numpy()
    return np.broadcast_to(shown,(*shown.shape[:2],3)),of.model.labels(of.model.solve(a.u,do))[0]

def agree(live, of, image, do, steps=7):
    "The page shows what Python answers, of one of its images or another; how far apart they are, of 255"
    x,y = (of.x[image:image+1],of.y[image:image+1]) if isinstance(image,int) else (image,None)
    want,labels = python(of,x,do,steps,y)
    apart = np.abs(live.picture(1).astype(int)-want.astype(int)).max()
    assert apart<=2
    for v,word,label in zip(of.model.graph.names,live.values(),labels.tolist()):
        places = len(word.partition(".")[2])
        assert abs(float(word)-label)<=0.51*10**-places+1e-3, v
    return apart

@pytest.mark.filterwarnings("ignore:do sets|.* follows to")
def test_nothing_heavy_before_start_and_the_sizes_are_those_it_names(live, made):
    assert not [r for r in live.requests if "/models/" in r or "/ort/" in r or "worker" in r]
    said = [float(v) for v in re.findall(r"([\d.]+) MB",live.page.locator(".live-start").inner_text())]
    whole,runtime,pendulum,digits = said
    size = lambda *urls: sum((made/u).stat().st_size for u in set(urls))/1e6
    for name,want in zip(NAMES,(whole,digits)):
        live.requests.clear()
        live.choose(name)
        assert abs(size(*("/".join(r.split("/")[3:]) for r in live.requests if "live/" in r))-want)<0.06
    assert abs(size("live/ort/ort.mjs","live/ort/ort.wasm.gz")-runtime)<0.06
    assert abs(whole-runtime-pendulum)<0.06

def test_the_sliders_of_the_pendulum_answer_as_python_does(live, asked, capsys):
    of = asked["pendulum"]
    live.choose("pendulum")
    start,apart = live.picture(1),[]
    assert np.array_equal(start,to_uint8(of.x)[0].numpy())
    light = live.press("light","Home")
    apart.append(agree(live,of,0,{"light":light}))
    assert np.abs(live.picture(1).astype(int)-start).max()>50
    assert "light" in live.page.locator("[aria-live=polite]").inner_text()
    assert live.page.locator(".live-cut").count()==0   # light has no causes
    place = live.press("shadow_position","End","PageDown")
    apart.append(agree(live,of,0,{"light":light,"shadow_position":place}))
    assert live.page.locator(".live-cut").count()==2
    assert "light to shadow position, cut" in live.page.locator(".live-graph").get_attribute("aria-label")
    live.page.get_by_label("do: hold light").press("Space")   # its box
    live.rest()
    apart.append(agree(live,of,0,{"shadow_position":place}))
    live.page.get_by_label("Image 6").check()   # what is held stays held
    live.rest()
    apart.append(agree(live,of,5,{"shadow_position":place}))
    live.page.get_by_label("calls of the network").select_option("10")
    live.rest()
    apart.append(agree(live,of,5,{"shadow_position":place},steps=10))
    live.page.get_by_role("button",name="Undo all").click()
    live.rest()
    assert np.array_equal(live.picture(1),to_uint8(of.x[5:6])[0].numpy())
    live.timed("light",apart,capsys)

def test_the_sliders_of_the_digits_answer_as_python_does(live, asked, capsys):
    of = asked["digits"]
    live.choose("pendulum")
    live.choose("digits")
    apart = []
    thick = live.press("thickness","End")
    with pytest.warns(UserWarning,match="intensity follows"): apart.append(agree(live,of,0,{"thickness":thick}))
    assert "training saw" in live.page.locator("[aria-live=polite]").inner_text()
    live.page.get_by_role("button",name="Undo all").click()
    live.slider("digit").select_option("3")
    live.rest()
    apart.append(agree(live,of,0,{"digit":"3"}))
    live.timed("thickness",apart,capsys)

def test_a_digit_that_the_reader_draws_or_uploads(live, asked, tmp_path):
    of = asked["digits"]
    live.choose("pendulum")
    live.choose("digits")
    live.page.get_by_text("Your own").click()
    pad = live.page.locator(".live-pad")
    box = pad.bounding_box()
    at = lambda x,y: (box["x"]+x*box["width"],box["y"]+y*box["height"])
    live.page.mouse.move(*at(0.3,0.2))
    live.page.mouse.down()
    for p in ((0.7,0.2),(0.55,0.5),(0.45,0.85)): live.page.mouse.move(*at(*p),steps=5)
    live.page.mouse.up()
    live.rest()
    drawn = from_uint8(live.picture(0)[None,...,:1].copy())
    assert live.values()[2]=="7" and drawn.max()>0.9
    thick = live.press("thickness","Home",*["PageUp"]*3)
    agree(live,of,drawn,{"thickness":thick})
    live.page.get_by_role("button",name="Clear").click()
    for key in [" ",*["ArrowDown"]*12," "]: pad.press(key)   # a one, without a mouse
    live.rest()
    assert live.values()[2]=="1"
    from PIL import Image
    Image.fromarray(to_uint8(of.x)[4].squeeze(-1).numpy()).save(tmp_path/"four.png")
    live.page.get_by_label("Upload a picture").set_input_files(tmp_path/"four.png")
    live.shown(of.x[4:5])
    agree(live,of,of.x[4:5],{"thickness":thick})   # read, and not told

def test_a_pendulum_that_the_reader_uploads(live, asked, tmp_path):
    from PIL import Image
    of = asked["pendulum"]
    live.choose("pendulum")
    x = make_onnx.cd.pendulum(n=600,noise=True,seed=2).test.images[:1]
    Image.fromarray(to_uint8(x)[0].numpy()).save(tmp_path/"one.png")
    light = live.press("light","Home")
    live.page.get_by_text("Your own").click()
    live.page.get_by_label("Upload a picture").set_input_files(tmp_path/"one.png")
    live.shown(x)
    agree(live,of,x,{"light":light})

@pytest.mark.parametrize("theme",("light","dark"))
def test_axe_finds_nothing_serious(live, tmp_path, theme):
    axe = npm_file("axe-core@4.14.1","axe.min.js",tmp_path)
    if theme=="dark":
        live.page.evaluate("document.documentElement.dataset.bsTheme = 'dark'")
        live.page.add_style_tag(content="body {background: #222; color: #fff}")
    live.choose("pendulum")
    live.choose("digits")
    live.press("intensity","Home")
    live.page.get_by_text("Your own").click()
    live.page.add_script_tag(path=axe)
    found = live.page.evaluate("axe.run('#live')")["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious","critical")]==[]

def test_a_site_without_the_models_says_so(chromium, made, tmp_path):
    shutil.copy(made/"live.html",tmp_path)
    shutil.copytree(ROOT/"nbs"/"live",tmp_path/"live")
    server = http.server.ThreadingHTTPServer(("127.0.0.1",0),functools.partial(Quiet,directory=tmp_path))
    threading.Thread(target=server.serve_forever,daemon=True).start()
    live = Driven(chromium,f"http://127.0.0.1:{server.server_port}")
    live.page.get_by_role("button",name="Start").click()
    said = live.page.get_by_role("alert").inner_text()
    live.page.close()
    server.shutdown()
    assert "about.json" in said and "make_onnx.py" in said
