"""Make the pages of a rendered site readable without a network: `python .ci/offline.py [DIR]`. Quarto runs it after it
has rendered. Scripts, styles and fonts of other hosts are taken out: Quarto adds require.js and jQuery wherever a table
is an HTML output, though no page has a widget that needs them. smalldocs leaves mathematics to a script of another
host; it becomes MathML, as Quarto writes it."""
import html,os,re,sys
from pathlib import Path

script = re.compile(r'<script\b(?=[^>]*\bsrc="https?://)[^>]*>\s*</script>\n?')
jquery = re.compile(r"<script\b[^>]*>define\('jquery', \[\],function\(\) \{return window\.jQuery;\}\)</script>\n?")
sheet = re.compile(r'<link\b(?=[^>]*\brel="stylesheet")(?=[^>]*\bhref="https?://)[^>]*>\n?')
font = re.compile(r'@import\s*(?:url\(\s*(["\']?)https?://[^)]*?\1\s*\)|(["\'])https?://[^"\']*\2)[^;]*;')
math = re.compile(r'<span class="math (inline|display)">\\[(\[](.*?)\\[)\]]</span>', re.S)

icon = re.compile(r'(<i class="bi [^"]*") role="img"(?: aria-label(?:="")?)?(?=[ >])')  # smalldocs gives it no name

def mathml(m):
    "TeX between `\\(…\\)` or `\\[…\\]` as MathML"
    from latex2mathml.converter import convert
    display = 'block' if m[1]=='display' else 'inline'
    return f'<span class="math {m[1]}">{convert(html.unescape(m[2]), display=display)}</span>'

def offline(folder):
    for p in folder.rglob('*.html'):
        text = p.read_text(encoding='utf-8')
        new = icon.sub(r'\1', math.sub(mathml, sheet.sub('', jquery.sub('', script.sub('', text)))))
        if new!=text: p.write_text(new, encoding='utf-8')
    for p in folder.rglob('*.css'):
        text = p.read_text(encoding='utf-8')
        new = font.sub('', text)
        if new!=text: p.write_text(new, encoding='utf-8')

if __name__=='__main__': offline(Path(sys.argv[1] if len(sys.argv)>1 else os.environ['QUARTO_PROJECT_OUTPUT_DIR']))
