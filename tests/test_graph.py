"Graphs and interventions in every spelling, and what is refused"
import unicodedata
from functools import partial
import networkx as nx
import numpy as np
import pandas as pd
import torch
from fastcore.test import test_eq as eq, test_fail as fails
from causaldiffae.graph import CausalGraph, parse_do, shift

bad_if = partial(fails,exc=ValueError)
g = CausalGraph(dict(angle=[],light=[],shadow_length=["angle","light"],shadow_position=["angle","light"]))
kinds = CausalGraph.from_edges("kind->size",categories={"kind": ["round","flat","long"]})

def test_categories_refused():
    "What is no list of categories"
    for bad, say in (
        ({"kidn": ["a", "b"]}, "unknown name 'kidn'"),
        ({"kind": "ab"}, "list of non-empty strings"),
        ({"kind": [0, "1"]}, "list of non-empty strings"),
        ({"kind": [0.0, 1.0]}, "list of non-empty strings"),
        ({"kind": [True, False]}, "list of non-empty strings"),
        ({"kind": ["a", ""]}, "non-empty"),
        ({"kind": ["a"]}, "at least two"),
        ({"kind": ["a", "b", "a"]}, "none of them twice"),
        (["kind"], "a dict"),
    ):
        bad_if(lambda: CausalGraph.from_edges("kind->size", categories=bad), contains=say)

def test_a_fork_in_every_spelling():
    "The same three variables, however they are written"
    fork_edges = {("a","b"),("a","c")}
    for text in (
        "a->b\na->c",
        "a->b; a->c",
        "a -> b;\n\na -> c;",
        "a→b, a→c",
        "b<-a->c",
        "b ← a → c",
        "a->b, # the first\na->c // the second",
        "digraph { a -> b; a -> c }",
        "digraph g {a->b a->c}",
        'digraph "my graph" { rankdir=LR; node [shape=box]; a [label="A"]; a -> {b, c} [color=red] }',
        "strict digraph{a->b;a->c;}",
        "dag { a [exposure]\n a -> b\n c <- a }",
    ):
        eq(set(CausalGraph.from_edges(text).edges),fork_edges)
        eq(set(CausalGraph.from_edges(text).names),set("abc"))

def test_names_and_other_makes():
    "Names with marks, networkx, pairs"
    eq(CausalGraph.from_edges('"shadow, mm"->b' .replace(", ","_")).names,("shadow_mm","b"))
    eq(CausalGraph.from_edges("dose (mg)->blood-pressure, size [mm]").names,("dose (mg)","blood-pressure","size [mm]"))
    d = nx.DiGraph([("x1","y2"),("x1","z3")])
    eq(CausalGraph.from_edges(d),CausalGraph(dict(x1=[],y2=["x1"],z3=["x1"])))
    eq(CausalGraph.from_edges((p for p in [("ab","cd")])).edges,[("ab","cd")])

def test_nearly_a_graph():
    "Text and other things that are nearly a graph"
    for bad in (
        "a--b",
        "a<->b",
        "a=>b",
        "a-->b",
        "a->",
        "->b",
        "a->b,,c",
        "",
        "  \n ",
        "a~b",
        "a|b",
        "[a][b|a]",
        "b ~ a",
        "a->b a->c",
        "graph { a -- b }",
        "digraph { subgraph s { a -> b } }",
        "digraph { a -> b",
        "digraph { a -> b [dir=back] }",
        "dag { a <-> b }",
        "a->{b c}",
        "a<-",
        "a<b",
        {"a": ["b"]},
        {("a", "b")},
        ["ab", "cd"],
        [("a", "b", "c")],
        [1, 2],
        nx.Graph([("a", "b")]),
        nx.MultiDiGraph([("a", "b")]),
        nx.DiGraph([(1, 2)]),
        np.eye(2),
        5,
        None,
        b"a->b",
        [("a->b", "c")],
        [("a", " b")],
    ):
        bad_if(lambda: CausalGraph.from_edges(bad),contains="expected")

def test_accents():
    "One name, however its accents are written"
    # one name, however its accents are written
    accents = [unicodedata.normalize(f,"größe") for f in ("NFC","NFD")]
    h = CausalGraph.from_edges(f"{accents[1]}->b",categories={accents[0]:["klein","groß"]})
    eq((h.names[0],h.index(accents[1]),h.descendants(accents[1])),(accents[0],0,("b",)))
    bad_if(lambda: CausalGraph({accents[0]:[],accents[1]:[]}),contains="twice")

def test_values_of_an_intervention():
    "One value for all images, or one for each"
    a, = parse_do({"light": torch.tensor([60.,100.,148.])}, g, 3)
    eq((a.index,a.kind,a.values.tolist()), (1,"set",[60.,100.,148.]))
    a, = parse_do({"light": shift(np.arange(3))}, g, 3)
    eq((a.kind,a.values.tolist(),a.values.dtype), ("shift",[0.,1.,2.],torch.float64))
    # graph order, whatever the dict's
    eq([a.index for a in parse_do({v: 1 for v in reversed(g.names)}, g, 2)], [0,1,2,3])
    eq(parse_do({}, g, 3), [])
    eq(parse_do(None, g, 3), [])
    eq(parse_do(dict(light=[5.]), g, 1)[0].values.tolist(), [5.])

def test_categories_by_name_and_position():
    "Names of categories, and their positions where these are no names"
    for v in (
        "flat",
        1,
        1.0,
        np.str_("flat"),
        torch.tensor(1),
        ["flat"] * 3,
        ["flat", 1, np.int64(1)],
        np.array(["flat"] * 3),
        torch.ones(3),
    ):
        a, = parse_do({"kind": v}, kinds, 3)
        eq((a.index,a.kind,a.values.tolist(),a.values.dtype), (0,"set",[1.]*3,torch.float64))
    # where names are numbers, a number is no position
    stages = kinds.with_categories({"kind": [1,2,3,4]})
    eq(parse_do({"kind": "2"}, stages, 1)[0].values.item(), 1.)
    for v in (2,2.,torch.tensor([1.]),[0]): bad_if(lambda: parse_do({"kind": v}, stages, 1), contains="by its name")
    # unless they are the same
    digits = kinds.with_categories({"kind": [str(k) for k in range(10)]})
    eq([parse_do({"kind": v}, digits, 1)[0].values.item() for v in ("7",7)], [7.,7.])

def test_series_and_types():
    "Columns of tables; what has units or holes of its own is refused"
    # by position, whatever the index
    eq(parse_do({"light": pd.Series([70.,80.],index=[5,6])}, g, 2)[0].values.tolist(), [70.,80.])
    eq(parse_do({"kind": pd.Series(["flat","long"],index=[5,6])}, kinds, 2)[0].values.tolist(), [1.,2.])
    eq(parse_do({"light": torch.tensor([20240101,20240102])}, g, 2)[0].values.tolist(), [20240101.,20240102.])
    eq(parse_do({"light": torch.ones(2,requires_grad=True)}, g, 2)[0].values.requires_grad, False)
    for v in (
        np.ma.array([1.0, 2.0], mask=[0, 1]),
        np.array(["2024-01-01"] * 2, dtype="datetime64[D]"),
        np.array([1, 2], dtype=object),
        2**53 + 1,
    ):
        bad_if(lambda: parse_do({"light": v}, g, 2), contains="do['light']: expected")

def test_accents_of_an_intervention():
    "A name is found however its accents are written"
    größe = CausalGraph.from_edges("größe->b")
    eq(parse_do({unicodedata.normalize("NFD","größe"): 1.}, größe, 1)[0].index, 0)
    bad_if(lambda: parse_do({unicodedata.normalize("NFD","größe"): 1., "größe": 2.}, größe, 1), contains="twice")

def test_no_category():
    "What is none of the categories, or not as many as images"
    for bad, say in (
        ("falt", "'falt'"),
        (3, "got 3"),
        (-1, "got -1"),
        (0.5, "got 0.5"),
        (float("nan"), "got nan"),
        (float("inf"), "got inf"),
        (True, "got True"),
        (None, "got None"),
        (["flat"] * 2, "got 2 of them"),
        (["flat", "flat", "falt"], "'falt'"),
        (torch.tensor([0.0, 1.0, 9.0]), "got 9.0"),
        (torch.ones(3, 1), "got [1.0]"),
        ({}, "got {}"),
    ):
        bad_if(lambda: parse_do({"kind": bad}, kinds, 3), contains="do['kind']: expected one of round, flat, long")
        bad_if(lambda: parse_do({"kind": bad}, kinds, 3), contains=say)

def test_no_intervention():
    "What is no dict of known variables"
    bad_if(lambda: parse_do({"kind": shift(1)}, kinds, 3), contains="nothing to add to a category")
    bad_if(lambda: parse_do({"lihgt": 80.}, g, 3), contains="got 'lihgt'")
    bad_if(lambda: parse_do({0: 80.}, g, 3), contains="got 0")
    bad_if(lambda: parse_do([("light", 80.)], g, 3), contains="dict")
    bad_if(lambda: parse_do("light=80", g, 3), contains="dict")

def test_no_number():
    "What is no number, or not as many as images"
    for bad, got in (
        ([1.0, 2.0], "shape (2,)"),
        (torch.zeros(3, 1), "shape (3, 1)"),
        (torch.zeros(1), "shape (1,)"),
        (float("nan"), "nan"),
        (1e400, "inf"),
        (torch.tensor([0, 0, float("inf")]), "inf"),
        ("80", "'80'"),
        (2**70, "11805916"),
        (None, "None"),
        (True, "bool"),
        (1j, "complex"),
        ([[1.0], [2.0, 3.0]], "[[1.0]"),
        (shift(shift(1)), "shift(1)"),
    ):
        for v in (bad, shift(bad)):
            bad_if(lambda: parse_do({"light": v}, g, 3), contains="do['light']: expected a finite number or 3 of them")
            bad_if(lambda: parse_do({"light": v}, g, 3), contains=got)
