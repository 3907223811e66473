"""Checks of what is handed to users. `files DIST`: the sdist and wheel in DIST hold every module and weight file
that git has; `modules N`: every module of the installed package imports, with fastcore N and without the extras;
`speed`: the import is quick."""
import importlib,pkgutil,statistics,subprocess,sys,tarfile,zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

def files(dist):
    want = subprocess.run(['git','ls-files','causaldiffae'], capture_output=True, text=True, check=True).stdout.split()
    wheel,sdist = next(Path(dist).glob('*.whl')),next(Path(dist).glob('*.tar.gz'))
    have = {wheel: set(zipfile.ZipFile(wheel).namelist()),
            sdist: {o.partition('/')[2] for o in tarfile.open(sdist).getnames()}}
    for path,names in have.items():
        missing = [o for o in want if o not in names]
        if missing: sys.exit(f'{path.name} lacks {missing}')
    weights = [o for o in want if o.endswith('.safetensors')]
    if not weights: sys.exit('git has no causaldiffae/weights/*.safetensors: the package ships no trained model')
    size = sum(Path(o).stat().st_size for o in weights)/1e6
    if size>10: sys.exit(f'{size:.1f} MB of weights: more than the 10 MB they may take')
    names = ' '.join(Path(o).name for o in weights)
    print(f'{len(want)} files, among them {size:.1f} MB of weights: {names}; wheel {wheel.stat().st_size/1e6:.1f} MB')

def modules(fastcore):
    if version('fastcore').split('.')[0]!=fastcore: sys.exit(f"fastcore is {version('fastcore')}, not {fastcore}")
    extras = [o for o in ('skimage','sklearn','ipywidgets','anywidget','accelerate','mujoco','nbdev') if find_spec(o)]
    if extras: sys.exit(f'{extras} should not be installed here')
    import causaldiffae
    missing = [o for o in causaldiffae.__all__ if o.startswith('_') is False and not hasattr(causaldiffae, o)]
    if missing: sys.exit(f'causaldiffae lacks {missing}')
    names = [o.name for o in pkgutil.walk_packages(causaldiffae.__path__, 'causaldiffae.')]
    for o in names: importlib.import_module(o)
    print(f"{len(names)} modules, fastcore {version('fastcore')}: {' '.join(o.partition('.')[2] for o in names)}")

def speed(runs=7, limit=0.05):
    code = 'import time,torch; t=time.perf_counter(); import {}; print(time.perf_counter()-t)'
    def median(name, runs):
        took = (float(subprocess.check_output([sys.executable,'-c',code.format(name)])) for _ in range(runs))
        return statistics.median(took)
    quick = median('causaldiffae', runs)
    if quick>limit: sys.exit(f'{quick:.3f} s beyond torch, median of {runs}; the limit is {limit} s')
    whole = median('causaldiffae.all', 3)
    print(f"causaldiffae {quick:.3f} s, causaldiffae.all {whole:.3f} s beyond torch, medians of {runs} and 3 runs")

if __name__=='__main__': globals()[sys.argv[1]](*sys.argv[2:])
