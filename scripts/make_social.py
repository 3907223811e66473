"""Draw nbs/images/social.png, which other sites show beside a link to the pages: `python scripts/make_social.py`.
Pendulums that the shipped model has not seen, and what it says they would have looked like had the light been at 80."""
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch

import causaldiffae as cd
from causaldiffae.images import to_uint8

blue,orange = '#17406d','#ffb02e'
places = {'angle': (.10, .42), 'light': (.30, .42), 'shadow_length': (.10, .14), 'shadow_position': (.30, .14)}

def graph(ax, names, edges):
    "The causal graph, the arrow that `do(light)` needs no more not among them; what follows from `light` is orange"
    for a,b in edges:
        ax.add_patch(FancyArrowPatch(places[a], places[b], arrowstyle='-|>', mutation_scale=22, lw=2.5, color='white',
                                     shrinkA=24, shrinkB=24, transform=ax.transAxes))
    for name in names:
        x,y = places[name]
        ax.scatter([x], [y], s=1100, color='white' if name=='angle' else orange, transform=ax.transAxes, zorder=3)
        above = name in ('angle', 'light')
        ax.text(x, y + (.085 if above else -.085), name.replace('_', ' '), color='white', fontsize=15, ha='center',
                va='center', transform=ax.transAxes)

def main():
    model = cd.CausalDiffAE.from_pretrained('pendulum_noise')
    x = cd.pendulum(n=8000, noise=True, seed=1).test.images[:4]   # those of the first page
    rows = {'factual': x, 'do(light=80)': model.counterfactual(x, do={'light': 80.})}
    fig = plt.figure(figsize=(12, 6.3), dpi=100, facecolor=blue)
    ax = fig.add_axes((0, 0, 1, 1))
    ax.axis('off')
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.text(.05, .86, 'causaldiffae', color='white', fontsize=46, weight='bold', va='center')
    ax.text(.05, .68, 'What would this very image have looked like,\nhad the light been somewhere else?', color='white',
            fontsize=22, va='center', linespacing=1.5)
    graph(ax, model.graph.names, model.graph.edges)
    for i,(name,images) in enumerate(rows.items()):
        fig.text(.44, .56 - .285*i, name, color='white', fontsize=15, ha='left', va='bottom')
        for j,image in enumerate(to_uint8(images)):
            tile = fig.add_axes((.44 + .135*j, .315 - .285*i, .125, .125*12/6.3))
            tile.imshow(image, interpolation='nearest')
            tile.axis('off')
    fig.savefig(Path(__file__).resolve().parent.parent/'nbs'/'images'/'social.png', facecolor=blue)

if __name__=='__main__': main()
