// The way of an image to its noise, and the difference that an intervention makes: the solver "twin" of the
// chapter "Sampling", for one image. Images are Float32Array; `denoise(x, t)` promises the network's output, a v;
// a route is {times, alpha_bar}, from the clean image (time -1) to noise.

const cosine = (route, i) => Math.sqrt(route.alpha_bar[i])
const sine = (route, i) => Math.sqrt(1 - route.alpha_bar[i])
const angle = (route, i) => Math.atan2(sine(route, i), cosine(route, i))

// What the output says about the image and about the noise
function split(x, v, route, i) {
  const a = cosine(route, i), b = sine(route, i)
  return { image: x.map((x, k) => a * x - b * v[k]), noise: x.map((x, k) => b * x + a * v[k]) }
}

// The DDIM step from one angle to another, where image and noise hold still
function moved(x, seen, from, to) {
  const c = Math.cos(to) - Math.cos(from), s = Math.sin(to) - Math.sin(from)
  return x.map((x, k) => x + c * seen.image[k] + s * seen.noise[k])
}

// p + share·(q - p), of both images
function mixed(p, q, share) {
  const mix = (a, b) => a.map((a, k) => a + share * (b[k] - a))
  return { image: mix(p.image, q.image), noise: mix(p.noise, q.noise) }
}

// Abduction: from image to noise by the solver "adams"; at each time but the first, where the image stood and
// what the network said there
export async function up(denoise, x, route) {
  const n = route.times.length - 1
  const way = [], said = []
  let last = null
  for (let i = 0; i <= n; i++) {
    let v = await denoise(x, Math.max(route.times[i], 0))
    if (i) { way.push(x); said.push(v) }
    if (i === n) break
    const seen = split(x, v, route, i)
    let slope = seen
    const here = angle(route, i), next = angle(route, i + 1)
    if (last) {
      const before = angle(route, i - 1)
      x = moved(last.x, mixed(last.seen, seen, 0.5), before, here)
      slope = mixed(last.seen, seen, 1 + (next - here) / (2 * (here - before)))
    }
    last = { x, seen }
    x = moved(x, slope, here, next)
  }
  return { way, said }
}

// Prediction: from noise to image by DDIM, in the difference to the way that `up` kept
export async function down(denoise, kept, route) {
  let difference = new Float32Array(kept.way[0].length)
  for (let i = route.times.length - 1; i > 0; i--) {
    const x = kept.way[i - 1], said = kept.said[i - 1]
    const other = await denoise(x.map((x, k) => x + difference[k]), route.times[i])
    const seen = split(difference, other.map((o, k) => o - said[k]), route, i)
    const a = cosine(route, i - 1), b = sine(route, i - 1)
    difference = seen.image.map((p, k) => a * p + b * seen.noise[k])
  }
  return difference
}
