// Runs the model beside the page, so that sliders stay smooth: loads ONNX Runtime and the graphs that
// scripts/make_onnx.py wrote, and answers {id, call, args} with {id, value} or {id, error}.
import { up, down } from './sampling.js'

const here = name => new URL(name, import.meta.url)
let ort = null
let model = null   // {name, about, graphs, images, kept}

async function fetched(name, seen = () => {}) {
  const answer = await fetch(here(name))
  if (!answer.ok) throw new Error(`${name} is not on this site (status ${answer.status})`)
  const parts = []
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read()
    if (done) break
    parts.push(value)
    seen(value.length)
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

async function unzipped(bytes) {   // some servers have unpacked it already
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes.buffer
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
  return new Response(stream).arrayBuffer()
}

async function runtime(seen) {
  if (ort) return
  const [module, wasm] = await Promise.all([import('./ort/ort.mjs'), fetched('ort/ort.wasm.gz', seen)])
  module.env.wasm.wasmBinary = await unzipped(wasm)
  module.env.wasm.numThreads = 1   // more need headers that a plain server does not send
  ort = module
}

async function run(graph, ...inputs) {
  const session = model.graphs[graph], fed = {}
  session.inputNames.forEach((name, k) => {
    const { shape } = session.inputMetadata[k]
    fed[name] = new ort.Tensor('float32', inputs[k], shape)
  })
  const found = await session.run(fed)
  return session.outputNames.map(name => found[name].data)
}

const denoiser = z => async (x, t) => (await run('denoise', x, Float32Array.of(t), z))[0]

async function solved(u, held, y) {
  const [z, labels] = await run('solve', u, held, y)
  return { z, labels }
}

// An image that is on the site, with what Python abducted of it
async function stored(index) {
  const { shape, numbers: told, usual, unit } = model.about
  const size = shape.reduce((a, b) => a * b), bytes = await fetched(`models/${model.name}/${index}.bin`)
  const u = new Float32Array(bytes.buffer, 0, told)   // the style is behind the variables
  const whole = new Int16Array(bytes.buffer, u.byteLength)
  const part = k => Float32Array.from(whole.subarray(k * size, (k + 1) * size), v => v * unit)
  const numbers = [...Array(usual).keys()]
  return { x: pixels(index), u, ways: { [usual]: { way: numbers.map(part), said: numbers.map(k => part(usual + k)) } } }
}

function pixels(index) {   // bytes are H×W×C, the model's images C×H×W
  const [C, H, W] = model.about.shape, size = C * H * W
  const bytes = model.images.subarray(index * size, (index + 1) * size)
  return Float32Array.from({ length: size }, (_, k) => bytes[(k % (H * W)) * C + Math.floor(k / (H * W))] / 127.5 - 1)
}

const calls = {
  async load({ name }, tell) {
    const about = JSON.parse(new TextDecoder().decode(await fetched(`models/${name}/about.json`)))
    let got = 0
    const seen = bytes => tell(got += bytes)
    const files = Object.keys(about.bytes)
    const [images, , ...graphs] = await Promise.all([
      fetched(`models/${name}/images.bin`), runtime(seen), ...files.map(f => fetched(`models/${name}/${f}`, seen))])
    if (model) await Promise.all(Object.values(model.graphs).map(g => g.release()))
    model = { name, about, images, graphs: {} }
    for (const [k, file] of files.entries()) {
      model.graphs[file.replace('.onnx', '')] = await ort.InferenceSession.create(graphs[k])
    }
    return { about, images: [...Array(about.images).keys()].map(pixels) }
  },

  // Abduction of one of the site's images, or of the reader's own; the labels as they are read
  async take({ index, x }) {
    if (index !== undefined) model.kept = await stored(index)
    else model.kept = { x, u: (await run('read', x))[0], ways: {} }
    const n = model.about.variables.length, { z, labels } = await solved(model.kept.u, new Float32Array(n), new Float32Array(n))
    Object.assign(model.kept, { z, labels })
    return { x: model.kept.x, labels }
  },

  // What it would have been: `held` is 1 where a variable is set, `y` its label there
  async answer({ held, y, steps }) {
    const { kept, about } = model, route = about.routes[steps]
    const after = await solved(kept.u, held, y)
    if (!held.some(v => v)) return { x: kept.x, labels: after.labels }
    kept.ways[steps] ??= await up(denoiser(kept.z), kept.x, route)
    const start = performance.now()
    const difference = await down(denoiser(after.z), kept.ways[steps], route)
    const [x] = await run('finish', kept.x, difference, held)
    return { x, labels: after.labels, network: performance.now() - start }
  },
}

let before = Promise.resolve()   // one call at a time, in the order they came
addEventListener('message', ({ data: { id, call, args } }) => {
  const tell = progress => postMessage({ id, progress })
  before = before.then(() => calls[call](args, tell)).then(
    value => postMessage({ id, value }), error => postMessage({ id, error: String(error.message ?? error) }))
})
