"""Make README.md from nbs/index.ipynb, as nbdev_readme does, without Quarto: `python .ci/readme.py [--check]`.
Pictures are written to nbs/images and linked by relative paths, which GitHub shows (setup.py makes them absolute
for PyPI)."""
import base64,re,sys,tempfile
from pathlib import Path

from execnb.nbio import mk_cell,read_nb,write_nb
from nbconvert import MarkdownExporter
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor
from nbdev.processors import clean_magics,hide_,hide_line,populate_language,rm_export,strip_ansi

root = Path(__file__).resolve().parent.parent
nbs = root/'nbs'

def option(cell, key):
    "Value of the cell's `#| key: value` line, or an empty string"
    m = re.search(rf'^#\|\s*{key}:\s*(.+?)\s*$', cell.source or '', re.M)
    return re.sub(r'\s+# noqa.*$', '', m[1]).strip('\'"') if m else ''

def pictures(cell, files):
    "Turn PNG outputs into Markdown that links to a file with the alt text and caption of the cell"
    for out in cell.get('outputs', []):
        png = out.get('data', {}).get('image/png')
        if not png: continue
        name,alt,cap = f'images/index-{len(files)+1}.png', option(cell, 'fig-alt'), option(cell, 'fig-cap')
        if not alt: raise SystemExit(f'index.ipynb: picture {len(files)+1} has no fig-alt')
        files[name] = base64.b64decode(''.join(png))
        out['data'] = {'text/markdown': f'![{alt}]({name})' + (f'\n\n*{cap}*' if cap else '')}

def link(m):
    "A link of the page, relative to the top level"
    return m[0] if re.match(r'[a-z]+:|#', m[2]) else f'{m[1]}nbs/{m[2]})'

def readme():
    "The text of README.md and the pictures it shows, {path in nbs: bytes}"
    files = {}
    nb = NBProcessor(nbs/'index.ipynb', procs=[FrontmatterProc, populate_language, strip_ansi, hide_line, rm_export, clean_magics, hide_], process=True).nb  # noqa: E501
    fm = nb.frontmatter_
    cells = [c for c in nb.cells if c.cell_type!='raw' and c.get('source')]
    for c in cells:
        if c.cell_type!='code': continue
        pictures(c, files)
        c.source = re.sub(r'^#\|.*\n?', '', c.source, flags=re.M)
    nb.metadata['language_info'] = {'name': 'python'}
    nb.cells = [mk_cell(f"# {fm['title']}\n\n> {fm['description']}", 'markdown')] + cells
    with tempfile.TemporaryDirectory() as d:
        write_nb(nb, f'{d}/README.ipynb')
        text = MarkdownExporter().from_filename(f'{d}/README.ipynb')[0]
    text = re.sub(r'(!?\[[^\]]*\]\()([^)\s]+)\)', link, text)
    if '[@' in text: raise SystemExit('index.ipynb cites with [@key], which README.md cannot show: write a link')
    note = '<!-- Made from nbs/index.ipynb by .ci/readme.py: edit the notebook -->\n\n'
    return note + re.sub(r'\n{3,}', '\n\n', text).strip()+'\n', files

def main(check):
    text,files = readme()
    broken = [o for o in re.findall(r'\]\((nbs/[^)#\s]+)', text) if not (root/o).exists() and o.removeprefix('nbs/') not in files]  # noqa: E501
    if broken: print('index.ipynb links to what is not there:', *broken, file=sys.stderr)
    want = {root/'README.md': text.encode(), **{nbs/k: v for k,v in files.items()}}
    stale = [p for p,b in want.items() if not p.exists() or p.read_bytes()!=b]
    stale += [p for p in nbs.glob('images/index-*.png') if p not in want]
    if check and stale: sys.exit('Out of date with nbs/index.ipynb (run python .ci/readme.py): ' + ', '.join(str(p.relative_to(root)) for p in stale))  # noqa: E501
    if check and broken: sys.exit(1)
    for p in [] if check else stale:
        if p not in want: p.unlink()
        else:
            p.parent.mkdir(exist_ok=True)
            p.write_bytes(want[p])

if __name__=='__main__': main('--check' in sys.argv[1:])
