"""The site as a reader's browser shows it: `python .ci/browser.py DIR [--list]` serves DIR, opens every page in
Chromium at 1280 and 390 px, in the light theme and the dark one, and fails where a page scrolls sideways, a block of
code in a chapter does at 1280 px, the console reports an error, a request leaves this machine, or axe has a critical
or serious finding. `--list` shows every fault, not only the first of its kind on a page.
Needs Debian's chromium (or another Chrome: CHROMIUM=path) and `pip install playwright axe-playwright-python`."""
import asyncio,functools,os,re,shutil,sys,threading
from collections import Counter
from http.server import SimpleHTTPRequestHandler,ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import async_playwright

flags = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage']
kinds = ['page scrolls sideways at 1280', 'page scrolls sideways at 390', 'code scrolls sideways at 1280',
         'console', 'request', 'axe']

class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
    def translate_path(self, path):   # the 404 page asks by whole paths, under the site's folder on its host
        return super().translate_path(re.sub(r'^/causaldiffae(?=/)', '', path))

def serve(folder):
    "Serve `folder` on a free port of this machine"
    server = ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f'http://127.0.0.1:{server.server_port}'

# what sticks out of the page: the innermost boxes beyond its right edge that no box of their own scrolls or cuts
sideways = """() => {
  const wide = document.documentElement.clientWidth
  if (Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= wide) return []
  const cut = e => { for (let p = e.parentElement; p && p !== document.body; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== 'visible') return true; return false }
  const out = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > wide + 1 && !cut(e))
  const leaf = out.filter(e => !out.some(o => o !== e && e.contains(o)))
  return (leaf.length ? leaf : [document.body]).slice(0, 20).map(e => `${e.tagName.toLowerCase()}.${e.className}: ${(e.textContent || '').trim().slice(0, 60)}`)
}"""  # noqa: E501
code = """() => [...document.querySelectorAll('main pre')]
  .filter(e => !e.closest('.cell-output-stdout, .cell-output-stderr, .cell-output-display:not(.cell-output-markdown)'))
  .filter(e => [e, e.parentElement, e.querySelector('code')].some(o => o && o.clientWidth && o.scrollWidth > o.clientWidth + 1))
  .map(e => { const l = e.textContent.split('\\n').sort((a, b) => b.length - a.length)[0]
              return `${l.length} characters: ${l.trim().slice(0, 70)}` })"""  # noqa: E501
dark = """() => {
  const b = document.querySelector('.quarto-color-scheme-toggle')
  if (b && !document.body.classList.contains('quarto-dark') && !document.documentElement.classList.contains('quarto-dark')) b.click()
}"""  # noqa: E501
night = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).every(v => v < 128)"
# Axe's rules about colour look at what the theme changes; the others need no second look. Looking at every token of
# every block of code takes most of the time, so that a few pages speak for the colours of code.
axe = """async ([only, tokens]) => (await axe.run(tokens ? document : {exclude: ['main pre code span']},
    {resultTypes: ['violations'], ...(only && {runOnly: only})})).violations
  .filter(v => ['critical', 'serious'].includes(v.impact))
  .flatMap(v => v.nodes.map(n => `${v.impact} ${v.id}: ${n.target.join(' ')} ${n.failureSummary.split('\\n')[1].trim().slice(0, 140)}`))"""  # noqa: E501

async def look(context, url, axe_source, tokens, chapter):
    "The faults of one page, [(kind, what)]"
    page,faults = await context.new_page(),[]
    host = urlsplit(url).netloc
    def asked(request):
        o = urlsplit(request.url)
        if o.scheme in ('http', 'https') and o.netloc!=host: faults.append(('request', request.url))
    page.on('request', asked)
    page.on('console', lambda m: m.type=='error' and faults.append(('console', f'{m.text[:200]} {m.location["url"]}')))
    page.on('pageerror', lambda e: faults.append(('console', str(e)[:200])))
    page.on('response', lambda r: r.status>=400 and faults.append(('console', f'{r.status} {r.url}')))
    async def add(kind, script, arg=None): faults.extend((kind, o) for o in await page.evaluate(script, arg))
    page.set_default_timeout(300_000)
    await page.set_viewport_size({'width': 1280, 'height': 900})
    await page.goto(url, wait_until='load')
    await page.evaluate('document.fonts.ready')
    await add(kinds[0], sideways)
    if chapter: await add(kinds[2], code)
    await page.evaluate(axe_source)
    await add('axe', axe, [None, tokens])
    await page.evaluate(dark)
    await page.wait_for_function(night)   # the other style sheet may take its time
    await page.wait_for_timeout(200)
    await add('axe', axe, [['color-contrast', 'link-in-text-block'], tokens])
    await page.set_viewport_size({'width': 390, 'height': 844})
    await page.wait_for_timeout(100)
    await add(kinds[1], sideways)
    await page.close()
    return faults

async def main(folder, whole):
    chromium = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('google-chrome')
    if not chromium: sys.exit('no Chromium here')
    pages = sorted(folder.rglob('*.html'))
    base,axe_source = serve(folder),resources.files('axe_playwright_python').joinpath('axe.min.js').read_text()
    found,turn,host = {},asyncio.Semaphore(2),urlsplit(base).netloc
    async with async_playwright() as p:
        browser = await p.chromium.launch(executable_path=chromium, args=flags)
        async def one(path):
            async with turn:
                context = await browser.new_context(reduced_motion='reduce')
                await context.route(lambda u: urlsplit(u).netloc not in ('', host), lambda r: r.abort())
                url = f'{base}/{path.relative_to(folder)}'
                found[path] = await look(context, url, axe_source, path in pages[::8], path.parent==folder)
                await context.close()
            seen = Counter()
            for kind,what in found[path]:
                seen[kind] += 1
                if whole or seen[kind]==1: print(f'{path.relative_to(folder)}: {kind}: {what}', flush=True)
        await asyncio.gather(*map(one, pages))
        await browser.close()
    for kind in kinds:
        n = [sum(o==kind for o,_ in found[p]) for p in pages]
        print(f'{kind}: {sum(n)} on {sum(map(bool, n))} pages')
    n = sum(map(len, found.values()))
    print(f'{len(pages)} pages in Chromium, {n} faults')
    if n or not pages: sys.exit(1)

if __name__=='__main__': asyncio.run(main(Path(sys.argv[1]).resolve(), '--list' in sys.argv[2:]))
