"Pictures and tables of every kind, damaged ones too"
import csv
import io
import os
import random
import shutil
import struct
import sys
import time
import unicodedata
import zlib
from functools import partial
from pathlib import Path
from unittest.mock import patch as patched
import datasets
import numpy as np
import pytest
import torch
from fastcore.test import ExceptionExpected
from fastcore.test import test_close as near, test_eq as eq, test_fail as fails
from PIL import Image as PIL
from causaldiffae.data.folder import (
    _image_files, _missing, from_folder, from_huggingface, image_rule, read_image, read_labels)
from causaldiffae.data.pendulum import pendulum
from causaldiffae.graph import CausalGraph
from causaldiffae.images import StoredImages, from_uint8, to_uint8

bad_if = partial(fails,exc=ValueError)
wide = np.zeros((60,120,3), np.uint8)
wide[...,2] = np.linspace(0,255,120)
wide[...,1] = np.linspace(255,0,60)[:,None]
wide[np.hypot(*(np.indices((60,120))-np.array([30,60])[:,None,None]))<22] = (200,30,30)
def encoded(im, kind="png", **k):
    f = io.BytesIO()
    im.save(f, kind, **k)
    f.seek(0)
    return f
# "turn by 90 degrees clockwise to show"
exif = PIL.Exif()
exif[0x0112] = 6
made = {
    "crop": read_image(wide, image_rule(64)),
    "pad": read_image(wide, image_rule(64, fit="pad")),
    "transparent": read_image(
        encoded(PIL.fromarray(np.dstack([wide, np.full((60, 120), 128, np.uint8)]))),
        image_rule(64, fit="pad", background="grey"),
    ),
    "EXIF": read_image(encoded(PIL.fromarray(np.rot90(wide).copy()), exif=exif),
                       image_rule(64)),
}
rule = image_rule(64)
grey = image_rule((5,7), 1)
rng = np.random.default_rng(0)
small = rng.integers(0,256,(5,7),dtype=np.uint8)
rgb = rng.integers(0,256,(5,7,3),dtype=np.uint8)
colour = image_rule((5,7))
kinds = CausalGraph.from_edges("light->shadow, kind",categories={"kind": ["round","flat","long"]})
good = "image,light,shadow\na.png,1,2\nb.png,-2.5e1,\nc.png,nan,.5\n"
nan = float('nan')

@pytest.fixture
def work(tmp_path,monkeypatch):
    "A folder of its own, with a table of seven mistakes"
    (tmp_path/"labels.csv").write_text("""image,light,shadow,kind,remark
a.png,80,3.5,round,
b.png,"81,5",3.6,round,
c.png,82,NA,flat,missing: fine
a.png,83,3.8,flat,
d.png,84,3.9
e.png,,inf,round,
f.png,86,4.1,falt,
,87,4.2,long,"quoted, with a comma"
g.png,88,4.3,
""")
    monkeypatch.chdir(tmp_path)
    return Path(".")

@pytest.fixture
def folder(work):
    "Two hundred pendulums as files: what they were, and where they are"
    source = pendulum(n=200, size=40, seed=3)
    folder = work/"pendulums"
    folder.mkdir()
    for k,x in enumerate(to_uint8(source.images).numpy()):
        PIL.fromarray(x).save(folder/f"{k:03}.png")
    with open(folder/"labels.csv", "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["image",*source.graph.names,"photographer"])
        for k,y in enumerate(source.labels.tolist()):
            out.writerow([f"{k:03}.png",*(y if k%10 else ["","",y[2],"NA"]),"me"])
    return source,folder

def table(text, graph="light->shadow", **k):
    Path("t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels("t.csv", graph, **k)
def wrong(text, *says, graph="light->shadow", **k):
    try: table(text, graph, **k)
    except ValueError as e:
        for s in says: assert s in str(e), (s, str(e))
        return str(e)
    assert False, "no error"

def small_folder(name="f"):
    d = Path(name)
    shutil.rmtree(d, ignore_errors=True)
    (d/"sub").mkdir(parents=True)
    for k in range(6):
        PIL.fromarray(rng.integers(0, 256, (9, 8), dtype=np.uint8)).save(d / (f"sub/{k}.png" if k > 3 else f"{k}.tif"))
    np.save(d/"sub"/"4.npy", small)
    os.remove(d/"sub"/"4.png")
    (d/".hidden.png").write_text("x")
    (d/"notes.txt").write_text("x")
    (d/"labels.csv").write_text("image,a,b\n0.tif,1,2\n./1.tif,2,3\n2,3,4\n3,4,5\nsub/4.npy,5,6\nsub/5,6,7\n")
    return d
def load(d, graph="a->b", **k): return from_folder(d, None, graph, **(dict(size=8, progress=False)|k))

def refused(d, *says, **k):
    try: load(d, **k)
    except ValueError as e:
        for s in says: assert s in str(e), (s,str(e))
        return str(e)
    assert False, "no error"

def damage(data, r):
    "One to three random changes to the bytes of a table"
    for _ in range(r.randint(1,3)):
        i,lines = r.randrange(len(data)+1),data.split(b"\n")
        j = r.randrange(len(lines))
        kind = r.randrange(14)
        if kind==0: data = data[:i]+bytes([r.randrange(256)])+data[i+1:]
        elif kind==1: data = data[:i]+data[i+r.randint(1,9):]
        elif kind==2:
            data = (
                data[:i]
                + r.choice(
                    [
                        b'"',
                        b"'",
                        b",",
                        b";",
                        b"\n",
                        b"\r",
                        b"\t",
                        b"\0",
                        b"nan",
                        b"1e999",
                        b"--",
                        b"\xc3",
                        b"\xe2\x82\xac",
                        b"\xff\xfe",
                    ]
                )
                + data[i:]
            )
        elif kind==3:
            lines.insert(j, lines[r.randrange(len(lines))])
            data = b"\n".join(lines)
        elif kind==4:
            del lines[j]
            data = b"\n".join(lines)
        elif kind==5: data = data[:i]
        elif kind==6: data = data.replace(b",", r.choice([b";",b"\t",b", ",b",,"]))
        elif kind==7: data = b"\xef\xbb\xbf"+data
        elif kind==8: data = data.decode("utf-8","ignore").encode(r.choice(["utf-16","latin-1","utf-8"]), "ignore")
        elif kind==9:
            lines[j] = lines[j].replace(b",", b',"', 1)
            data = b"\n".join(lines)
        elif kind==10: data = data[:i]+b"9"*r.choice([40,300,150_000])+data[i:]
        elif kind==11:
            r.shuffle(lines)
            data = b"\n".join(lines)
        elif kind==12: data = data.replace(b"\n", r.choice([b"\r\n",b"\r",b"\n\n"]))
        else:
            lines[j] = lines[j][::-1]
            data = b"\n".join(lines)
    return data

def test_every_pixel_is_kept():
    "Pictures of the right size, in every kind of file"
    eq(read_image(small, grey)[...,0], small)
    eq(read_image(rgb, colour), rgb)
    for kind in ("png","tiff"):
        eq(read_image(encoded(PIL.fromarray(rgb), kind), colour), rgb)
        eq(read_image(encoded(PIL.fromarray(small), kind), colour), np.repeat(small[...,None],3,2))
    grown = encoded(PIL.fromarray(small).resize((70, 50)), "jpeg", quality=95)
    assert np.abs(read_image(grown, grey).astype(int)[..., 0]-small).mean()<25
    deep = small.astype(np.uint16)*257
    # 16 bits
    for kind in ("png","tiff"): eq(read_image(encoded(PIL.fromarray(deep), kind), grey)[...,0], small)
    eq(read_image(deep, grey)[...,0], small)
    eq(read_image(encoded(PIL.fromarray(deep.astype(">u2")),"tiff"), grey)[...,0], small)
    eq(read_image(small/255., image_rule((5,7), 1, values=(0,1)))[...,0], small)
    eq(read_image(small*2.-60, image_rule((5,7), 1, values=(-60,450)))[...,0], small)
    # 12 bits in 16
    eq(read_image(deep//16, image_rule((5,7), 1, values=(0,4095)))[...,0], small)
    floats = encoded(PIL.fromarray((small/255.).astype("float32")), "tiff")
    eq(read_image(floats, image_rule((5,7), 1, values=(0,1)))[...,0], small)
    eq(read_image(small>99, grey)[...,0], (small>99)*np.uint8(255))
    eq(read_image(encoded(PIL.fromarray(small>99)), grey)[...,0], (small>99)*np.uint8(255))
    eq(read_image(small[...,None], grey)[...,0], small)

def test_palettes_and_alpha():
    "Palettes, holes, CMYK, transparency"
    palette = PIL.fromarray(rgb).quantize(35)
    eq(read_image(encoded(palette), colour), np.asarray(palette.convert("RGB")))
    holes = palette.copy()
    holes.info["transparency"] = 3
    eq(
        read_image(encoded(holes, transparency=3), image_rule((5, 7), background="#010203"))[
            np.asarray(holes) == 3
        ].tolist(),
        [[1, 2, 3]] * int((np.asarray(holes) == 3).sum()),
    )
    black = read_image(
        encoded(PIL.fromarray(small), transparency=int(small[0, 0])), image_rule((5, 7), 1, background="black")
    )[..., 0]
    eq(black[0,0], 0)
    eq(black[small!=small[0,0]], small[small!=small[0,0]])
    cmyk = encoded(PIL.fromarray(wide).convert("CMYK"), "jpeg", quality=95)
    assert np.abs(read_image(cmyk, image_rule((60,120))).astype(int)-wide).mean()<8
    la = np.dstack([small,np.zeros_like(small)])
    eq(read_image(encoded(PIL.fromarray(la)), image_rule((5,7), 1, background="white"))[...,0], np.full((5,7),255))
    rgba = np.dstack([rgb,small])
    eq(read_image(rgba, image_rule((5,7), 4)), rgba)
    eq(read_image(encoded(PIL.fromarray(rgba)), image_rule((5,7), 4)), rgba)
    eq(read_image(encoded(PIL.fromarray(rgb)), image_rule((5,7), 4))[...,3], np.full((5,7),255))
    half = read_image(
        encoded(PIL.fromarray(np.dstack([rgb, np.full((5, 7), 128, np.uint8)]))), image_rule((5, 7), background="black")
    )
    assert np.abs(half-rgb*(128/255)).max()<=1

def test_nothing_is_squeezed():
    "Antialiased; a disc stays a disc; upright"
    eq(made["EXIF"], made["crop"])
    # antialiased: a fine chequerboard becomes grey, not moiré; nothing is squeezed: a disc stays a disc
    board = ((np.indices((640,640)).sum(0)%2)*255).astype(np.uint8)
    assert np.abs(read_image(board, image_rule(64,1)).astype(int)-127.5).max()<=2
    for v in (made["crop"],made["pad"]):
        rows,cols = ((v[...,0]>150)&(v[...,1]<120)&(v[...,2]<120)).nonzero()
        assert abs(np.ptp(rows)-np.ptp(cols))<=1
    eq(made["pad"][:15].min(), 255)
    eq(made["pad"].shape, (64,64,3))
    # a photograph decoded at a quarter of its size, and one decoded whole: the same picture
    photo = PIL.fromarray(np.kron(rng.integers(0,256,(30,40,3)), np.ones((64,64,1))).astype(np.uint8))
    whole = encoded(photo, "png")
    jpeg = encoded(photo, "jpeg", quality=95)
    assert np.abs(read_image(whole, rule).astype(int)-read_image(jpeg, rule)).mean()<2

def test_no_picture():
    "What is no picture, or not one"
    for bad, say in (
        (small.astype(complex), "numbers, got complex"),
        (small.astype(float), "values=(black, white)"),
        (small.astype(np.int32), "int32"),
        (np.zeros((3, 4, 5, 6), np.uint8), "H×W"),
        (np.zeros((0, 4), np.uint8), "H×W"),
        (rgb.transpose(2, 0, 1), "expected 1 channels, got an array of 7"),
    ):
        bad_if(lambda: read_image(bad, grey), contains=say)
    bad_if(lambda: read_image(np.full((4,4),np.nan), image_rule(4,1,values=(0,1))), contains="finite")
    two = io.BytesIO()
    PIL.fromarray(rgb).save(two, "tiff", save_all=True, append_images=[PIL.fromarray(rgb)])
    two.seek(0)
    bad_if(lambda: read_image(two, colour), contains="2 pages")
    # no format that runs programs
    fails(lambda: read_image(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0"), rule), exc=OSError)

def test_no_rule():
    "What is no rule"
    for bad, say in (
        (dict(size=0), "size"),
        (dict(size=(4,)), "size"),
        (dict(size=True), "size"),
        (dict(size=9.0), "size"),
        (dict(size=10**6), "size"),
        (dict(channels=0), "channels"),
        (dict(channels=17), "channels"),
        (dict(fit="squeeze"), "fit"),
        (dict(background="nocolour"), "background"),
        (dict(background=7), "background"),
        (dict(values=(1, 0)), "values"),
        (dict(values=3), "values"),
        (dict(values=(0, float("inf"))), "values"),
    ):
        bad_if(lambda: image_rule(**bad), contains=say)
    with patched.dict(sys.modules, {"PIL": None, "PIL.Image": None, "PIL.ImageColor": None}), ExceptionExpected(
        ImportError, regex=r"causaldiffae\[data\]"
    ):
        image_rule()

def test_channels_of_arrays():
    "An array keeps its channels"
    # an array keeps its channels, whatever their number …
    for C in (2,4,5,16):
        five = rng.integers(0,256,(5,7,C),dtype=np.uint8)
        eq(read_image(five, image_rule((5,7),C)), five)
    # … none of them an alpha
    four = np.zeros((8,8,4),np.uint8)
    four[...,:3] = 200,100,50
    eq(read_image(four, image_rule(4,4))[0,0].tolist(), [200,100,50,0])
    for C in (1,3): bad_if(lambda: read_image(four, image_rule(8,C)), contains="an array of 4")

def test_values():
    "Values go for bytes, too; 16 bits"
    palette = PIL.fromarray(rgb).quantize(35)
    # values go for bytes too
    mask = np.eye(8,dtype=np.uint8)
    eq(read_image(mask, image_rule(8,1,values=(0,1)))[:2,0,0].tolist(), [255,0])
    eq(read_image(encoded(PIL.fromarray(mask)), image_rule(8,1,values=(0,1)))[:2,0,0].tolist(), [255,0])
    eq(read_image(encoded(PIL.fromarray(np.dstack([mask]*3))), image_rule(8,values=(0,1)))[0,0].tolist(), [255]*3)
    for m in (palette, PIL.fromarray(small > 99)):
        bad_if(lambda: read_image(encoded(m), image_rule((5, 7), values=(0, 1))), contains="values= means nothing")
    def png16(v, colour, channels):
        raw = b"".join(b"\0"+np.full((8,channels),v,">u2").tobytes() for _ in range(8))
        chunk = lambda k,b: struct.pack(">I",len(b))+k+b+struct.pack(">I",zlib.crc32(k+b))
        return io.BytesIO(
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, colour, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw))
            + chunk(b"IEND", b"")
        )
    for kind, channels in ((2, 3), (6, 4), (4, 2)):
        bad_if(lambda: read_image(png16(4000, kind, channels), image_rule(8, values=(0, 4095))), contains="16 bits")
    eq(read_image(png16(257*99,2,3), image_rule(8))[0,0].tolist(), [99]*3)
    eq(read_image(png16(4000,0,1), image_rule(8,1,values=(0,4095)))[0,0,0], 249)

def test_broken_arrays(tmp_path):
    "Damaged .npy files"
    broken = io.BytesIO()
    np.save(broken, small)
    b = broken.getvalue()
    for cut in (b[:40],b[:-3],b.replace(b"descr",b"de(cr"),b.replace(b"(5, 7)",b"(5,(7)"),b"",b[:8]+b"\xff\xff"+b[10:]):
        (tmp_path/"x.npy").write_bytes(cut)
        bad_if(lambda: read_image(tmp_path/"x.npy", grey))

def test_one_table_in_many_spellings(work):
    "Encodings, line ends, blanks, quotes"
    t = table(good)
    eq((t.names,t.lines,t.ignored), (["a.png","b.png","c.png"],[2,3,4],[]))
    nan = float("nan")
    near(t.labels.nan_to_num(nan=-99), torch.tensor([[1,2],[-25,-99],[-99,.5]]).double())
    for same in (
        good.encode("utf-8-sig"),
        good.replace("\n", "\r\n"),
        good + "\n\n ,,\n",
        good.replace("a.png", '"a.png"'),
        good.replace(",", " , "),
        "\n" + good,
        good[:-1],
        good.replace("nan", "NA"),
        good.replace("\n", "\r"),
    ):
        eq(table(same).labels.nan_to_num(nan=-99), t.labels.nan_to_num(nan=-99))
        eq(table(same).names, t.names)

def test_cells_and_lines(work):
    "Cells of two lines, columns left alone, seven mistakes named by their lines"
    # a cell with two lines
    extra = table("id,shadow,image,light,why\n7,2,a.png,1,x\n8,3,b.png,2,\"y\nz\"\n9,4,c.png,3,\n")
    eq(extra.ignored, ["id","why"])
    eq(extra.labels.tolist(), [[1,2],[2,3],[3,4]])
    eq(extra.lines, [2,3,5])
    seven = wrong((work/"labels.csv").read_bytes(), "7 problems", graph=kinds)
    at = [int(l.split("line ")[1].split(",")[0].split(":")[0]) for l in seven.splitlines()[1:]]
    eq(at, [3,5,6,7,8,9,10])

def test_wrong_tables(work):
    "One sentence each, with line and column"
    wrong(good.replace("-2.5e1","x"), "1 problem\n", "t.csv, line 3, column 2 (light): expected a number, got 'x'")
    wrong(good.replace("-2.5e1",'"2,5"'), "decimal point, not a comma")
    wrong(good.replace("-2.5e1","1_0"), "'1_0'")
    wrong(good.replace("-2.5e1","1e39"), "'1e39'")
    wrong(good.replace("-2.5e1","٣"), "expected a number")
    wrong(good.replace("-2.5e1","-inf"), "'-inf'")
    wrong(
        "image,light,shadow\n" + "".join(f"{k},{k},y\n" for k in range(5000)),
        "5,001 problems",
        "line 21,",
        "and 4,981 more",
    )
    wrong("image,light,shadow\n"+"".join(f"{k},{k},y\n" for k in range(9)), "categories=['shadow']")
    wrong(good.replace(",",";"), "separated by ';'")
    wrong(good.replace(",","\t"), "separated by '\\t'")
    wrong(good.replace("light","Light"), "line 1: expected a column light, got 'image', 'Light', 'shadow'")
    wrong(good.replace("light","shadow"), "one column shadow, got 2", "column light")
    wrong("", "got nothing")
    wrong("\n\n", "got nothing")
    wrong("image,light,shadow\n", "a line for every image")
    wrong(good.replace("1,2","1,2,3"), "line 2: expected 3 columns, got 4")
    wrong(good.replace("b.png","a.png"), "line 3, column 1 (image): 'a.png' stands in line 2 already")
    wrong(good.replace("b.png","bä.png").encode("latin-1"), "line 3: not UTF-8, byte 0xe4")
    wrong(good.encode("utf-16"), "UTF-16")
    wrong(good.replace("b.png","b\0.png"), "line 3: a NUL byte")
    wrong(good.replace("b.png",'"b.png'), "line 3", "not a line of a CSV file")
    wrong(good.replace("b.png",'"b".png'), "line 3")
    wrong(good.replace("b.png","b"*200_000), "line 3: not a line of a CSV file (field larger than field limit")
    wrong(good.replace("-2.5e1","9"*100_000), "line 3, column 2 (light): expected a number, got '9999")
    wrong(bytes(range(256)), "NUL")
    # what can still be checked is checked
    wrong(
        good.replace("b.png", "bä.png").encode("latin-1").replace(b".5", b"five"),
        "3: not UTF-8",
        "line 4, column 3 (shadow): expected a number, got 'five'",
    )
    wrong("image,light,shadow\na,1,\nb,2,\n", "shadow: expected labels, got none in 2 rows")
    wrong("image,light,shadow\na,1,3\nb,2,3\n", "vary, got 3 in every row")
    bad_if(lambda: read_labels(work/"none.csv", "a->b"), contains="there is no such")
    bad_if(lambda: read_labels(work/"labels.csv", 7), contains="graph: expected")
    bad_if(lambda: read_labels(work/"labels.csv", "a->"), contains="edges")

def test_categories_of_tables(work):
    "Found in the table, or declared; a spreadsheet's 3.0 is 3"
    # categories: found in the table, or declared; a spreadsheet's 3.0 is 3
    cat = "image,digit\na,10\nb,9\nc,\nd,9.0\n"
    t = table(cat, "digit", categories=["digit"])
    eq(t.graph.categories, {"digit": ("9","10")})
    eq(t.labels.nan_to_num(nan=-1)[:,0].tolist(), [1,0,-1,0])
    t = table(cat, "digit", categories={"digit": ["10","11","9"]})
    eq(t.labels.nan_to_num(nan=-1)[:,0].tolist(), [0,2,-1,2])
    eq(
        table(cat, CausalGraph.from_edges("digit", categories={"digit": ["10", "9"]}))
        .labels.nan_to_num(nan=-1)[:, 0]
        .tolist(),
        [0, 1, -1, 1],
    )
    # declared as a category, NA is one
    t = table("image,k\na,na\nb,NA\nc,x\n", "k", categories={"k": ["NA", "x"]})
    eq(t.labels.nan_to_num(nan=-1)[:, 0].tolist(), [-1, 0, 1])
    eq(table("image,k\na,no\nb,1.50\nc,x\nd,1.50\n", "k", categories=["k"]).graph.categories["k"], ("1.50","no","x"))
    wrong(cat, "column 2 (digit): expected one of 1, 2, got '10'", graph="digit", categories={"digit": ["1","2"]})
    wrong("image,k\na,x\nb,x\n", "at least two categories, got x", graph="k", categories=["k"])
    many = "image,k\n"+"".join(f"{i},{i}\n" for i in range(1001))
    wrong(many, "at most 1,000 categories", graph="k", categories=["k"])
    wrong(cat, "got 'kind'", graph="digit", categories=["kind"])
    wrong(cat, "categories: expected a list", graph="digit", categories="digit")

def test_missing_cells_and_days(work):
    "A missing cell is missing, however it is spelt; days stay days; accents"
    # a missing cell is missing, however it is spelt
    for m in ("N/A","null","None","?","<NA>","#N/A","nan","-"):
        t = table(f"image,k,b\n0,cat,1\n1,dog,{m}\n2,{m},3\n", "k->b", categories=["k"])
        eq(t.graph.categories["k"],("cat","dog"))
        assert t.labels[2,0].isnan() and t.labels[1,1].isnan()
    t = table("image,k\na,1\nb,2\nc,3\n", "k", categories={"k": [1,2,3]})
    eq((t.graph.categories["k"],t.labels[:,0].tolist()),(("1","2","3"),[0,1,2]))
    bad_if(lambda: table("image,k\na,1\nb,2\n", "k", categories={"k": [1,"2"]}), contains="categories['k']")
    # days stay days
    t = table("image,d,b\na,20240101,1\nb,20240102,2\n", "d->b")
    eq(t.labels[:,0].tolist(),[20240101.,20240102.])
    wrong("image,d,b\na,9007199254740993,1\nb,2,2\n", "53 bits", graph="d->b")
    nfd = lambda s: unicodedata.normalize("NFD",s)
    text = f"image,{nfd('größe')},k\n{nfd('ä')}.png,1,{nfd('grün')}\nb,2,rot\n"
    t = table(text, "größe->k", categories={"k": ["rot","grün"]})
    eq((t.names[0],t.labels[0].tolist()),("ä.png",[1.,1.]))

def test_folder_as_written(folder):
    "Images and labels as they were"
    source,folder = folder
    data = from_folder(folder, None, "angle->shadow_length, light->shadow_length, "
                                     "angle->shadow_position, light->shadow_position", size=32)
    # in the order in which the text names them
    eq(data.graph.names, ("angle","shadow_length","light","shadow_position"))
    full = from_folder(folder, folder/"labels.csv", source.graph, size=40, progress=False)
    eq(full.images, from_uint8(to_uint8(source.images)))
    known = ~full._all_labels.isnan()
    eq(known.sum().item(), 800-60)
    near(full._all_labels[known], source.labels[known], eps=1e-4)
    # the resize is what torch calls antialiased bicubic
    assert (
        data.images - torch.nn.functional.interpolate(full.images, 32, mode="bicubic", antialias=True).clamp(-1, 1)
    ).abs().mean() < 0.01

def test_cache(folder, work):
    "Stored images: made once, made again if damaged, whole or not at all"
    source,folder = folder
    full = from_folder(folder, folder/"labels.csv", source.graph, size=40, progress=False)
    stored = from_folder(folder, None, source.graph, size=40, memory=0, cache=work/"cache", progress=False, n_workers=3)
    assert isinstance(stored.images, StoredImages) and isinstance(stored.images.array, np.memmap)
    eq(stored.images[:], full.images)
    eq(stored.test.images, full.test.images)
    eq(stored.labels.nan_to_num(), full.labels.nan_to_num())
    eq(stored.test.index, full.test.index)
    cached, = (work/"cache").iterdir()
    before = cached.stat().st_mtime_ns
    # a damaged file is made again
    zeroed = cached.read_bytes()
    cached.write_bytes(zeroed[:200]+bytes(len(zeroed)-200))
    again = from_folder(folder, None, source.graph, size=40, memory=0, cache=work/"cache", progress=False)
    eq(again.images[7], full.images[7])
    before = cached.stat().st_mtime_ns
    # not decoded a second time
    with patched("causaldiffae.data.folder.read_image", side_effect=AssertionError):
        again = from_folder(folder, None, source.graph, size=40, memory=0, cache=work / "cache", progress=False)
    eq(again.images[7], full.images[7])
    eq(cached.stat().st_mtime_ns, before)
    # another rule, another file
    from_folder(folder, None, source.graph, size=40, fit="pad", memory=0, cache=work/"cache", progress=False)
    eq(len(list((work/"cache").iterdir())), 2)
    os.utime(folder/"005.png", ns=(1,1))
    from_folder(folder, None, source.graph, size=40, memory=0, cache=work/"cache", progress=False)
    eq(len(list((work/"cache").iterdir())), 3)
    with patched("os.replace", side_effect=OSError(28, "full")), ExceptionExpected(OSError):
        from_folder(folder, None, source.graph, size=24, memory=0, cache=work / "cache", progress=False)
    # a full disk leaves nothing behind
    eq(len(list((work/"cache").iterdir())), 3)
    with patched("shutil.disk_usage", return_value=shutil._ntuple_diskusage(1, 1, 0)):
        bad_if(
            lambda: from_folder(folder, None, source.graph, size=24, memory=0, cache=work / "cache", progress=False),
            contains="GB free",
        )
    eq(from_folder(folder, None, source.graph, size=40, n_workers=1, progress=False).images, full.images)

def test_names_and_lines(work):
    "Names without endings; missing, double and unreadable lines"
    d = small_folder()
    six = load(d)
    eq(six.labels[:,0].tolist(), [1,2,3,4,5,6])
    eq(six.images[4], from_uint8(read_image(small, image_rule(8))[None])[0])
    text = (d/"labels.csv").read_text()
    (d/"labels.csv").write_text(text.replace("./1.tif","1.png").replace("3,4,5","0,4,x"))
    refused(
        d,
        "5 problems",
        "line 3, column image: no picture '1.png'",
        "line 5, column image: 0.tif stands in line 2 already",
        "line 5, column 3 (b): expected a number, got 'x'",
        "1.tif: a picture without a line",
        "3.tif: a picture",
    )
    # a line that cannot be read may be about any picture
    for lost in (
        text.replace("3,4,5", "3,4"),
        text.replace("3,4,5", "\0"),
        text.replace("3,4,5", '"3"3,4,5'),
        text.replace("3,4,5", ",4,5"),
    ):
        (d/"labels.csv").write_text(lost)
        refused(d, "1 problem\n", "line 5")
    (d/"labels.csv").write_text(text.replace("3,4,5\n",""))
    refused(d, "3.tif: a picture without a line")
    five = load(d, unlabelled=True)
    eq(len(five), 6)
    assert five._all_labels[5].isnan().all() and not five._all_labels[:5].isnan().any()
    (d/"labels.csv").write_text(text)
    shutil.copy(d/"2.tif", d/"2.png")
    refused(d, "line 4, column image: '2' may be 2.png or 2.tif")
    os.remove(d/"2.png")

def test_damaged_pictures(work):
    "All of them named, in memory and in a file"
    d = small_folder()
    whole = (d/"1.tif").read_bytes()
    (d/"1.tif").write_bytes(whole[:60])
    (d/"sub"/"5.png").write_bytes(b"hello")
    refused(d, "images in", "2 problems", "1.tif: cannot be read", "sub/5.png: cannot be read, cannot identify")
    refused(d, "2 problems", memory=0, cache=work/"cache")
    eq([p for p in (work/"cache").iterdir() if "part" in p.name], [])

def test_pipes_and_long_tables(work):
    "A pipe is no picture, and nobody waits for it"
    # a pipe is no picture, and nobody waits for it
    if hasattr(os,"mkfifo"):
        d = small_folder()
        os.remove(d/"2.tif")
        os.mkfifo(d/"2.tif")
        refused(d, "line 4, column image: no picture '2'")
    d = small_folder()
    (d/"labels.csv").write_text("image,a,b\n"+"0.tif,1,2\n"*30_000)
    start = time.process_time()
    refused(d, "stands in line 2 already")
    assert time.process_time()-start<5
    d = small_folder()
    np.save(d/"sub"/"4.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(d, "sub/4.npy: cannot be read")

def test_wrong_arguments(work):
    "Arguments that are refused, and folders that are not there"
    d = small_folder()
    for k, say in (
        (dict(size=-1), "size"),
        (dict(memory=-1), "memory"),
        (dict(memory="1"), "memory"),
        (dict(graph="a->b->a"), "cycle"),
        (dict(graph="a->c"), "column c"),
        (dict(splits=(1, 1, 1)), "splits"),
        (dict(labelled=2), "labelled"),
    ):
        refused(small_folder(), say, **k)
    bad_if(lambda: from_folder(work/"none", None, "a->b"), contains="there is no such")
    bad_if(lambda: from_folder(d, work/"none.csv", "a->b"), contains="there is no such")
    (work/"empty").mkdir()
    bad_if(lambda: from_folder(work/"empty", small_folder()/"labels.csv", "a->b"), contains="no pictures")

def test_damaged_tables(work):
    "Each of a thousand: read rightly, or refused by name"
    def survives(n, seed):
        "n damaged tables: (how many could be read, how many were refused)"
        d,r,count = small_folder("damaged"),random.Random(seed),[0,0]
        table,files = (d/"labels.csv").read_bytes().replace(b"./1.tif",b"1.tif"),_image_files(d)
        for _ in range(n):
            data = damage(table, r)
            (d/"labels.csv").write_bytes(data)
            start = time.process_time()
            try: got = load(d, unlabelled=r.random()<0.5)
            except ValueError as e:
                count[1] += 1
                assert any(s in str(e) for s in ("labels.csv","splits:","y:")), str(e)
            else:
                count[0] += 1
                text = io.StringIO(data.decode("utf-8-sig"), newline="")
                header, *rows = [
                    o
                    for o in ([c.strip() for c in o] for o in csv.reader(text))
                    if any(o)
                ]
                read = {}
                for o in (dict(zip(header,o)) for o in rows):
                    name = o["image"]
                    key = name.removeprefix("./")
                    key = key if key in files else next(k for k in files if k.rsplit(".",1)[0]==key)
                    read[key] = [float("nan") if o[v].lower() in _missing else float(o[v]) for v in "ab"]
                want = torch.tensor(list(read.values()),dtype=torch.float64)
                eq(got._all_labels[:len(want)].nan_to_num(nan=-7), want.nan_to_num(nan=-7))
                assert got._all_labels[len(want):].isnan().all()
            assert time.process_time()-start<5
        return count
    count = survives(1000, 1)
    assert min(count)>10, count

def on_the_hub(source):
    "Fifty rows as the hub has them"
    return datasets.Dataset.from_dict(
        dict(
            image=[PIL.fromarray(o) for o in to_uint8(source.images[:50]).numpy()],
            lamp=source.labels[:50, 1].tolist(),
            length=[None if k == 7 else v
                    for k, v in enumerate(source.labels[:50, 2].tolist())],
            season=[k % 3 for k in range(50)],
            author=["me"] * 50,
        ),
        features=datasets.Features(
            image=datasets.Image(),
            lamp=datasets.Value("float32"),
            length=datasets.Value("float32"),
            season=datasets.ClassLabel(names=["spring", "summer", "autumn"]),
            author=datasets.Value("string"),
        ),
    )

def test_huggingface(folder, work):
    "Pictures and labels as they were; stored; categories; arrays"
    source,_ = folder
    table = on_the_hub(source)

    hub = partial(from_huggingface, size=40, progress=False)
    data = from_huggingface(table, "light->shadow, season",
                            labels=["lamp","length","season"], size=40)
    eq(data.images, from_uint8(to_uint8(source.images[:50])))
    near(data._all_labels[:,0], source.labels[:50,1], eps=1e-4)
    eq(data._all_labels[:,2].tolist(), [float(k%3) for k in range(50)])
    assert data._all_labels[7,1].isnan() and data._all_labels[:,1].isnan().sum()==1
    hub = partial(from_huggingface, size=40, progress=False)
    other = hub(table, "lamp->length", memory=0, cache=work/"cache")
    assert isinstance(other.images, StoredImages)
    eq(other.test.images.shape[1:], (3,40,40))
    eq(other.images[:], data.images)
    asked = hub(table, "lamp->length, author", categories={"author": ["me", "you"]})
    eq(asked.graph.categories, {"author": ("me", "you")})
    arrays = datasets.Dataset.from_dict(
        dict(pixels=to_uint8(source.images[:20]).tolist(), lamp=source.labels[:20, 1].tolist()),
        features=datasets.Features(pixels=datasets.Array3D((40, 40, 3), "uint8"), lamp=datasets.Value("float32")),
    )
    eq(hub(arrays, "lamp", image="pixels").images, data.images[:20])

def test_huggingface_refused(folder, work):
    "What is no data set with these columns"
    source,_ = folder
    table = on_the_hub(source)

    hub = partial(from_huggingface, size=40, progress=False)
    bad = lambda say,*a,**k: bad_if(lambda: hub(*a,**k), contains=say)
    bad("one split", datasets.DatasetDict(train=table), "lamp->length")
    bad("datasets.Dataset, got list", [], "a->b")
    bad("no column 'picture'", table, "lamp->length", image="picture")
    bad("no column 'light'", table, "light->length")
    bad("a column for each of", table, "lamp->length", labels=["lamp"])
    bad("row 0, column author: expected a number, got 'me'", table, "lamp->author")
    bad("at least one row", table.select([]), "lamp->length")
    bad("expected a column of pictures", table, "lamp->length", image="author")
    bad(
        "row 3: cannot be read, there is no picture",
        table.map(lambda o, k: o | ({"image": None} if k == 3 else {}), with_indices=True),
        "lamp->length",
    )
    bad("categories: expected a list", table, "lamp->length", categories="lamp")
    with patched.dict(sys.modules, datasets=None), ExceptionExpected(ImportError, regex="pip install datasets"):
        hub(table, "lamp->length")
    eq(
        hub(table, "lamp->length", labels={"length": "length", "lamp": "lamp"})._all_labels.nan_to_num(),
        hub(table, "lamp->length")._all_labels.nan_to_num(),
    )
    bad("a dict, variable -> column", table, "lamp->length", labels={"lamp":"lamp"})
    bad("a dict, variable", table, "lamp->length", labels="lamp")
