"""The site without Quarto, for a check on every change:
`python .ci/pages.py stage DIR` makes DIR, which must not be there yet, with the pages as nbdev prepares them for
Quarto, in the form that smalldocs reads; `python .ci/pages.py check DIR` looks at the rendered pages in DIR: local
links and their #anchors, alt texts, saved errors."""
import re,shutil,sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote,urlsplit

import yaml
from execnb.nbio import mk_cell,read_nb,write_nb
from nbdev.config import get_config
from nbdev.serve import proc_nbs

root = Path(__file__).resolve().parent.parent
colab = re.search(r"'(https://colab[^']*)'", (root/'nbs'/'site.lua').read_text())[1]

class Citations:
    "Pandoc's citations, `[@key, eq. 12]` or `@key`, as links to a list of references at the end of the page"
    def __init__(self, path):
        entries = re.findall(r'^@\w+\{(\S+),\n(.*?)^\}', path.read_text(encoding='utf-8'), re.M|re.S)
        self.bib = {k: dict(re.findall(r'^\s*(\w+)\s*=\s*\{(.*)\},?$', v, re.M)) for k,v in entries}
        for v in self.bib.values(): v.update({f: re.sub(r"[{}]|\\'", '', o) for f,o in v.items()})
        self.cited,self.unknown = [],set()

    def label(self, key):
        names = [o.split(',')[0] for o in self.bib[key]['author'].split(' and ')]
        return ' and '.join(names) if len(names)<3 else f'{names[0]} et al.'

    def cite(self, key, form):
        if key not in self.cited: self.cited.append(key)
        return f"[{form.format(self.label(key), self.bib[key]['year'])}](#ref-{key})"

    def group(self, m):
        keys = re.findall(r'@(\w+)', m[1])
        self.unknown |= {k for k in keys if k not in self.bib}
        if not set(keys) <= self.bib.keys(): return m[0]
        return '(' + re.sub(r'(-?)@(\w+)', lambda o: self.cite(o[2], '{1}' if o[1] else '{0} {1}'), m[1]) + ')'

    def narrative(self, m):
        if m[1] in self.bib: return self.cite(m[1], '{0} ({1})')
        if re.fullmatch(r'[a-z]+\d{4}[a-z]*', m[1]): self.unknown.add(m[1])
        return m[0]

    def __call__(self, text):
        code = re.split(r'(^```.*?^```|`[^`\n]*`)', text, flags=re.M|re.S)  # odd items are code
        for i in range(0, len(code), 2):
            code[i] = re.sub(r'\[((?:[^\[\]]*[\s;])?-?@\w+[^\[\]]*)\](?!\()', self.group, code[i])
            code[i] = re.sub(r'(?<![\w\[/@])@(\w+)', self.narrative, code[i])
        return ''.join(code)

    def references(self):
        "The cell that lists what was cited since the last call"
        keys,self.cited = self.cited,[]
        def item(k):
            b = self.bib[k]
            where = b.get('booktitle') or b.get('journal') or b.get('publisher') or f"arXiv {b['eprint']}"
            return f"[{b['author'].replace(' and ', '; ')} ({b['year']}). [{b['title']}]({b['url']}). *{where}*.]{{#ref-{k}}}"  # noqa: E501
        text = '## References\n\n' + '\n\n'.join(map(item, sorted(keys, key=self.label)))
        return [mk_cell(text, 'markdown')] if keys else []

def stage(dest):
    cfg = get_config(path=root)
    src = proc_nbs(n_workers=2, force=True)
    shutil.copytree(src, dest)
    nbs = {p: read_nb(p) for p in sorted(dest.rglob('*.ipynb'))}
    front = {p: yaml.safe_load(nb.cells[0].source.strip().strip('-')) for p,nb in nbs.items()}
    # Quarto names a page by its `output-file` (00_graph.ipynb becomes graph.html); smalldocs by its source
    names = {p.name: Path(front[p].pop('output-file')).with_suffix('.ipynb').name for p in nbs}
    def rename(s): return re.sub(r'[\w.-]+\.ipynb', lambda m: names.get(m[0], m[0]), s)
    linked = []
    cite = Citations(root/'nbs'/'references.bib')
    site = f"{cfg.doc_host}{cfg.doc_baseurl}/"
    def text(s):
        s = re.sub(r'(\]\()([^)\s]+)', lambda m: m[1]+rename(m[2]), ''.join(s))
        return cite(s.replace(f']({site}', '](/'))
    for p,nb in nbs.items():
        nb.cells[0].source = f'---\n{yaml.dump(front[p])}---'
        if p.parent.name=='tutorials': nb.cells.insert(1, mk_cell(f'[Open in Colab]({colab}{p.name}){{.colab}}', 'markdown'))  # as nbs/site.lua does  # noqa: E501
        for c in nb.cells:
            if c.cell_type=='markdown': c.source = text(c.source)
            for o in c.get('outputs', []):
                if 'text/markdown' not in o.get('data', {}): continue
                code = re.findall(r'^```.*?^```', ''.join(o['data']['text/markdown']), re.M|re.S)
                linked += [f'{p.name}: {m}' for m in re.findall(r'\[`([^`]+)`\]\(', ' '.join(code))]
                o['data']['text/markdown'] = text(o['data']['text/markdown'])
        nb.cells += cite.references()
        p.unlink()
        write_nb(nb, p.with_name(names[p.name]))
    for p in dest.rglob('*.qmd'): p.write_text(text(p.read_text(encoding='utf-8')), encoding='utf-8')
    yml = dest/'_quarto.yml'
    conf = yaml.safe_load(yml.read_text(encoding='utf-8'))
    del conf['bibliography'], conf['filters'], conf['project']['post-render']  # smalldocs has none of these
    html = conf['format']['html']
    del html['grid'], html['html-math-method']
    html['theme'] = {k: v[0] for k,v in html['theme'].items()}
    conf = rename(yaml.dump(conf, sort_keys=False))
    yml.write_text(conf, encoding='utf-8')
    hrefs = set(re.findall(r'[\w/.-]+\.ipynb', conf.partition('sidebar:')[2]))
    pages = {p.relative_to(dest).as_posix() for p in dest.rglob('*.ipynb')}
    faults = {"names in backticks in a signature's comments, which nbdev makes links inside the code": linked, 'cited, but not in references.bib': cite.unknown,  # noqa: E501
              'pages that the sidebar lacks': pages-hrefs, 'in the sidebar, but no page': hrefs-pages}
    for what,o in faults.items():
        if o: print(f'{what}: {sorted(o)}')
    if any(faults.values()): sys.exit(1)

class Page(HTMLParser):
    "Anchors, links and faults of an HTML page"
    def __init__(self, path):
        super().__init__()
        self.ids,self.links,self.faults = set(),set(),[]
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        if 'id' in a: self.ids.add(a['id'])
        self.links |= {v for k,v in a.items() if k in ('href','src') and v}
        if tag=='img' and not a.get('alt'): self.faults.append('a picture without alt text')
        if 'cell-output-error' in (a.get('class') or ''): self.faults.append('a saved error')

def check(site):
    pages = {p: Page(p) for p in sorted(site.rglob('*.html'))}
    faults,n = [(p,f) for p,page in pages.items() for f in page.faults],0
    for p,page in pages.items():
        for link in sorted(page.links):
            url = urlsplit(link)
            if url.scheme or url.netloc: continue
            n += 1
            path = unquote(url.path)
            if path.startswith('/'): path = f"{site}/{path.removeprefix('/causaldiffae').lstrip('/')}"  # the 404 page
            target = (p.parent/path).resolve() if path else p
            if target.is_dir(): target = target/'index.html'
            if not target.exists(): faults.append((p, f'broken link {link}'))
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids: faults.append((p, f'no anchor {link}'))  # noqa: E501
    for p,f in faults: print(f'{p.relative_to(site)}: {f}')
    print(f'{len(pages)} pages, {n} local links, {len(faults)} faults')
    if faults or not pages: sys.exit(1)

if __name__=='__main__':
    what,folder = sys.argv[1:]
    {'stage': stage, 'check': check}[what](Path(folder).resolve())
