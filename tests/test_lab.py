"""A JupyterLab session driven for real, in a browser without a window: drag, keys, two explorers, restart, reopen.
It needs jupyterlab and anywidget (extra `widgets`), playwright and a Chromium, and is skipped, in words, without them
or without CAUSALDIFFAE_LAB=1: it takes a minute or more."""
import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
import pytest
import torch
from matplotlib.image import imread
from causaldiffae.data.pendulum import pendulum
from causaldiffae.explorer import explore
from causaldiffae.images import to_uint8
from causaldiffae.model import CausalDiffAE

PATIENCE = 180   # seconds, for machines that have other things to do
CELLS = ["""from causaldiffae.data.pendulum import pendulum
from causaldiffae.explorer import explore
from causaldiffae.model import CausalDiffAE
data,model = pendulum(n=40,seed=1),CausalDiffAE.from_pretrained("pendulum")
x = data.test.images""",
         "explore(model,x[0],truth=lambda do: data.test.truth(do,0))",
         "explore(model,x[1],size=128)"]
SILENT = "Python has not answered yet"

def browser():
    "The path of a Chromium"
    names = ("chromium","chromium-browser","google-chrome")
    return next((p for p in map(shutil.which,names) if p),None)

@contextmanager
def server(folder):
    "JupyterLab with settings of its own; its address"
    with socket.socket() as s:
        s.bind(("127.0.0.1",0))
        port = s.getsockname()[1]
    own = ("JUPYTER_CONFIG_DIR","JUPYTER_DATA_DIR","JUPYTERLAB_SETTINGS_DIR","JUPYTERLAB_WORKSPACES_DIR")
    env = {**os.environ,**{k: str(folder/"own"/k) for k in own}}
    root,address = folder/"root",f"http://127.0.0.1:{port}"
    root.mkdir()
    command = [sys.executable,"-m","jupyterlab","--no-browser","--allow-root",f"--port={port}",
               "--IdentityProvider.token=t",f"--ServerApp.root_dir={root}","--LabApp.expose_app_in_browser=True",
               "--LabApp.extension_manager=readonly","--LabApp.news_url=None"]
    with open(folder/"log","w") as log: process = subprocess.Popen(command,env=env,stdout=log,stderr=log)
    try:
        end = time.monotonic()+PATIENCE
        while True:
            try: urllib.request.urlopen(f"{address}/api?token=t",timeout=5)
            except OSError as e:
                if process.poll() is not None or time.monotonic()>end:
                    raise RuntimeError((folder/"log").read_text()) from e
                time.sleep(0.2)
            else: break
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)

class Lab:
    "The notebook in the browser"
    def __init__(self, page, address):
        self.page,self.address = page,address
        page.set_default_timeout(1000*PATIENCE)
    def open(self):
        self.page.goto(f"{self.address}/lab/tree/session.ipynb?token=t")
        self.page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        self.page.wait_for_function("window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status=='idle'")
    def command(self, name): self.page.evaluate(f"window.jupyterapp.commands.execute('{name}').then(() => 0)")
    def session(self, what): self.page.evaluate(f"window.jupyterapp.shell.currentWidget.sessionContext.{what}")
    def explorer(self, k): return self.page.locator(".causaldiffae-explorer").nth(k)
    def slider(self, name, k=0): return self.explorer(k).get_by_role("slider",name=name,exact=True)
    def number(self, name, k=0):
        return float(self.explorer(k).get_by_role("spinbutton",name=f"{name}, as a number",exact=True).input_value())
    def status(self, k=0): return self.explorer(k).get_by_role("status").inner_text()
    def captions(self, k=0): return self.explorer(k).locator("figcaption").all_inner_texts()
    def source(self, k=0, i=1): return self.explorer(k).locator("figure img").nth(i).get_attribute("src")
    def until(self, good, what):
        "Wait until a function of the page is true"
        end = time.monotonic()+PATIENCE
        while not good():
            assert time.monotonic()<end,f"waited for {what}; the status is {self.status()!r}"
            self.page.wait_for_timeout(50)

def pixels(source): return (imread(io.BytesIO(base64.b64decode(source.partition(",")[2])))[...,:3]*255).round()

def notebook(path):
    cell = lambda k,s: dict(cell_type="code",execution_count=None,id=f"c{k}",metadata={},outputs=[],source=s)
    kernel = dict(name="python3",display_name="Python 3",language="python")
    path.write_text(json.dumps(dict(cells=[cell(k,s) for k,s in enumerate(CELLS)],metadata=dict(kernelspec=kernel),
                                    nbformat=4,nbformat_minor=5)))

def drag(lab):
    "While the slider moves, the picture follows at fewer steps; on release it is Python's own at all of them"
    slider = lab.slider("light")
    slider.scroll_into_view_if_needed()
    box,seen = slider.bounding_box(),[lab.source()]
    at = lambda share: (box["x"]+share*box["width"],box["y"]+box["height"]/2)
    lab.page.mouse.move(*at(0.2))
    lab.page.mouse.down()
    for share in (0.4,0.5,0.6):
        lab.page.mouse.move(*at(share),steps=4)
        asked = f"do(light={float(slider.input_value()):.4g})"
        lab.until(lambda: lab.captions()[1]==asked and "while you drag" in lab.status(),"a draft")
        assert lab.source()!=seen[-1]
        seen.append(lab.source())
    shadow = lab.number("shadow_position")
    lab.page.mouse.up()
    lab.until(lambda: "answered" in lab.status() and "drag" not in lab.status(),"the answer on release")
    light = lab.number("light")
    data,model = pendulum(n=40,seed=1),CausalDiffAE.from_pretrained("pendulum")
    mine = explore(model,data.test.images[0]).ask({"light":light})
    own = to_uint8(mine.images["counterfactual"])[0].numpy()
    assert abs(pixels(lab.source())-own).max()<=2
    assert abs(pixels(seen[-1])-own).max()>2                        # the draft was one
    assert abs(mine.labels["shadow_position"][1]-shadow)<0.1        # followers follow while dragging
    true = to_uint8(data.test.truth({"light":light},0).images)[0].numpy()
    assert (pixels(lab.source(i=2))==true).all()
    assert "from the truth" in lab.status() and lab.captions()[1].startswith("do(light=")

def keys(lab):
    "Arrows move the slider, Tab leads to its number, a space ticks, and the notebook takes none of them"
    before,cell = lab.number("light"),lab.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    lab.slider("light").focus()
    for _ in range(3): lab.page.keyboard.press("ArrowRight")
    lab.until(lambda: lab.captions()[1]==f"do(light={before+3:.4g})","the picture of the keys")
    lab.page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert lab.page.evaluate(focused)=="light, as a number"
    lab.page.keyboard.type("80")
    lab.page.keyboard.press("Enter")
    lab.until(lambda: lab.captions()[1]=="do(light=80)","the number typed")
    lab.page.keyboard.press("Tab")
    assert lab.page.evaluate(focused).startswith("do shadow_length")
    lab.page.keyboard.press("Space")
    lab.until(lambda: "shadow_length=" in lab.captions()[1],"the box ticked")
    assert lab.page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")==cell

def names(lab):
    "Every control has a name that a screen reader says"
    unnamed = """all => all.filter(o => !(o.getAttribute('aria-label') || o.innerText || o.getAttribute('alt')))
                 .map(o => o.outerHTML)"""
    controls = lab.page.locator(".causaldiffae-explorer").locator("input, select, button, textarea, img")
    assert controls.count()>30
    assert controls.evaluate_all(unnamed)==[]

def aligned(lab):
    "Pictures of a row stand at one height, however long their captions"
    tops = lab.explorer(0).locator("figure img").evaluate_all("all => all.map(o => o.getBoundingClientRect().top)")
    heights = lab.explorer(0).locator("figcaption").evaluate_all("all => all.map(o => o.offsetHeight)")
    assert len(tops)==4 and max(tops)-min(tops)<1 and len(set(heights))>1

def buttons(lab, folder):
    with lab.page.expect_download() as download: lab.explorer(0).get_by_role("button",name="Save picture").click()
    assert download.value.suggested_filename.startswith("do(light=80")
    download.value.save_as(folder/"saved.png")
    assert imread(folder/"saved.png").shape[1]>4*2*192
    lab.explorer(0).get_by_role("button",name="Copy as code").click()
    code = lab.explorer(0).get_by_role("textbox",name="this picture as Python code").input_value()
    scope = dict(model=CausalDiffAE.from_pretrained("pendulum"),x=pendulum(n=40,seed=1).test.images[0])
    exec(code,scope)
    assert abs(pixels(lab.source())-to_uint8(scope["x_cf"])[0].numpy()).max()<=2

def test_a_session(tmp_path):
    if not os.environ.get("CAUSALDIFFAE_LAB"): pytest.skip("CAUSALDIFFAE_LAB=1 runs it; it takes a minute or more")
    for module in ("jupyterlab","anywidget","ipykernel","playwright.sync_api"): pytest.importorskip(module)
    if not browser(): pytest.skip("there is no Chromium: apt-get install chromium")
    torch.set_num_threads(1)
    with server(tmp_path) as address,sys.modules["playwright.sync_api"].sync_playwright() as play:
        notebook(tmp_path/"root"/"session.ipynb")
        chromium = play.chromium.launch(executable_path=browser(),args=["--no-sandbox","--disable-gpu"])
        page = chromium.new_page(viewport=dict(width=1400,height=1400))
        elsewhere = []
        page.on("request",lambda r: elsewhere.append(r.url) if r.url.startswith("http") and address not in r.url else 0)
        lab = Lab(page,address)
        lab.open()
        lab.command("notebook:run-all-cells")
        page.wait_for_selector(".causaldiffae-explorer >> nth=1")
        lab.until(lambda: "answered in" in lab.status(0) and "answered in" in lab.status(1),"the first answers")
        second = lab.source(1)
        drag(lab)
        keys(lab)
        names(lab)
        aligned(lab)
        buttons(lab,tmp_path)
        assert lab.source(1)==second                               # the other explorer has stayed
        still = page.locator("[data-explorer]")                    # what other readers see is hidden
        assert still.evaluate_all("all => all.every(o => !o.offsetHeight)")
        left,captions = lab.source(),lab.captions()
        # after a restart the picture stays, and the reader is told
        lab.session("session.kernel.restart().then(() => 0)")
        lab.until(lambda: SILENT in lab.status(0) and SILENT in lab.status(1),"word of the restart")
        assert "run this cell again" in lab.status() and lab.source()==left
        # saved, closed and opened again the picture stands where it was left, and no error
        lab.command("docmanager:save")
        lab.session("shutdown().then(() => 0)")
        saved = json.loads((tmp_path/"root"/"session.ipynb").read_text())
        still = "".join(saved["cells"][1]["outputs"][0]["data"]["text/html"])
        assert captions[1] in still and left in still              # for readers without widgets
        lab.page.goto("about:blank")
        lab.open()
        page.wait_for_selector(".causaldiffae-explorer >> nth=1")
        lab.until(lambda: SILENT in lab.status(),"word that there is no Python behind it")
        assert (lab.source(),lab.captions())==(left,captions)
        assert "Error" not in page.locator(".jp-Notebook").inner_text()
        # and runs again
        lab.command("notebook:run-all-cells")
        lab.until(lambda: "answered in" in lab.status(0),"the answer of the new kernel")
        assert lab.captions()[1]=="counterfactual, nothing done"
        assert elsewhere==[]
        chromium.close()
