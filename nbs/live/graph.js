// The causal graph as a drawing: causes above effects, set variables marked, arrows into them cut
const NS = 'http://www.w3.org/2000/svg'
const WIDE = 142, HIGH = 50, ACROSS = 168, DOWN = 112

function svg(tag, attributes, ...children) {
  const e = document.createElementNS(NS, tag)
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v)
  e.append(...children)
  return e
}

export class Graph {
  constructor({ variables, levels }) {
    const most = Math.max(...levels.map(l => l.length)), places = {}
    levels.forEach((level, row) => level.forEach((i, k) => {
      places[i] = [(k + (most - level.length) / 2 + 0.5) * ACROSS, row * DOWN + HIGH / 2 + 4]
    }))
    const index = name => variables.findIndex(v => v.name === name)
    const size = [most * ACROSS, (levels.length - 1) * DOWN + HIGH + 8]
    this.variables = variables
    this.element = svg('svg', { viewBox: `0 0 ${size[0]} ${size[1]}`, class: 'live-graph', role: 'img' })
    this.element.style.maxWidth = `${size[0]}px`
    const tip = svg('path', { d: 'M0 0L8 4L0 8z', fill: 'currentColor' })
    this.element.append(svg('defs', {}, svg('marker', { id: 'live-tip', viewBox: '0 0 8 8', refX: 7, refY: 4,
      markerWidth: 8, markerHeight: 8, orient: 'auto' }, tip)))
    this.arrows = variables.flatMap((v, i) => v.causes.map(cause => {
      const arrow = this.arrow(places[index(cause)], places[i])
      return { cause, effect: v.name, ...arrow }
    }))
    this.nodes = variables.map((v, i) => this.node(v, places[i]))
    this.show({}, variables.map(() => ''))
  }

  arrow([x, y], [to, bottom]) {
    const top = y + HIGH / 2, end = bottom - HIGH / 2 - 2, middle = [(x + to) / 2, (top + end) / 2]
    const line = svg('line', { x1: x, y1: top, x2: to, y2: end, 'marker-end': 'url(#live-tip)' })
    const turn = Math.atan2(end - top, to - x) * 180 / Math.PI
    const cut = svg('path', { d: 'M-7 -8L1 8M-1 -8L7 8', transform: `translate(${middle}) rotate(${turn})` })
    const group = svg('g', { class: 'live-arrow' }, line, cut)
    this.element.append(group)
    return { group }
  }

  node(v, [x, y]) {
    const name = svg('text', { y: -5 }), value = svg('text', { y: 14, class: 'live-value' })
    name.textContent = v.name.replaceAll('_', ' ')
    const box = svg('rect', { x: -WIDE / 2, y: -HIGH / 2, width: WIDE, height: HIGH, rx: 10 })
    const group = svg('g', { class: 'live-node', transform: `translate(${x} ${y})` }, box, name, value)
    this.element.append(group)
    return { group, value }
  }

  // `held`: the variables that are set; `words`: every variable's value
  show(held, words) {
    this.nodes.forEach(({ group, value }, i) => {
      const set = this.variables[i].name in held
      group.classList.toggle('live-set', set)
      value.textContent = words[i]
    })
    for (const a of this.arrows) a.group.classList.toggle('live-cut', a.effect in held)
    const one = a => `${a.cause} to ${a.effect}${a.effect in held ? ', cut' : ''}`
    const arrows = this.arrows.map(one).join('; ').replaceAll('_', ' ')
    this.element.setAttribute('aria-label', `Causal graph. Arrows: ${arrows || 'none'}.`)
  }
}
