"The published files of MNIST and MorphoMNIST, where they are at hand"
import numpy as np
import pytest
import torch
from conftest import shared
from causaldiffae.data.mnist import read_mnist
from causaldiffae.data.morphomnist import abduct_noise, build_morphomnist, implied_intensity, read_morphomnist
from causaldiffae.data.strokes import measure
from causaldiffae.images import from_uint8

@pytest.fixture(scope="module")
def published(): return read_morphomnist(shared("morphomnist"))

def test_noise_is_standard_normal(published):
    eps = abduct_noise(published.labels)[:,1]
    assert abs(eps.mean())<0.03
    assert abs(eps.std()-1)<0.03
    assert abs(np.corrcoef(eps,published.labels[:,0])[0,1])<0.03

def test_pictures_can_be_read(published):
    read,labels = measure(from_uint8(published.images[300:600])),published.labels[300:600]
    r = [np.corrcoef(a,b)[0,1] for a,b in zip(read.T,labels.T)]
    far = (read-labels).abs().mean(0)
    assert r[0]>=0.95
    assert far[0]<0.15
    assert r[1]>=0.99
    assert far[1]<2

def test_recipe_gives_the_published_images(published):
    mnist = read_mnist(shared("mnist"),"test")[0][:40]
    y = published.labels[:40]
    built = build_morphomnist(mnist,y,n_workers=1,progress=False)
    d = np.abs(built.images.astype(int)-published.images[:40]).reshape(40,-1)
    assert d.mean()<=0.5
    assert (d.max(1)<=1).mean()>0.85
    # and it is not that MNIST were like that already
    assert np.abs(mnist.astype(int)-published.images[:40]).mean()>5
    asked = y[:,0].roll(1)
    cf = torch.stack([asked,implied_intensity(y,asked)],1)
    drawn = build_morphomnist(mnist,cf,built.base,n_workers=1,progress=False).images
    right = (measure(from_uint8(drawn))-cf).abs().mean(0)
    assert right[0]<0.2
    assert right[1]<2
