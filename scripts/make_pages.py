"""Execute the pages and save what they show: `python scripts/make_pages.py [PAGE …] [--slow]`

PAGE is a notebook, or a part of its name; all of them if none is given. Cells marked `#| slow` keep the outputs they
have unless --slow is given; then they are executed as well, which takes hours. A page runs in a process of its own, in
its own folder; the cell that exports is left out. At the end `nbdev_clean` leaves what is committed."""
import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 200_000   # bytes of a picture

def marked(source, flag): return any(l.replace(" ","")==f"#|{flag}" for l in source.split("\n"))

def execute(path, slow):
    "Run one notebook in this process and write its outputs into it"
    import nbformat
    from nbclient import NotebookClient
    nb = nbformat.read(path,4)
    kept = {}
    for k,c in enumerate(nb.cells):
        if c.cell_type!="code": continue
        if "nbdev_export()" in c.source or marked(c.source,"eval:false") or (marked(c.source,"slow") and not slow):
            kept[k] = (c.source,c.get("outputs",[]))
            c.source = ""
    client = NotebookClient(nb,timeout=None,kernel_name="python3",store_widget_state=False,
                            resources={"metadata":{"path":str(path.parent)}})
    client.execute()
    for k,(source,outputs) in kept.items(): nb.cells[k].source,nb.cells[k].outputs = source,outputs
    for c in nb.cells:
        for o in c.get("outputs",[]):
            png = o.get("data",{}).get("image/png","")
            if len(png)*3//4>LIMIT: 
                raise SystemExit(f"{path.name}: a picture of {len(png)*3//4:,} bytes, more than {LIMIT:,}")
    nbformat.write(nb,path)

def pages(names):
    "The notebooks meant by these names, in reading order"
    found = sorted(p for p in (ROOT/"nbs").rglob("*.ipynb") if not p.name.startswith((".","_")))
    wanted = [p for p in found if not names or any(n in str(p.relative_to(ROOT)) for n in names)]
    if not wanted: raise SystemExit(f"PAGE: expected one of {', '.join(p.stem for p in found)}, got {', '.join(names)}")
    return wanted

def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("pages",nargs="*",help="notebooks, or parts of their names; all if none is given")
    p.add_argument("--slow",action="store_true",help="also the cells marked slow")
    p.add_argument("--one",action="store_true",help=argparse.SUPPRESS)   # in a process of its own
    a = p.parse_args()
    if a.one: return execute(Path(a.pages[0]),a.slow)
    env = {**os.environ,"MPLBACKEND":"module://matplotlib_inline.backend_inline","TQDM_DISABLE":"1","PYTHONHASHSEED":"0"}
    failed = []
    for path in pages(a.pages):
        start = time.perf_counter()
        command = [sys.executable,__file__,str(path),"--one",*(["--slow"] if a.slow else [])]
        r = subprocess.run(command,env=env,capture_output=True,text=True)
        word = "ok  " if r.returncode==0 else "FAIL"
        print(f"{word} {time.perf_counter()-start:5.0f} s  {path.relative_to(ROOT)}",flush=True)
        if r.returncode:
            failed.append(path.name)
            print(r.stderr[-3000:],file=sys.stderr)
    subprocess.run(["nbdev_clean"],cwd=ROOT,check=True)
    if failed: raise SystemExit(f"{len(failed)} failed: {', '.join(failed)}")

if __name__=="__main__": main()
