// The controls of causaldiffae.explorer. This file asks and shows; Python answers.
// Traits: spec (what there is), asked (the last question), shown (the last answer), graph (its picture).

const SILENT = "Python has not answered yet. If it is not busy, the kernel was restarted or the notebook opened again: "
  + "run this cell again to move the sliders."
const PATIENCE = { first: 4000, later: 8000 }   // ms without an answer

function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag)
  for (const [k, v] of Object.entries(properties)) {
    if (k in node && !k.includes("-")) node[k] = v
    else node.setAttribute(k, v)
  }
  node.append(...children)
  return node
}

// A menu, or a slider beside a box with its number; `changed(value, final)` is called while dragging and at the end
function control(v, changed) {
  if (v.options) {
    const options = v.options.map((o, k) => make("option", { value: k, textContent: o }))
    const menu = make("select", { "aria-label": v.label }, ...options)
    menu.onchange = () => changed(Number(menu.value), true)
    return { nodes: [menu], read: () => Number(menu.value), put: x => { menu.value = x ?? 0 } }
  }
  const bar = make("input", { type: "range", min: v.lo, max: v.hi, step: v.step, "aria-label": v.label })
  const box = make("input", { type: "number", step: v.step, "aria-label": `${v.label}, as a number` })
  const typed = () => { if (box.value !== "") changed(Number(box.value), true) }
  bar.oninput = () => {
    box.value = bar.value
    changed(Number(bar.value), false)
  }
  bar.onchange = () => changed(Number(bar.value), true)
  box.onchange = typed
  return {
    nodes: [bar, box],
    read: () => Number(box.value || bar.value),
    put: x => {
      box.value = x === null ? "" : x.toFixed(v.digits)
      if (x !== null) bar.value = x
      bar.setAttribute("aria-valuetext", x === null ? "unknown" : x.toFixed(v.digits))
    },
  }
}

// The row of pictures with their captions, at twice their size on the screen, as a file to download
function savePicture(tiles, name) {
  const gap = 8, line = 18, scale = 2
  const wide = tiles.map(t => t.img.width || t.img.naturalWidth), high = Math.max(...tiles.map(t => t.img.height))
  const canvas = make("canvas")
  canvas.width = scale * (wide.reduce((a, b) => a + b + gap, gap))
  const pen = canvas.getContext("2d")
  const font = "13px sans-serif"
  const lines = tiles.map((t, k) => {   // captions broken where they are too long
    pen.font = font
    return t.caption.textContent.split(" ").reduce((ls, w) => {
      const longer = ls.length ? `${ls.at(-1)} ${w}` : w
      if (ls.length && pen.measureText(longer).width <= wide[k]) ls.splice(-1, 1, longer)
      else ls.push(w)
      return ls
    }, [])
  })
  canvas.height = scale * (high + 2 * gap + line * Math.max(...lines.map(l => l.length)))
  pen.fillStyle = "white"
  pen.fillRect(0, 0, canvas.width, canvas.height)
  pen.scale(scale, scale)
  pen.imageSmoothingEnabled = false
  pen.fillStyle = "black"
  pen.font = font
  pen.textAlign = "center"
  let at = gap
  tiles.forEach((t, k) => {
    pen.drawImage(t.img, at, gap, wide[k], t.img.height)
    lines[k].forEach((l, i) => pen.fillText(l, at + wide[k] / 2, high + gap + line * (i + 1)))
    at += wide[k] + gap
  })
  make("a", { href: canvas.toDataURL("image/png"), download: name }).click()
}

// The clipboard where the page may use it; otherwise the text, selected, to be copied by hand
async function copy(text, place) {
  place.hidden = false
  place.value = text
  place.rows = text.split("\n").length
  place.select()
  try {
    await navigator.clipboard.writeText(text)
    return "copied"
  } catch {
    return document.execCommand("copy") ? "copied" : "selected: copy it with Ctrl-C"
  }
}

function render({ model, el }) {
  const spec = model.get("spec"), me = Math.random().toString(36).slice(2)
  let want = {}, flying = false, waiting = null, count = 0, timer

  const launch = (question, patience) => {
    flying = !question.hello
    model.set("asked", { ...question, seq: `${me} ${++count}` })
    model.save_changes()
    clearTimeout(timer)
    timer = setTimeout(silent, patience)
  }
  const silent = () => {
    flying = false
    waiting = null
    status.textContent = SILENT
  }
  // One question at a time; of those that come meanwhile only the last is kept
  const ask = final => {
    const question = { ...want, do: { ...want.do }, final }
    if (flying) waiting = question
    else launch(question, PATIENCE.later)
  }

  const rows = spec.variables.map(v => {
    const tick = make("input", {
      type: "checkbox", "aria-label": `do ${v.name}: hold it at its slider's value, whatever its causes do`,
      title: `Intervene on ${v.name}`,
    })
    const c = control({ ...v, label: v.name }, (x, final) => {
      tick.checked = true
      want.do[v.name] = x
      ask(final)
    })
    tick.onchange = () => {
      if (tick.checked) want.do[v.name] = c.read()
      else delete want.do[v.name]
      ask(true)
    }
    const note = make("span", { className: "note" })
    const name = make("span", { className: "name", textContent: v.name, "aria-hidden": "true" })
    return { name: v.name, tick, note, c, nodes: [make("label", { className: "do" }, tick, "do"), name, ...c.nodes, note] }
  })
  const omega = control({ ...spec.guidance, label: "ω, how strongly the drawing follows the variables" }, (x, final) => {
    want.guidance = x
    ask(final)
  })
  const steps = control({ ...spec.steps, label: "steps, calls of the network" }, (x, final) => {
    if (!final) return
    want.steps = x
    ask(true)
  })
  const line = (name, c) => [make("span"), make("span", { className: "name", textContent: name, "aria-hidden": "true" }),
    ...c.nodes, make("span")]

  const button = (text, title, onclick) => make("button", { type: "button", textContent: text, title, onclick })
  const status = make("p", { role: "status", className: "status" })
  const code = make("textarea", { className: "code", hidden: true, readOnly: true, "aria-label": "this picture as Python code" })
  const buttons = make("div", { className: "buttons" },
    button("Reset", "Undo every intervention and bring ω and steps back", () => {
      want = { do: {}, steps: spec.steps.start, guidance: spec.guidance.start }
      ask(true)
    }),
    button("Save picture", "Download the pictures with their captions as a PNG file", () => {
      savePicture(tiles, `${model.get("shown").title.replace(/[^\w=.,() -]/g, "_")}.png`)
    }),
    button("Copy as code", "The line of Python that makes this picture", async () => {
      status.textContent = await copy(model.get("shown").code, code)
    }))
  const pictures = make("div", { className: "tiles" })
  const grid = make("div", { className: "controls" }, ...rows.flatMap(r => r.nodes),
    ...(spec.guided ? line("ω", omega) : []), ...line("steps", steps))
  const graph = make("img", { className: "graph" })
  graph.onload = () => { graph.width = graph.naturalWidth / 2 }   // drawn for screens of twice the density
  // The saved picture beside it, for readers without widgets, is not needed while this one is shown
  const hide = make("style", { textContent: `[data-explorer="${spec.id}"] { display: none }` })
  const title = `Explorer of ${rows.map(r => r.name).join(", ")}`
  const section = make("section", { className: "causaldiffae-explorer", "aria-label": title },
    pictures, make("div", { className: "below" }, make("div", {}, grid, buttons, status, code), graph))
  // Arrows and Enter are the sliders' and the buttons' own; a notebook would take them for its cells
  section.onkeydown = event => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && !(event.shiftKey && event.key === "Enter")) event.stopPropagation()
  }
  el.append(section, hide)

  let tiles = []
  const paint = shown => {
    if (tiles.length !== shown.tiles.length) {
      tiles = shown.tiles.map(() => ({ img: make("img"), caption: make("figcaption") }))
      pictures.replaceChildren(...tiles.map(t => make("figure", {}, t.img, t.caption)))
    }
    shown.tiles.forEach((t, k) => {
      Object.assign(tiles[k].img, { src: t.src, alt: t.caption })
      tiles[k].img.style.width = tiles[k].img.parentNode.style.width = `${t.width}px`
      tiles[k].caption.textContent = t.caption
    })
    status.textContent = shown.status
    code.hidden = true
    if (!flying) want = { do: { ...shown.do }, steps: shown.steps, guidance: shown.guidance }
    for (const r of rows) {
      r.note.textContent = shown.notes[r.name]
      r.tick.checked = r.name in want.do
      if (!flying || !r.tick.checked) r.c.put(shown.values[r.name])
    }
    if (flying) return
    omega.put(shown.guidance)
    steps.put(shown.steps)
  }
  const receive = () => {
    clearTimeout(timer)
    flying = false
    if (waiting) launch(waiting, PATIENCE.later)
    waiting = null
    paint(model.get("shown"))
  }
  const draw = () => Object.assign(graph, model.get("graph"))

  model.on("change:shown", receive)
  model.on("change:graph", draw)
  const cut = () => launch({ hello: true }, 1500)   // the connection was lost, or is there again
  model.on("comm_live_update", cut)
  draw()
  paint(model.get("shown"))
  launch({ hello: true }, PATIENCE.first)
  return () => {
    clearTimeout(timer)
    model.off("change:shown", receive)
    model.off("change:graph", draw)
    model.off("comm_live_update", cut)
  }
}

const STATE = "application/vnd.jupyter.widget-state+json"
const KEPT = ["_model_name", "_model_module", "_model_module_version", "_view_name", "_view_module", "_view_module_version",
  "_anywidget_id", "_esm", "_css", "spec", "shown", "graph"]

// Write the explorers that a notebook shows into it, those whose kernel is gone too
function keep(notebook, models) {
  const cells = JSON.stringify(notebook.toJSON().cells)
  const has = notebook.getMetadata ? notebook.getMetadata("widgets") : notebook.metadata.get("widgets")
  const others = Object.entries(has?.[STATE]?.state ?? {})
    .filter(([, m]) => m.state?._anywidget_id !== models[0].get("_anywidget_id"))
  const mine = models.filter(m => cells.includes(m.get("spec").id)).map(m => [m.get("spec").id, {
    model_name: m.get("_model_name"), model_module: m.get("_model_module"),
    model_module_version: m.get("_model_module_version"), state: Object.fromEntries(KEPT.map(k => [k, m.get(k)])),
  }])
  const state = Object.fromEntries([...others, ...mine])
  const widgets = { ...has, [STATE]: { version_major: 2, version_minor: 0, state } }
  if (notebook.setMetadata) notebook.setMetadata("widgets", widgets)
  else notebook.metadata.set("widgets", widgets)
}

// JupyterLab saves no widgets unless a setting says so, and then only those whose kernel lives
function initialize({ model }) {
  const manager = model.widget_manager, context = manager?.context, all = Symbol.for("causaldiffae.explorer")
  if (!context?.saveState?.connect) return
  if (manager[all]) return void manager[all].push(model)
  manager[all] = [model]
  context.saveState.connect((_, moment) => { if (moment === "started") keep(context.model, manager[all]) })
}

export default { initialize, render }
