"Files from somewhere else: what is wrong with one is a ValueError or OSError that names it, soon and in little memory"
import csv
import gzip
import hashlib
import http.server
import io
import os
import threading
import tracemalloc
import zipfile
from contextlib import contextmanager
import numpy as np
import pytest
import torch
from fastcore.test import test_eq as eq, test_fail as fail
from causaldiffae.data.circuit_files import read_circuit, write_circuit
from causaldiffae.data.mnist import download_mnist, read_idx, read_mnist
from causaldiffae.data.morphomnist import read_morpho_labels, read_morphomnist

def bad(f, *said):
    "f must refuse with a ValueError in which all of these words stand"
    with pytest.raises(ValueError) as e: f()
    for s in said: assert str(s) in str(e.value),(s,str(e.value))

@contextmanager
def memory(most):
    "No more than this may be taken by Python, NumPy or zlib in the block"
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()
    assert peak<most,f"{peak/1e6:.0f} MB"

def idx(a, sizes=None):
    "An IDX file; its header may announce other sizes"
    sizes = a.shape if sizes is None else sizes
    return b"\0\0\x08"+bytes([len(sizes)])+b"".join(s.to_bytes(4,"big") for s in sizes)+a.tobytes()

PICTURES = np.random.default_rng(0).integers(0,256,(6,28,28)).astype(np.uint8)
HEAD = "index,thickness,intensity\n"
TABLE = HEAD+"".join(f"{i},{i+1.5},{i+70.25}\n" for i in range(6))

def dataset(folder, pictures=idx(PICTURES), digits=idx(np.arange(6,dtype=np.uint8)), table=TABLE):
    (folder/"t10k-images-idx3-ubyte").write_bytes(pictures)
    (folder/"t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(digits))
    (folder/"t10k-morpho.csv").write_bytes(table if isinstance(table,bytes) else table.encode())
    return folder

# IDX

def test_idx(tmp_path):
    for name,b in (("plain",idx(PICTURES)),("packed.gz",gzip.compress(idx(PICTURES)))):
        (tmp_path/name).write_bytes(b)
        eq(read_idx(tmp_path/name),PICTURES)
    eq(read_mnist(dataset(tmp_path),"test")[0],PICTURES)

WRONG = {
    "nothing": b"",
    "one byte": b"\0",
    "three bytes": b"\0\0\x08",
    "no sizes": b"\0\0\x08\3",
    "half of the sizes": idx(PICTURES)[:9],
    "no dimensions": b"\0\0\x08\0"+b"x",
    "other type": b"\0\0\x0d"+idx(PICTURES)[3:],
    "text": b"hello, world",
    "cut": idx(PICTURES)[:-1],
    "one too many": idx(PICTURES)+b"\0",
    "terabytes": idx(PICTURES,(2**32-1,)*3),
    "255 dimensions": b"\0\0\x08\xff"+bytes(255*4),
    "many dimensions": idx(np.zeros(0,np.uint8),(0,)*9),
    "more images": idx(PICTURES,(7,28,28)),
    "fewer images": idx(PICTURES,(5,28,28)),
}
@pytest.mark.parametrize("packed",[False,True])
@pytest.mark.parametrize("name",WRONG)
def test_wrong_idx(tmp_path, name, packed):
    file = tmp_path/("x.gz" if packed else "x")
    file.write_bytes(gzip.compress(WRONG[name]) if packed else WRONG[name])
    with memory(20e6): bad(lambda: read_idx(file),"path: expected",file)

def test_damaged_gzip(tmp_path):
    whole,file = gzip.compress(idx(PICTURES)),tmp_path/"x.gz"
    cut = [whole[:k] for k in (0,1,5,40,-9,-1)]
    for b in (*cut,idx(PICTURES),whole[:-8]+bytes(8),b"\x1f\x8b"+bytes(40)):
        file.write_bytes(b)
        bad(lambda: read_idx(file),file)
    bad(lambda: read_idx(tmp_path),tmp_path)                        # a folder
    bad(lambda: read_idx(tmp_path/"none"),"none")
    if hasattr(os,"mkfifo"):
        os.mkfifo(tmp_path/"fifo")
        bad(lambda: read_idx(tmp_path/"fifo"),"fifo")               # and does not wait for it

def test_bombs(tmp_path):
    "Two gigabytes of zeros in two megabytes, with a header that lies or does not"
    file,zeros = tmp_path/"bomb.gz",gzip.compress(bytes(2**24))
    for sizes in ((6,28,28),(2**31//784,28,28),(2**31,),(2**31-1,28,28)):
        file.write_bytes(gzip.compress(idx(np.zeros(0,np.uint8),sizes))+128*zeros)
        with memory(100e6): bad(lambda: read_idx(file),file)

def test_mutated_idx(tmp_path):
    "Flipped bits and cuts: read to the same shape, or refused with the file's name"
    rng,kinds = np.random.default_rng(1),{"x": idx(PICTURES[:2]),"x.gz": gzip.compress(idx(PICTURES[:2]),mtime=0)}
    for name,whole in kinds.items():
        file = tmp_path/name
        for _ in range(400):
            file.write_bytes(mutated(whole,rng))
            try: got = read_idx(file)
            except (ValueError,OSError) as e: assert str(file) in str(e),e
            else: eq(got.size,len(got.tobytes()))

def mutated(whole, rng):
    b,i = bytearray(whole),int(rng.integers(len(whole)))
    if rng.random()<0.3: i = int(rng.integers(20))                  # the header more often
    kind = rng.integers(4)
    if kind==0: return bytes(b[:i])
    if kind==1: b[i] ^= 1<<int(rng.integers(8))
    if kind==2: b[i:i+8] = rng.bytes(8)
    if kind==3: b[i:i] = rng.bytes(int(rng.integers(1,9)))
    return bytes(b)

def test_mnist_that_does_not_fit(tmp_path):
    digits,folder = np.arange(6,dtype=np.uint8),"t10k-images"
    for pictures in (PICTURES[:5],PICTURES[:,:27],PICTURES[:,:,:,None]):
        dataset(tmp_path,idx(pictures))
        bad(lambda: read_mnist(tmp_path,"test"),"28×28 images, one per label",folder)
    for labels in (digits[:5],digits[:,None]):
        dataset(tmp_path,digits=idx(labels))
        bad(lambda: read_mnist(tmp_path,"test"),"28×28 images, one per label",folder)
    for split in ("valid","Train",None,0):
        bad(lambda: read_mnist(tmp_path,split),"split: expected one of 'train', 'test'")
    bad(lambda: read_mnist(tmp_path/"nowhere"),"nowhere")

# The table of MorphoMNIST

def test_table(tmp_path):
    y = read_morphomnist(dataset(tmp_path)).labels
    eq((y.dtype,y[2].tolist()),(torch.float64,[3.5,72.25]))
    exact = TABLE.replace("1.5,70.25","1.1,70.123456789012")
    eq(read_morpho_labels(dataset(tmp_path,table=exact),"test")[0].tolist(),[1.1,70.123456789012])
    spreadsheet = dataset(tmp_path,table=b"\xef\xbb\xbf"+TABLE.encode())
    eq(len(read_morpho_labels(spreadsheet,"test")),6)

def cell(line, column, text):
    rows = list(csv.reader(io.StringIO(TABLE)))
    rows[line-1][column] = text
    return "\n".join(",".join(r) for r in rows)+"\n"
TABLES = {
    "nan": (cell(3,1,"nan"),"line 3"),
    "inf": (cell(4,2,"inf"),"line 4"),
    "-inf": (cell(2,2,"-Infinity"),"line 2"),
    "overflow": (cell(3,1,"1e999"),"line 3"),
    "words": (cell(5,1,"thick"),"line 5"),
    "empty cell": (cell(5,1,""),"line 5"),
    "short line": (TABLE+"6,1.0\n","line 8"),
    "index of another kind": (cell(2,0,"0.0"),"line 2"),
    "order": (cell(3,0,"2"),"line 3"),
    "twice": (cell(3,0,"0"),"line 3"),
    "huge index": (cell(3,0,"9"*5000),"line 3"),
    "no column": (TABLE.replace("intensity","brightness"),"intensity missing"),
    "nothing": ("","missing"),
    "no rows": (HEAD,"missing"),
    "not UTF-8": (TABLE.encode()+b"\xff\xfe",""),
    "UTF-16": (TABLE.encode("utf-16"),""),
    "bytes": (bytes(range(256))*8,""),
    "zeros": (bytes(1000),""),
    "a field without an end": (HEAD+'"0,'+"1"*200_000+"\n",""),
    "a long field": (HEAD+"0,"+"1"*200_000+",70\n",""),
}
@pytest.mark.parametrize("name",TABLES)
def test_wrong_table(tmp_path, name):
    text,said = TABLES[name]
    dataset(tmp_path,table=text)
    bad(lambda: read_morpho_labels(tmp_path,"test"),tmp_path/"t10k-morpho.csv",said)

def test_rows_and_images(tmp_path):
    for text in (TABLE+"6,2.0,80.0\n",HEAD+"0,1.5,70.0\n"):
        dataset(tmp_path,table=text)
        bad(lambda: read_morphomnist(tmp_path),"one row of labels per image",tmp_path)
    (tmp_path/"t10k-morpho.csv").unlink()
    bad(lambda: read_morphomnist(tmp_path),"t10k-morpho.csv")

def test_mutated_tables(tmp_path):
    rng = np.random.default_rng(2)
    for _ in range(200):
        dataset(tmp_path,table=mutated(TABLE.encode(),rng))
        try: y = read_morpho_labels(tmp_path,"test")
        except (ValueError,OSError) as e: assert "t10k-morpho.csv" in str(e),e
        else: assert y.isfinite().all() and y.shape[1]==2

# Downloads: a server that breaks off, lies, cannot continue, or never ends

class Mirror(http.server.BaseHTTPRequestHandler):
    def log_message(self, *a): pass
    def do_GET(self):
        s = self.server
        b,asked = s.content[self.path.split("/")[-1]],self.headers.get("Range")
        s.seen.append(asked)
        start = int(asked[6:-1]) if asked and s.ranges else 0
        if start>=len(b):
            self.send_response(416)
            return self.end_headers()
        self.send_response(206 if start else 200)
        if s.length: self.send_header("Content-Length",s.length if isinstance(s.length,str) else str(len(b)-start))
        self.end_headers()
        self.wfile.write(b[start:s.cuts.pop(0) if s.cuts else len(b)])

RAW = np.random.default_rng(3).integers(0,256,300_000).astype(np.uint8).tobytes()
GOOD,FILES = gzip.compress(RAW),{"a.gz": hashlib.md5(RAW).hexdigest()}

@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setenv("no_proxy","127.0.0.1")
    monkeypatch.setenv("TQDM_DISABLE","1")
    running = []
    def start(content=GOOD, cuts=(), ranges=True, length=True):
        s = http.server.ThreadingHTTPServer(("127.0.0.1",0),Mirror)
        s.content,s.cuts,s.ranges,s.length,s.seen = {"a.gz": content},list(cuts),ranges,length,[]
        s.url = f"http://127.0.0.1:{s.server_port}/mnist"
        threading.Thread(target=s.serve_forever,daemon=True).start()
        running.append(s)
        return s
    yield start
    for s in running:
        s.shutdown()
        s.server_close()

def get(folder, *servers): return download_mnist(folder,[s.url for s in servers],FILES,timeout=5)
def arrived(folder):
    only = [p.name for p in folder.iterdir()]==["a.gz"]
    return only and gzip.decompress((folder/"a.gz").read_bytes())==RAW

def test_download(tmp_path, serve):
    s = serve()
    get(tmp_path,s)
    assert arrived(tmp_path) and s.seen==[None]
    get(tmp_path,s)
    eq(len(s.seen),1)                                               # what is there is not fetched again
    (tmp_path/"a.gz").write_bytes(GOOD[:1000])
    get(tmp_path,s)
    assert arrived(tmp_path) and len(s.seen)==2                     # unless it is broken

def test_download_continues(tmp_path, serve):
    s = serve(cuts=[200_000])
    get(tmp_path,s)
    assert arrived(tmp_path) and s.seen==[None,"bytes=200000-"]

def test_download_breaks_off(tmp_path, serve):
    s = serve(cuts=[50_000,100_000])
    fail(lambda: get(tmp_path,s),contains="before the end",exc=OSError)
    eq([(p.name,p.stat().st_size) for p in tmp_path.iterdir()],[("a.gz.part",100_000)])
    get(tmp_path,s)                                                 # what came stays, the next call continues
    assert arrived(tmp_path) and s.seen[-1]=="bytes=100000-"

@pytest.mark.parametrize("part,ranges",[(GOOD[:1000],False),(GOOD,True),(b"x"*1000,True),(b"",True)])
def test_download_of_a_part(tmp_path, serve, part, ranges):
    (tmp_path/"a.gz.part").write_bytes(part)
    get(tmp_path,serve(ranges=ranges))
    assert arrived(tmp_path)

def test_download_from_liars(tmp_path, serve):
    liar = serve(gzip.compress(RAW[:-1]+bytes([RAW[-1]^1])))
    fail(lambda: get(tmp_path,liar),contains="wrong checksum",exc=OSError)
    eq(list(tmp_path.iterdir()),[])                                 # and no file of that name
    get(tmp_path,liar,serve())                                      # the next mirror has it
    assert arrived(tmp_path)

@pytest.mark.parametrize("length",[False,"many"])
def test_download_of_unknown_length(tmp_path, serve, length):
    get(tmp_path,serve(length=length))
    assert arrived(tmp_path)

def test_download_from_nowhere(tmp_path, serve):
    dead = serve()
    dead.shutdown()
    dead.server_close()
    fail(lambda: get(tmp_path,dead),contains=dead.url,exc=OSError)
    get(tmp_path,dead,serve())
    assert arrived(tmp_path)

# The archives of CausalCircuit

@pytest.fixture(scope="module")
def circuit_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("circuit")
    write_circuit(folder/"whole.npz",n=4,size=32)
    with np.load(folder/"whole.npz") as f: arrays = dict(f)
    np.savez_compressed(folder/"deflated.npz",**arrays)
    return folder,arrays

def contents(file):
    p = read_circuit(file,size=32)
    return p.labels,p.noise,p.pressed,p.target,p.images(slice(None))

def npy(array, **header):
    "An .npy file, with a header of one's own"
    f = io.BytesIO()
    np.lib.format.write_array_header_1_0(f,np.lib.format.header_data_from_array_1_0(array)|header)
    return f.getvalue()+array.tobytes()

def archive(arrays, **replaced):
    "A whole archive with a correct CRC, some of its members replaced by bytes"
    f = io.BytesIO()
    with zipfile.ZipFile(f,"w",zipfile.ZIP_DEFLATED) as z:
        for k,v in arrays.items(): z.writestr(f"{k}.npy",replaced.get(k) or npy(v))
    return f.getvalue()

class Trap:
    "What leaves a trace when it is unpickled"
    def __init__(self, folder): self.folder = folder
    def __reduce__(self): return os.mkdir,(str(self.folder/"trap"),)

def objects(folder, arrays, name):
    o = np.empty(arrays[name].shape,object)
    o.fill(Trap(folder))
    f = io.BytesIO()
    np.save(f,o,allow_pickle=True)
    return archive(arrays,**{name: f.getvalue()})

def shapes(arrays, name, rng):
    a = arrays[name]
    other = [a[:3],a[None],a[:,None],a.reshape(-1)[:-1],a[:0],a.reshape(2,2,*a.shape[1:])]
    return archive(arrays,**{name: npy(other[rng.integers(6)])})

def dtypes(arrays, name, rng):
    kinds = [np.complex64,"U5","V7","M8[s]","S0","f4,i4"]
    return archive(arrays,**{name: npy(np.zeros(arrays[name].shape,kinds[rng.integers(6)]))})

def absurd(arrays, name, rng):
    n = (10**int(rng.integers(2,19)),-1,0,2**63)[rng.integers(4)]
    return archive(arrays,**{name: npy(arrays[name],shape=(n,*arrays[name].shape[1:]))})

def bomb(arrays, name, rng):
    a = arrays[name]
    head = npy(np.zeros(1,"S1"),shape=(2**17,*a.shape[1:]),descr=a.dtype.str)[:-1]
    return archive(arrays,**{name: head+bytes(2**17*a[0].nbytes)[:2**25]})

def values(arrays, name, rng):
    name = rng.choice(["original_latents","epsilon","pressed","intervention_labels"])
    a = arrays[name].copy()
    a.flat[rng.integers(a.size)] = 7 if name=="intervention_labels" else [np.nan,np.inf,-np.inf][rng.integers(3)]
    return archive(arrays,**{name: npy(a)})

def missing(arrays, name, rng):
    f = io.BytesIO()
    np.savez(f,**{n: v for n,v in arrays.items() if n!=name})
    return f.getvalue()

@pytest.mark.parametrize("kind",[shapes,dtypes,absurd,bomb,values,missing])
def test_circuit_of_another_make(circuit_file, tmp_path, kind):
    folder,arrays = circuit_file
    rng,file = np.random.default_rng(4),tmp_path/"wrong.npz"
    for _ in range(6 if kind is bomb else 25):
        file.write_bytes(kind(arrays,rng.choice(list(arrays)),rng))
        with memory(150e6): bad(lambda: contents(file),file)

def test_circuit_of_objects(circuit_file, tmp_path):
    folder,arrays = circuit_file
    file = tmp_path/"objects.npz"
    for name in arrays:
        file.write_bytes(objects(tmp_path,arrays,name))
        bad(lambda: contents(file),file,"Python objects","allow_pickle=True")
    assert not (tmp_path/"trap").exists()
    with np.load(file,allow_pickle=True) as f: f[name]
    assert (tmp_path/"trap").exists()                               # the trap does work, for whoever unpickles

def test_mutated_circuit(circuit_file, tmp_path):
    folder,arrays = circuit_file
    rng,file,refused = np.random.default_rng(5),tmp_path/"damaged.npz",0
    want = contents(folder/"whole.npz")
    raw = [(folder/n).read_bytes() for n in ("whole.npz","deflated.npz")]
    for k in range(400):
        file.write_bytes(mutated(raw[k%2],rng))
        try: got = contents(file)
        except ValueError as e:
            assert str(file) in str(e),e
            refused += 1
        else: assert all(torch.equal(a,b) for a,b in zip(got,want))
    assert refused>300

def test_broken_jpegs(circuit_file, tmp_path):
    "A whole archive of broken pictures: refused, or pictures of the right shape; the tables are as they were"
    folder,arrays = circuit_file
    rng,file,want = np.random.default_rng(6),tmp_path/"pictures.npz",contents(folder/"whole.npz")
    for _ in range(60):
        jpegs = [[bytearray(v) for v in row] for row in arrays["imgs"].tolist()]
        j = jpegs[rng.integers(4)][rng.integers(2)]
        for _ in range(rng.integers(1,9)): j[rng.integers(3,len(j))] = rng.integers(256)
        file.write_bytes(archive(arrays,imgs=npy(np.array([[bytes(v) for v in row] for row in jpegs]))))
        try: got = contents(file)
        except ValueError as e: assert str(file) in str(e),e
        else: assert got[4].shape==want[4].shape and all(torch.equal(a,b) for a,b in zip(got[:4],want))

def test_circuit_lies(circuit_file, tmp_path):
    folder,arrays = circuit_file
    (tmp_path/"lie.npz").write_bytes(archive(arrays,pressed=npy(arrays["pressed"],shape=(2**17,2,3))))
    bad(lambda: read_circuit(tmp_path/"lie.npz"),"announces 6,291,456 bytes, the archive holds 192")
