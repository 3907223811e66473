"Everything comes from settings.ini; this file only hands it to setuptools."
import re
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup, find_packages

root = Path(__file__).resolve().parent
parser = ConfigParser(delimiters=['='])
parser.read(root/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

pythons = [f'3.{minor}' for minor in range(10, 14)]
if cfg['min_python'] != pythons[0]:
    raise SystemExit(f"min_python is {cfg['min_python']} in settings.ini, {pythons[0]} in setup.py")
suffix = '_requirements'
extras = {k[:-len(suffix)]: v.split() for k,v in cfg.items() if k.endswith(suffix)}
extras['dev'] = sorted({r for k,reqs in extras.items() if k!='perceptual' for r in reqs})

# README.md links by relative paths; PyPI needs whole addresses, of the raw file for a picture
def address(m): return f"{m[1]}{cfg['git_url']}/{'raw' if m[1][0]=='!' else 'blob'}/{cfg['branch']}/{m[2]})"
readme = re.sub(r'(!?\[[^\]]*\]\()(nbs/[^)\s]+)\)', address, (root/'README.md').read_text(encoding='utf-8'))

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=readme,
    long_description_content_type='text/markdown',
    keywords=cfg['keywords'],
    url=cfg['git_url'],
    project_urls={'Documentation': cfg['doc_host'] + cfg['doc_baseurl']},
    author=cfg['author'],
    author_email=cfg['author_email'],
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 3 - Alpha',
        f"Intended Audience :: {cfg['audience']}",
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        f"Natural Language :: {cfg['language']}",
    ]
    + [f'Programming Language :: Python :: {o}' for o in pythons],
    packages=find_packages(include=[cfg['lib_path'], cfg['lib_path'] + '.*']),
    package_data={cfg['lib_name']: ['weights/*.safetensors', 'py.typed', 'explorer.js', 'explorer.css']},
    python_requires='>=' + cfg['min_python'],
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points={
        'console_scripts': cfg['console_scripts'].split(),
        'nbdev': [f"{cfg['lib_name']}={cfg['lib_path']}._modidx:d"],
    },
    zip_safe=False,
)
