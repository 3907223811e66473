// The reader's own image: drawn with pointer or keys, or uploaded; as the model's numbers, C×H×W in [-1, 1]

function canvas(width, height) {
  const c = Object.assign(document.createElement('canvas'), { width, height })
  return [c, c.getContext('2d', { willReadFrequently: true })]
}

// Means over `fine`×`fine` squares of a canvas, channels apart
function averaged(context, [C, H, W], fine) {
  const { data } = context.getImageData(0, 0, W * fine, H * fine), out = new Float32Array(C * H * W)
  for (let y = 0; y < H * fine; y++) for (let x = 0; x < W * fine; x++) {
    const at = 4 * (y * W * fine + x), to = Math.floor(y / fine) * W + Math.floor(x / fine)
    const grey = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]
    for (let c = 0; c < C; c++) out[c * H * W + to] += (C === 1 ? grey : data[at + c]) / fine ** 2
  }
  return out
}

const inUnits = bytes => bytes.map(v => Math.round(v) / 127.5 - 1)

// White on black as in MNIST: the ink fills 20 pixels of 28, its centre of mass in the middle; null without ink
function centred(source, shape) {
  const [, H, W] = shape, context = source.getContext('2d', { willReadFrequently: true })
  const { data, width } = context.getImageData(0, 0, source.width, source.height)
  let left = Infinity, right = -1, top = Infinity, bottom = -1, mass = 0, mx = 0, my = 0
  for (let k = 0; k < data.length; k += 4) {
    const ink = data[k], x = (k / 4) % width, y = Math.floor(k / 4 / width)
    if (ink < 64) continue
    left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y)
    mass += ink; mx += ink * (x + 0.5); my += ink * (y + 0.5)
  }
  if (!mass) return null
  const fine = 4, [, big] = canvas(W * fine, H * fine)
  const scale = fine * 20 / Math.max(right - left + 1, bottom - top + 1)
  big.fillRect(0, 0, W * fine, H * fine)
  big.imageSmoothingQuality = 'high'
  big.setTransform(scale, 0, 0, scale, W * fine / 2 - scale * mx / mass, H * fine / 2 - scale * my / mass)
  big.drawImage(source, 0, 0)
  return inUnits(averaged(big, shape, fine))
}

// A picture file; of the model's own size as it is, any other cut to a square and made small
export async function uploaded(file, shape) {
  const [C, H, W] = shape, bitmap = await createImageBitmap(file)
  const exact = bitmap.width === W && bitmap.height === H, fine = exact ? 1 : C === 1 ? 10 : 4
  const [c, context] = canvas(W * fine, H * fine), scale = Math.max(c.width / bitmap.width, c.height / bitmap.height)
  context.fillRect(0, 0, c.width, c.height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(bitmap, (c.width - scale * bitmap.width) / 2, (c.height - scale * bitmap.height) / 2,
    scale * bitmap.width, scale * bitmap.height)
  if (C > 1) return inUnits(averaged(context, shape, fine))
  const { data } = context.getImageData(0, 0, c.width, c.height)
  const corners = [0, c.width - 1, data.length / 4 - c.width, data.length / 4 - 1].map(k => data[4 * k])
  if (corners.reduce((a, b) => a + b) > 4 * 127) {   // dark ink on a light page
    context.globalCompositeOperation = 'difference'
    context.fillStyle = 'white'
    context.fillRect(0, 0, c.width, c.height)
  }
  return exact ? inUnits(averaged(context, shape, 1)) : centred(c, shape)
}

// A field to draw a digit in. `drawn(x)` is called after each stroke
export class Pad {
  constructor(shape, drawn) {
    this.shape = shape
    this.drawn = drawn
    const [c, context] = canvas(280, 280)
    this.element = c
    this.context = context
    Object.assign(c, { className: 'live-pad', tabIndex: 0 })
    c.setAttribute('role', 'application')
    c.setAttribute('aria-label', 'Drawing field. Draw a digit with the mouse or a finger; or move the pen with the ' +
      'arrow keys and lower or lift it with the space bar.')
    c.addEventListener('pointerdown', e => {
      c.setPointerCapture(e.pointerId)
      this.inked = true
      this.move(...this.at(e), true)
    })
    c.addEventListener('pointermove', e => { if (c.hasPointerCapture(e.pointerId)) this.move(...this.at(e)) })
    c.addEventListener('pointerup', () => this.lift())
    c.addEventListener('keydown', e => this.key(e))
    c.addEventListener('blur', () => { if (this.inked) this.lift() })
    this.clear()
  }

  at(e) {
    const box = this.element.getBoundingClientRect()
    return [(e.clientX - box.left) * 280 / box.width, (e.clientY - box.top) * 280 / box.height]
  }

  key(e) {
    const step = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] }[e.key]
    if (!step && e.key !== ' ') return
    e.preventDefault()
    if (step) this.move(...this.pen.map((v, k) => Math.min(270, Math.max(10, v + step[k]))))
    else if (this.inked) this.lift()
    else { this.inked = true; this.move(...this.pen, true) }
  }

  move(x, y, first = false) {
    const ink = this.ink
    if (this.inked) {
      const [a, b] = first ? [x, y] : this.pen
      ink.beginPath(); ink.moveTo(a, b); ink.lineTo(x + 0.01, y); ink.stroke()
    }
    this.pen = [x, y]
    this.show()
  }

  show() {   // what is drawn, and where the pen of the keyboard stands
    this.context.drawImage(this.ink.canvas, 0, 0)
    this.context.strokeStyle = this.inked ? '#e5a50a' : '#62a0ea'
    this.context.lineWidth = 2
    this.context.strokeRect(this.pen[0] - 6, this.pen[1] - 6, 12, 12)
  }

  lift() {
    this.inked = false
    this.show()
    const x = centred(this.ink.canvas, this.shape)
    if (x) this.drawn(x)
  }

  clear() {
    [, this.ink] = canvas(280, 280)
    this.ink.fillRect(0, 0, 280, 280)
    Object.assign(this.ink, { strokeStyle: 'white', lineWidth: 24, lineCap: 'round', lineJoin: 'round' })
    this.pen = [140, 80]
    this.inked = false
    this.show()
  }
}
