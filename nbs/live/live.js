// The page "Live": pictures, graph and sliders for a model that runs in the reader's browser (worker.js).
// Nothing but these small files is loaded before the reader presses Start.
import { Graph } from './graph.js'
import { Pad, uploaded } from './own.js'

const MODELS = { pendulum: 'Pendulum', digits: 'Digits' }
const SLOW = 100   // milliseconds: beyond it, fewer calls while a slider is dragged

const root = document.getElementById('live')
const worker = new (class {
  constructor() { this.waiting = new Map() }

  start() {
    this.worker = new Worker(new URL('worker.js', import.meta.url), { type: 'module' })
    this.worker.onmessage = ({ data }) => {
      const { resolve, reject, tell } = this.waiting.get(data.id)
      if (data.progress !== undefined) return tell(data.progress)
      this.waiting.delete(data.id)
      if (data.error !== undefined) reject(new Error(data.error)); else resolve(data.value)
    }
    this.worker.onerror = e => {
      for (const { reject } of this.waiting.values()) reject(new Error(e.message || 'the worker does not start'))
      this.waiting.clear()
    }
  }

  ask(call, args, tell = () => {}) {
    if (!this.worker) this.start()
    const id = this.count = (this.count ?? 0) + 1
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject, tell })
      this.worker.postMessage({ id, call, args })
    })
  }
})()

// An element, its attributes (on… are listeners) and children
function el(tag, attributes = {}, ...children) {
  const e = document.createElement(tag)
  for (const [k, v] of Object.entries(attributes)) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v)
    else if (v !== undefined && v !== false) e.setAttribute(k, v === true ? '' : v)
  }
  e.append(...children)
  return e
}

const spoken = name => name.replaceAll('_', ' ')

// Paint an image of the model on a canvas
function paint(canvas, x, [C, H, W]) {
  Object.assign(canvas, { width: W, height: H })
  const context = canvas.getContext('2d', { willReadFrequently: true }), data = context.createImageData(W, H)
  for (let k = 0; k < H * W; k++) {
    for (let c = 0; c < 3; c++) data.data[4 * k + c] = Math.round((x[(c % C) * H * W + k] + 1) * 127.5)
    data.data[4 * k + 3] = 255
  }
  context.putImageData(data, 0, 0)
}

// A picture with its caption; `say` changes both for eyes and ears
function picture() {
  const canvas = el('canvas', { role: 'img' }), caption = el('figcaption')
  const element = el('figure', { class: 'live-picture' }, canvas, caption)
  const say = (words, heard = words) => { caption.textContent = words; canvas.setAttribute('aria-label', heard) }
  return { element, canvas, say }
}

// A slider, or a menu for a category, with its box "do"
class Control {
  constructor(variable, moved) {
    Object.assign(this, variable)
    const id = `live-${this.name}`
    this.options = this.categories.length > 0
    if (this.options) {
      this.input = el('select', { id }, ...this.categories.map((c, k) => el('option', { value: k }, c)))
    } else {
      const wide = this.high - this.low, power = 10 ** Math.floor(Math.log10(wide / 100))
      this.step = power * [5, 2, 1].find(m => m * power <= wide / 100)
      this.places = Math.max(0, -Math.floor(Math.log10(this.step)))
      const grid = f => (f / this.step * this.step).toFixed(this.places)
      this.input = el('input', { id, type: 'range', step: this.step.toFixed(this.places),
        min: grid(Math.ceil(this.low / this.step) * this.step), max: grid(Math.floor(this.high / this.step) * this.step) })
    }
    this.box = el('input', { type: 'checkbox', id: `${id}-do`,
      'aria-label': `do: hold ${spoken(this.name)} at the slider's value` })
    this.output = el('output', { for: id })
    const name = el('label', { for: id }, spoken(this.name))
    const held = el('span', { class: 'live-do' }, this.box, el('label', { for: `${id}-do` }, 'do'))
    this.element = el('div', { class: 'live-control' }, held, name, this.output, this.input)
    this.input.addEventListener('input', () => { this.box.checked = true; moved(true) })
    this.input.addEventListener('change', () => { this.box.checked = true; moved(false) })
    this.box.addEventListener('change', () => moved(false))
  }

  get value() { return Number(this.input.value) }

  word(label) {
    if (this.options) return this.categories[Math.round(label)]
    return label.toFixed(this.places)
  }

  written(label) { return this.options ? JSON.stringify(this.word(label)) : this.word(label) }

  // What the model says of this variable now, and what it was in the image
  show(label, before) {
    if (!this.box.checked) this.input.value = this.options ? Math.round(label) : label
    const now = this.word(label), was = this.word(before)
    this.output.textContent = now === was ? now : `${now}, was ${was}`
    if (!this.options) this.input.setAttribute('aria-valuetext', this.output.textContent)
  }

  // Followers may leave what training saw; then the answer is a guess
  beyond(label) {
    if (this.options || this.box.checked) return null
    const slack = 0.02 * (this.high - this.low)
    if (label >= this.low - slack && label <= this.high + slack) return null
    return `${spoken(this.name)} follows to ${this.word(label)}; training saw ${this.word(this.low)} … ${this.word(this.high)}`
  }
}

// One model on the page
class Explorer {
  constructor(name, { about, images }) {
    this.name = name
    this.about = about
    this.images = images
    this.graph = new Graph(about)
    this.controls = about.variables.map(v => new Control(v, dragging => this.ask(dragging)))
    this.pictures = { before: picture(), after: picture(), difference: picture() }
    this.calls = el('select', { id: 'live-calls', onchange: () => this.ask(false) },
      ...Object.keys(about.routes).map(n => el('option', { value: n, selected: Number(n) === about.usual }, n)))
    this.said = el('p', { class: 'live-said', 'aria-live': 'polite' })
    this.time = el('p', { class: 'live-time' })
    this.code = el('code')
    const reset = el('button', { type: 'button', onclick: () => this.reset() }, 'Undo all')
    const copy = el('pre', { class: 'live-code', tabindex: 0, 'aria-label': 'The same in Python' }, this.code)
    const thumbs = this.thumbs()   // before the own image, which unticks them
    const pictures = Object.values(this.pictures).map(p => p.element)
    this.element = el('div', { class: 'live-explorer' }, thumbs, this.own(),
      el('div', { class: 'live-sides' }, el('div', { class: 'live-pictures' }, ...pictures), this.graph.element),
      el('div', { class: 'live-controls', role: 'group', 'aria-label': 'Variables' }, ...this.controls.map(c => c.element)),
      el('div', { class: 'live-foot' }, reset, el('label', { for: 'live-calls' }, 'calls of the network'), this.calls),
      this.said, this.time, copy)
  }

  thumbs() {
    const choices = this.images.map((x, k) => {
      const canvas = el('canvas', { 'aria-hidden': 'true' })
      paint(canvas, x, this.about.shape)
      const radio = el('input', { type: 'radio', name: 'live-image', value: k, 'aria-label': `Image ${k + 1}`, checked: k === 0,
        onchange: () => this.take({ index: k }) })
      return el('label', { class: 'live-thumb' }, radio, canvas)
    })
    this.radios = choices.map(c => c.firstChild)
    return el('fieldset', {}, el('legend', {}, 'Image'), ...choices)
  }

  // An image of the reader's
  own() {
    const use = x => { for (const r of this.radios) r.checked = false; return this.take({ x }) }
    const file = el('input', { type: 'file', accept: 'image/*', id: 'live-file', onchange: async () => {
      if (!file.files.length) return
      try {
        const x = await uploaded(file.files[0], this.about.shape)
        if (x) await use(x); else this.said.textContent = 'No ink was found in this picture.'
      } catch { this.said.textContent = 'This file is no picture that the browser can read.' }
    } })
    const upload = el('p', {}, el('label', { for: 'live-file' }, 'Upload a picture '), file)
    const body = [upload]
    if (this.about.shape[0] === 1) {
      const pad = new Pad(this.about.shape, use)
      const how = 'Draw one digit, in the middle, with the mouse, a finger, or arrow keys and space bar. '
      const clear = el('button', { type: 'button', onclick: () => pad.clear() }, 'Clear')
      body.unshift(el('div', {}, pad.element, el('p', {}, how, clear)))
    }
    const title = this.about.shape[0] === 1 ? 'Your own: draw a digit, or upload one' : 'Your own: upload a picture'
    return el('details', { class: 'live-own' }, el('summary', {}, title), ...body)
  }

  get steps() { return Number(this.calls.value) }

  get held() {
    const held = {}
    for (const c of this.controls) if (c.box.checked) held[c.name] = c.value
    return held
  }

  async take(image) {
    root.dataset.busy = 'true'
    this.ready = worker.ask('take', image)
    const { x, labels } = await this.ready
    this.x = x
    this.known = image.index !== undefined   // its labels were told, not read
    this.before = labels
    this.last = null
    paint(this.pictures.before.canvas, x, this.about.shape)
    this.pictures.before.say('as it is', `The image as it is: ${this.told(labels)}`)
    await this.ask(false)
  }

  reset() {
    for (const c of this.controls) c.box.checked = false
    this.ask(false)
  }

  // Answer the latest question; while one is on its way, only the newest waits
  async ask(dragging) {
    root.dataset.busy = 'true'
    this.wanted = { dragging, asked: performance.now() }
    if (this.asking) return
    this.asking = true
    try {
      await this.ready
      while (this.wanted) await this.answer()
    } catch (e) { if (current === this) failed(e) } finally { this.asking = false }
    root.dataset.busy = 'false'
  }

  async answer() {
    const { dragging, asked } = this.wanted, held = this.held
    this.wanted = null
    const steps = dragging && this.slow ? Math.min(this.steps, ...Object.keys(this.about.routes)) : this.steps
    const question = JSON.stringify([held, steps])
    if (question !== this.last) {
      const index = name => this.about.variables.findIndex(v => v.name === name)
      const y = Float32Array.from(this.about.variables, v => v.low), on = new Float32Array(y.length)
      for (const [name, v] of Object.entries(held)) { on[index(name)] = 1; y[index(name)] = v }
      const found = await worker.ask('answer', { held: on, y, steps })
      this.last = question
      this.show(found, held, steps)
      await new Promise(painted => requestAnimationFrame(painted))
      const ms = performance.now() - asked
      if (found.network && steps === this.steps) this.slow = found.network > SLOW
      root.dataset.ms = ms.toFixed(1)
      this.time.textContent = found.network ? `Answered in ${ms.toFixed(0)} ms, with ${steps} calls of the network.` : ''
    }
    if (!dragging) this.tell(held)
  }

  told(labels) {
    return this.controls.map((c, i) => `${spoken(c.name)} ${c.word(labels[i])}`).join(', ')
  }

  show({ x, labels }, held, steps) {
    this.labels = labels
    const { after, difference } = this.pictures, shape = this.about.shape
    const words = this.controls.filter(c => c.name in held).map(c => `${spoken(c.name)} = ${c.word(c.value)}`).join(', ')
    paint(after.canvas, x, shape)
    after.say(words ? `do(${words})` : 'nothing done', `The image as it would have been: ${this.told(labels)}`)
    paint(difference.canvas, x.map((v, k) => (v - this.x[k]) / 2), shape)
    difference.say('difference (grey: none)', 'The difference of the two images')
    this.controls.forEach((c, i) => c.show(labels[i], this.before[i]))
    this.graph.show(held, this.controls.map((c, i) => c.word(labels[i])))
    const python = this.controls.filter(c => c.name in held).map(c => `"${c.name}": ${c.written(c.value)}`).join(', ')
    this.code.textContent = `model = CausalDiffAE.from_pretrained("${this.about.weights}")\n` +
      `do = {${python}}\nx_cf = model.counterfactual(x, do, ${this.known ? 'labels=y, ' : ''}steps=${steps})`
  }

  // In words, once a slider rests
  tell(held) {
    const changes = this.controls.map((c, i) => {
      const [was, now] = [this.before, this.labels].map(labels => c.word(labels[i]))
      return was === now ? '' : `${spoken(c.name)} ${was} → ${now}${c.name in held ? ' (set)' : ''}`
    }).filter(Boolean)
    const beyond = this.controls.map((c, i) => c.beyond(this.labels[i])).filter(Boolean)
    const rest = changes.length < this.controls.length ? '; the other variables stay.' : '.'
    let words = changes.join(', ') + rest
    if (!changes.length) words = 'Set to what it was: nothing changes.'
    if (!Object.keys(held).length) words = 'Nothing is set: move a slider, or tick a box.'
    this.said.textContent = [words, ...beyond.map(b => `Take care: ${b}.`)].join(' ')
  }
}

function failed(error) {
  root.dataset.busy = 'false'
  const built = /not on this site/.test(error.message)
  const words = `The model cannot be run here: ${error.message}. ` + (built
    ? 'Its files are made when the site is built: python scripts/make_onnx.py --out _docs/live'
    : 'It needs a browser with WebAssembly and module workers.')
  let place = root.querySelector('.live-failed')
  if (!place) root.append(place = el('p', { class: 'live-failed', role: 'alert' }))
  place.textContent = words
}

let wanted = null    // the model the reader chose last
let current = null   // the explorer on the page

async function load(name, place, progress) {
  root.dataset.busy = 'true'
  wanted = name
  progress.textContent = 'Loading…'
  try {
    const megabytes = bytes => `Loading… ${(bytes / 1e6).toFixed(1)} MB`
    const found = await worker.ask('load', { name }, bytes => { progress.textContent = megabytes(bytes) })
    if (wanted !== name) return
    current = new Explorer(name, found)
    await current.take({ index: 0 })
    if (wanted !== name) return
    place.replaceChildren(current.element)
    progress.textContent = `The model ${MODELS[name]} is ready.`
    root.dataset.model = name
  } catch (e) {
    progress.textContent = ''
    failed(e)
  }
}

function begin(button) {
  const place = el('div'), progress = el('p', { class: 'live-progress', role: 'status' })
  const choices = Object.entries(MODELS).map(([name, title], k) => el('label', {}, el('input', { type: 'radio',
    name: 'live-model', value: name, checked: k === 0, onchange: () => load(name, place, progress) }), ` ${title}`))
  const fieldset = el('fieldset', { class: 'live-models' }, el('legend', {}, 'Model'), ...choices)
  button.closest('.live-start').replaceWith(fieldset, progress, place)
  fieldset.querySelector('input').focus()
  return load(Object.keys(MODELS)[0], place, progress)
}

const start = root?.querySelector('button')
if (start) {
  start.disabled = false
  start.addEventListener('click', () => begin(start), { once: true })
}
