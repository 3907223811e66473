"What is defined once: the distance of images, of 255"
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEFINED = ("01_images.ipynb","11_metrics.ipynb")   # whole pictures; inside of a mask

def test_the_distance_of_images_is_defined_in_one_place():
    "No page takes the mean absolute difference of pixels by itself, but inside an assertion"
    found = []
    for path in sorted((ROOT/"nbs").rglob("*.ipynb")):
        if path.name in DEFINED: continue
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"]!="code": continue
            for line in "".join(cell["source"]).splitlines():
                own = re.search(r"abs\(\)\.mean\(.*127\.5|127\.5.*abs\(\)\.mean\(",line)
                if not own or line.strip().startswith("assert"): continue
                found.append(f"{path.name} {cell['id']}: {line.strip()}")
    assert not found,found
