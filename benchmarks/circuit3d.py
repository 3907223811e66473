"""The causal circuit drawn by MuJoCo, for `circuit(render=render_circuit_mujoco)`; see tutorials/circuit3d"""
import atexit
import math
import os
import subprocess
import sys
import weakref
from functools import lru_cache
from importlib.util import find_spec
import numpy as np
import torch
from torch import Tensor
from causaldiffae.data.circuit import (_button, _drawable, _grey, _half_arc, _link, _on_arc, _reach, _rgb, _shoulder,
                                       circuit_pressed)

_colours = dict(zip(("blue","green","red"), _rgb.tolist()))
_shoulder3d = _shoulder[0]-0.5,0.5-_shoulder[1]  # on the table x runs to the right, y away from the camera, z up
_tilt = math.radians(50)                           # how far the camera looks down
_travel,_sink = 0.045,0.010                        # of the finger and of a button, when it is pressed fully

def _place(p, r):
    "`_on_arc` on the table: (x, y)"
    x,y = _on_arc(p, r)
    return x-0.5,0.5-y

def _xml(size):
    "The scene for pictures of `size` pixels"
    def v(*x): return " ".join(f"{float(o):.6g}" for o in x)
    def geom(kind, material, size, *pos):
        return f'<geom type="{kind}" material="{material}" size="{v(*size)}" pos="{v(*pos)}"/>'
    def bar(material, r, a, b): return f'<geom type="capsule" material="{material}" size="{r}" fromto="{v(*a,*b)}"/>'
    def cable(a, b, r): return bar("rubber", r, (*a,0.7*r), (*b,0.7*r))
    lamps,buttons = (list(zip(*_place(_button, r))) for r in (0.72,_reach))
    made,things = [],[cable(l, lamps[2], 0.008) for l in lamps[:2]]                 # blue → red, green → red
    for (name,c),l,b in zip(_colours.items(), lamps, buttons):
        made += [
            f'<material name="{name} {part}" rgba="{v(*(k*o+w for o in c),alpha)}" specular="{s}" shininess="{s}"/>'
            for part, k, w, alpha, s in (
                ("button", 0.62, 0.08, 1, 0.4),
                ("glass", 0.22, 0.02, 0.6, 0.6),
                ("core", 0.15, 0.05, 1, 0),
            )
        ]
        things += [
            cable(b, l, 0.011),  # button → its lamp
            (
                f'<light name="{name}" pos="{v(*l,0.15)}" cutoff="180" exponent="0" castshadow="false" ambient="0 0 0"'
                ' specular="0 0 0" attenuation="0.9 0 8"/>'
            ),
            geom("cylinder", "black", (0.098, 0.014), *l, 0.014),
            geom("cylinder", "steel", (0.088, 0.012), *l, 0.024),
            geom("sphere", f"{name} core", (0.045,), *l, 0.060),
            geom("ellipsoid", f"{name} glass", (0.078, 0.078, 0.080), *l, 0.036),
            geom("cylinder", "black", (0.068, 0.012), *b, 0.012),
            (
                f'<body pos="{v(*b,0.026)}"><joint name="{name}" type="slide" axis="0 0'
                f' -1"/>{geom("cylinder", f"{name} button", (0.052,0.014), 0,0,0)}</body>'
            ),
        ]
    made += [
        f'<material name="{name}" rgba="{c} 1" specular="{s}" shininess="{s}"/>'
        for name, c, s in (
            ("black", "0.10 0.10 0.115", 0.35),
            ("steel", "0.50 0.50 0.53", 0.5),
            ("rubber", "0.09 0.09 0.10", 0.15),
            ("shell", "0.86 0.87 0.89", 0.4),
            ("joint", "0.95 0.47 0.10", 0.4),
        )
    ]
    s = _shoulder3d
    return f"""<mujoco><compiler angle="radian"/><statistic extent="1" center="0 0 0.1"/>
    <visual><global offwidth="{4*size}" offheight="{4*size}"/><quality offsamples="0" shadowsize="{min(4096, max(512, 8*size))}"/>
      <map znear="0.3" zfar="8" shadowclip="1.5"/><headlight ambient="0.20 0.20 0.21" diffuse="0.05 0.05 0.05" specular="0 0 0"/></visual>
    <asset><texture name="wood" type="2d" builtin="flat" width="1024" height="1024"/><material name="table" texture="wood" specular="0.12" shininess="0.3"/>{"".join(made)}</asset>
    <worldbody>
      <camera name="eye" pos="{v(0,0.01-2.1*math.cos(_tilt),2.1*math.sin(_tilt))}" xyaxes="1 0 0 {v(0,math.sin(_tilt),math.cos(_tilt))}" fovy="30"/>
      <light pos="-0.714 0.458 1.7" dir="0.42 -0.24 -1" directional="true" diffuse="0.42 0.41 0.39" specular="0.3 0.3 0.3" ambient="0 0 0"/>
      <geom type="plane" material="table" size="1 1 0.04" pos="0 0.25 0"/>{"".join(things)}
      {geom("cylinder", "black", (0.095,0.012), *s,0.012)}{geom("cylinder", "shell", (0.065,0.065), *s,0.085)}
      <body pos="{v(*s,0.185)}"><joint name="shoulder" axis="0 0 1"/>
        {geom("cylinder", "joint", (0.058,0.012), 0,0,-0.028)}{bar("shell", 0.040, (0,0,0.02), (_link,0,0.02))}{geom("cylinder", "joint", (0.034,0.012), 0,0,0.055)}
        <body pos="{v(_link,0,-0.05)}"><joint name="elbow" axis="0 0 1"/>
          {geom("cylinder", "joint", (0.046,0.055), 0,0,0.01)}{bar("shell", 0.031, (0,0,0), (_link,0,0))}{geom("cylinder", "joint", (0.038,0.034), _link,0,0)}
          <body pos="{v(_link,0,0)}"><joint name="finger" type="slide" axis="0 0 -1"/>{geom("cylinder", "black", (0.018,0.055), 0,0,0.012)}{geom("sphere", "joint", (0.026,), 0,0,-0.036)}</body>
        </body></body>
    </worldbody></mujoco>"""  # noqa: E501

def _wood(n):
    "The table's texture, uint8 (n, n, 3); it covers 2×2 units around (0, 0.25)"
    rng = np.random.default_rng(7)
    def noise(across, along):
        g = torch.from_numpy(rng.random((1,1,along,across)))
        return torch.nn.functional.interpolate(g, size=(n,n), mode="bicubic", align_corners=True)[0,0]
    grain = 0.5*noise(5,90)+0.35*noise(9,190)+0.3*noise(3,24)
    grain = (grain-grain.min())/(grain.max()-grain.min())
    row = torch.arange(n)*4/n                                                       # four planks
    dark = (0.65*grain+0.3*torch.from_numpy(rng.random(4))[row.long()][:,None])[...,None]
    light,deep = (torch.tensor(c, dtype=torch.float64) for c in ((0.88,0.79,0.66),(0.70,0.58,0.45)))
    wood = (light+(deep-light)*dark)*torch.where(row%1<6.4/n, 0.62, 1.)[:,None,None]
    at = ((torch.arange(n)+0.5)/n*2-1).double()
    x,y = at.abs(),0.13+at[:,None]      # from the middle of the arc, towards the camera
    end = _reach*math.sin(_half_arc),_reach*math.cos(_half_arc)
    off = torch.where(
        torch.atan2(x, y) < _half_arc,
        ((x**2 + y**2).sqrt() - _reach).abs(),
        ((x - end[0]) ** 2 + (y - end[1]) ** 2).sqrt(),
    )
    return (wood*(1-0.55*((0.007-off)*n/2+0.5).clamp(0, 1)[...,None])*255).round().byte().numpy()

_trial = """import mujoco as m
s = m.MjModel.from_xml_string('<mujoco/>')
r = m.Renderer(s, 8, 8)
r.update_scene(m.MjData(s))
r.render()
r.close()"""
_packages = ("apt-get install libegl1 libopengl0 libgl1-mesa-dri (for MUJOCO_GL=egl) "
             "or libosmesa6 (for MUJOCO_GL=osmesa)")

def _draws(gl):
    "What goes wrong when MuJoCo draws with this MUJOCO_GL in another process; empty if nothing does"
    env = os.environ | ({} if gl is None else dict(MUJOCO_GL=gl))
    try: p = subprocess.run([sys.executable,"-c",_trial], env=env, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired: return "no picture in two minutes"
    if p.returncode==0: return ""
    said = [l for l in p.stderr.splitlines() if l and not l.startswith((" ","Exception ignored","Traceback"))]
    return next((l for l in said if "Error" in l), said[-1] if said else f"exit status {p.returncode}")

@lru_cache(maxsize=1)
def _mujoco():
    "The module, with `MUJOCO_GL` set to what draws here"
    if find_spec("mujoco") is None:
        raise ImportError("this renderer needs mujoco, which is not installed: pip install mujoco")
    given = os.environ.get("MUJOCO_GL")
    headless = sys.platform=="linux" and not given and not os.environ.get("DISPLAY")
    if headless and "mujoco" in sys.modules:
        raise RuntimeError(
            "mujoco was imported before MUJOCO_GL was set, and there is no DISPLAY: start again and draw with this"
            " renderer first, or set os.environ['MUJOCO_GL'] = 'egl' or 'osmesa' before `import mujoco`"
        )
    wrong = {}
    for gl in ("egl","osmesa") if headless else (given,):
        wrong[gl] = _draws(gl)
        if not wrong[gl]: break
    else:
        said = "; ".join(
            f"with MUJOCO_GL {'not set' if gl is None else f'set to {gl!r}'}: {e}" for gl, e in wrong.items()
        )
        unset = f"; or unset MUJOCO_GL, which is {given!r}" if given else ""
        raise RuntimeError(f"mujoco cannot draw here ({said}). Linux without a display needs a GL library "
                           f"that draws into memory: {_packages}{unset}")
    if headless: os.environ["MUJOCO_GL"] = gl
    import mujoco
    return mujoco

class _Stage:
    "The scene and the means to draw it, for one size"
    def __init__(self, size):
        self.mj,self.n = m,n = _mujoco(),4*size
        self.model = m.MjModel.from_xml_string(_xml(size))
        self.model.tex_data[:] = _wood(1024).reshape(-1)
        self.data,self.eye = m.MjData(self.model),m.MjvCamera()
        self.options,self.box = m.MjvOption(),m.MjrRect(0, 0, n, n)
        self.eye.type,self.eye.fixedcamid = m.mjtCamera.mjCAMERA_FIXED,0
        self.scene,self.pixels = m.MjvScene(self.model, maxgeom=100),np.empty((n,n,3), np.uint8)
        self.gl = m.GLContext(n, n)
        self.gl.make_current()
        self.context = m.MjrContext(self.model, m.mjtFontScale.mjFONTSCALE_100)
        m.mjr_setBuffer(m.mjtFramebuffer.mjFB_OFFSCREEN, self.context)
    def close(self):
        "Give back what OpenGL holds, in the context that it is held in"
        if "context" in self.__dict__:
            self.gl.make_current()
            self.__dict__.pop("context").free()
        if "gl" in self.__dict__: self.__dict__.pop("gl").free()
    __del__ = close
    def pose(self, y, pressed):
        "Set joints and lamps: labels of one image, and how far each button is pressed"
        m,d = self.model,self.data
        tip = _place(y[0], _reach)
        dx,dy = (float(a)-b for a,b in zip(tip, _shoulder3d))
        bend = math.acos(math.hypot(dx, dy)/(2*_link))                               # both links are equally long
        joints = dict(shoulder=math.atan2(dy, dx)+bend, elbow=-2*bend, finger=_travel*max(pressed))
        for (name,c),p,light in zip(_colours.items(), pressed, y[1:].tolist()):
            joints[name] = _sink*p
            m.light(name).diffuse = [0.8*light*o for o in c]
            m.material(f"{name} glass").emission,m.material(f"{name} core").emission = 2.6*light,4.2*light
        for name,q in joints.items(): d.joint(name).qpos = q
        self.mj.mj_kinematics(m, d)
        self.mj.mj_camlight(m, d)
    def draw(self):
        "One picture, in [0,255], (3, size, size)"
        m = self.mj
        self.gl.make_current()
        m.mjv_updateScene(self.model, self.data, self.options, None, self.eye, m.mjtCatBit.mjCAT_ALL, self.scene)
        m.mjr_render(self.box, self.scene, self.context)
        m.mjr_readPixels(self.pixels, None, self.box, self.context)
        # OpenGL's first row is the lowest
        x = torch.from_numpy(self.pixels).flip(0).permute(2,0,1).float()
        return torch.nn.functional.avg_pool2d(x, 4)

@lru_cache(maxsize=4)
def _stage(size):
    stage = _Stage(size)
    # registered after MuJoCo's own end, runs before it
    atexit.register(lambda o: o() and o().close(), weakref.ref(stage))
    return stage

def render_circuit_mujoco(
    labels,     # arm, blue, green, red, in [0,1], (N, 4)
    size=64,    # height and width in pixels
    channels=3, # 3: RGB; 1: grey (luma of Rec. 601)
) -> Tensor:    # float32 in [-1,1], (N, channels, size, size)
    "Draw the scene of `render_circuit` with MuJoCo: perspective, shadows, light; always from one thread"
    y,size,channels = _drawable(labels, size, channels)
    stage,out = _stage(size),torch.empty(len(y), channels, size, size)
    for o,row,pressed in zip(out, y.double(), circuit_pressed(y[:,0]).tolist()):
        stage.pose(row, pressed)
        x = stage.draw()
        o.copy_(x if channels==3 else _grey(x))
    return out.div_(127.5).sub_(1)
